"""The processes beside the robots that stand here: started, and started again when they end by themselves.

One that ended because something is wrong with its configuration is not started again: it would end again. A person is called.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soar.errors import SoarError
from soar.fleet.robot_lock import robot_process
from soar.fleet.supervision import Supervisor
from soar.remote.wire import TOKEN

_LONGEST_S = 60.0
_STEADY_S = 120.0
"""A process that lived so long begins again with the shortest pause [s]."""
_WRONG = 2
"""Exit status of a command that was refused."""
_LAST_LINES = 5
_LOOKS_S = 0.5
"""How often it is looked whether another process still drives a robot [s]."""


@dataclass(slots=True)
class _Process:
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = 1.0
    next_s: float = 0.0
    starts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """How a robot's process is started.

    Attributes:
        url: Of the coordinator.
        token: Of the coordinator.
        spool: Folder for episodes that wait.
        logs: Folder; one file a robot.
    """

    url: str
    token: str
    spool: Path
    logs: Path

    def command(self, robot: str) -> list[str]:
        """Return the words of the command that runs beside a robot."""
        return [sys.executable, "-m", "soar.cli", "fleet", "join", self.url, "--robot", robot, "--spool", str(self.spool)]

    def start(self, robot: str) -> subprocess.Popen[bytes]:
        """Start it, in a session of its own: a Ctrl-C is the coordinator's, which tells its robots.

        Raises:
            SoarError: It cannot be started.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            with self.log(robot).open("ab") as log:
                return subprocess.Popen(
                    self.command(robot),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=os.environ | {TOKEN: self.token},
                )
        except OSError as error:
            raise SoarError(
                f"the process of robot {robot!r} cannot be started: {error}. Free memory or processes, and run "
                "the same command again"
            ) from error

    def log(self, robot: str) -> Path:
        """Return where a robot's process writes what it has to say."""
        return self.logs / f"{robot}.log"


@dataclass(slots=True)
class RobotProcesses:
    """The processes of some robots.

    Attributes:
        robots: Whose.
        starter: Starts one.
        supervisor: Says which are wanted.
        clock: Seconds, never going back.
    """

    robots: Sequence[str]
    starter: Starter
    supervisor: Supervisor
    clock: Callable[[], float] = time.monotonic
    _of: dict[str, _Process] = field(default_factory=dict)

    def tick(self) -> None:
        """Start what is wanted and does not run."""
        now_s = self.clock()
        for robot in self.robots:
            one = self._of.setdefault(robot, _Process())
            if one.process is not None and (status := one.process.poll()) is not None:
                self._ended(robot, one, status, now_s)
            if one.process is None and self.supervisor.wanted(robot) and now_s >= one.next_s:
                if (pid := robot_process(robot)) is not None:  # of a coordinator that was killed, or of somebody else
                    self.supervisor.found(robot, f"process {pid} of this computer drives it")
                    one.next_s = now_s + _LOOKS_S
                    continue
                one.process, one.started_s = self.starter.start(robot), now_s
                one.starts += 1

    def restarts(self, robot: str) -> int:
        """Return how often a robot's process was started again."""
        return max(0, self._of[robot].starts - 1) if robot in self._of else 0

    def end(self, patience_s: float = 30.0) -> None:
        """Wait for all to end, who were told to stop; one that does not is told by a signal, and then killed."""
        alive = [one.process for one in self._of.values() if one.process is not None]
        for number, wait_s in ((None, patience_s), (signal.SIGTERM, patience_s), (signal.SIGKILL, patience_s)):
            for process in alive:
                if number is not None and process.poll() is None:
                    process.send_signal(number)
            deadline_s = self.clock() + wait_s
            for process in alive:
                try:
                    process.wait(max(0.0, deadline_s - self.clock()))
                except subprocess.TimeoutExpired:
                    continue
            if all(process.poll() is not None for process in alive):
                break
        # Processes that a coordinator before this one started hear of the end, too, and still deliver what they have.
        heard = {status.name for status in self.supervisor.status() if status.heard_s is not None}
        deadline_s = self.clock() + patience_s
        while any(robot_process(robot) is not None for robot in heard.intersection(self.robots)) and self.clock() < deadline_s:
            time.sleep(_LOOKS_S)

    def _ended(self, robot: str, one: _Process, status: int, now_s: float) -> None:
        one.process = None
        one.pause_s = 1.0 if now_s - one.started_s > _STEADY_S else min(one.pause_s * 2, _LONGEST_S)
        one.next_s = now_s + one.pause_s
        if status == _WRONG and self.supervisor.wanted(robot):
            self.supervisor.hold(robot, f"its process cannot begin: {self._last_words(robot)}")
            one.next_s = float("inf")

    def again(self, robots: Sequence[str] = ()) -> None:
        """A person said that robots, or all of them, may go on: begin at once."""
        for robot in robots or self.robots:
            if robot in self._of:
                self._of[robot].pause_s, self._of[robot].next_s = 1.0, 0.0

    def _last_words(self, robot: str) -> str:
        try:
            text = self.starter.log(robot).read_bytes()[-4000:].decode(errors="replace")
        except OSError:
            return "it left no log"
        return " ".join(text.strip().splitlines()[-_LAST_LINES:])[-600:]
