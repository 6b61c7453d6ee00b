"""The fleet of a rehearsal: processes as they are in earnest, around robots that are light.

    RUN/fleet.yaml                 the fleet that is rehearsed: light robots in place of the real ones
    RUN/run/                       its run
    RUN/computers/NAME/            what would be a computer: temporary files with its locks, spool, log
    RUN/faults/ROBOT/              faults that its driver shall have (`soar.testing.light`)
    RUN/motions.txt                what the arms said: `NAME PROCESS BEGINS ENDS`
    RUN/messages.jsonl             what persons were told

A robot that joins has two computers of its own, of which one drives it; its process is started again whenever it ends, as a
service manager does.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from soar.errors import ConfigError, ModelServerError
from soar.event_log import Journal
from soar.files import write_text
from soar.fleet.asking import ask
from soar.fleet.config import FleetConfig, FleetModels, FleetRobot, Tls
from soar.fleet.rehearsal.around import FAKE, motions, subgoal_server, telephone
from soar.fleet.rehearsal.lines import HOST, Line, Lines
from soar.fleet.rehearsal.plan import RehearsalPlan
from soar.fleet.robot_lock import lock_file
from soar.remote.wire import TOKEN
from soar.run_claim import LOCK
from soar.untrusted import parse_json

_CELL = """
robot: {driver: "soar.testing.light:LightRobot", options: %s}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {name: table, tasks: [put the carrot on the plate, put the carrot in the pot, put the pot on the plate]}
"""
_MODEL_TIMEOUT_S = 0.5
_AGAIN_S = 1.0
_ENDS_S = 20.0
_ASKING_S = 3.0


@dataclass(slots=True)
class Computer:
    """A place where a process drives a robot.

    Attributes:
        folder: Of its temporary files, its spool, and its log.
        process: That it started last.
        next_s: When one that ended is started again [s].
        starts: How many there were.
    """

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    next_s: float = 0.0
    starts: int = 0

    @property
    def spool(self) -> Path:
        """Where episodes wait."""
        return self.folder / "spool"

    def start(self, words: list[str], token: str) -> None:
        """Start a process here."""
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "soar.cli", "fleet", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {TOKEN: token, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
            )
        self.starts += 1

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        """End the process: by SIGTERM, which leaves an arm safe, or else by force."""
        if self.process is None:
            return
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.process.send_signal(number)
        try:
            self.process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(slots=True)
class Joined:
    """A robot that joins: its line to the coordinator, and its two computers.

    Attributes:
        line: To the coordinator.
        drives: The computer whose process drives it.
        idle: The other one.
    """

    line: Line
    drives: Computer
    idle: Computer


@dataclass(slots=True)
class Stage:
    """What runs; made by `stage`.

    Attributes:
        folder: Of the rehearsal.
        config: The fleet that is rehearsed.
        token: Of its coordinator.
        port: On which that listens.
        coordinator: Its computer, on which robots stand, too, that do not join.
        joined: Robots that join, by name.
        model: The line to the subgoal server.
        up: Whether the coordinator is to run.
    """

    folder: Path
    config: FleetConfig
    token: str
    port: int
    coordinator: Computer
    model: Line
    joined: dict[str, Joined] = field(default_factory=dict)
    up: bool = True

    @property
    def run(self) -> Path:
        """Folder of the rehearsed run."""
        return self.folder / "run"

    def tick(self) -> None:
        """Start again what ended."""
        now_s = time.monotonic()
        if self.up:
            words = ["up", str(self.folder / "fleet.yaml"), "--run", str(self.run), "--port", str(self.port)]
            self._keep(self.coordinator, words, now_s)
        for name, robot in self.joined.items():
            url = f"http://{HOST}:{robot.line.port}"
            words = ["join", url, "--robot", name, "--spool", str(robot.drives.spool)]
            self._keep(robot.drives, [*words, "--workcell", self.config.robots[name].workcell], now_s)

    def _keep(self, computer: Computer, words: list[str], now_s: float) -> None:
        if computer.process is not None and computer.process.poll() is not None and computer.next_s == 0.0:
            computer.next_s = now_s + _AGAIN_S
        if computer.process is None or (not computer.alive() and now_s >= computer.next_s):
            computer.start(words, self.token)
            computer.next_s = 0.0

    def pid(self, robot: str) -> int | None:
        """Return the process that drives a robot, None when none does."""
        if robot in self.joined:
            process = self.joined[robot].drives.process
            return process.pid if process is not None and process.poll() is None else None
        return _ours(lock_file(robot, self.coordinator.folder / "tmp"), self.folder)

    def switch(self, robot: str) -> Computer:
        """Let a robot be driven from its other computer; returns the one that drove it, whose process is left alone."""
        joined = self.joined[robot]
        joined.drives, joined.idle = joined.idle, joined.drives
        joined.drives.next_s = 0.0
        if not joined.drives.alive():
            joined.drives.process = None
        return joined.idle

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Ask the coordinator; None while it does not answer."""
        try:
            return ask(f"http://{HOST}:{self.port}", method, path, body, timeout_s=_ASKING_S)
        except (ModelServerError, ConfigError):
            return None

    def spools(self) -> list[Path]:
        """Return the folders in which robots keep episodes, and their journals."""
        computers = [c for robot in self.joined.values() for c in (robot.drives, robot.idle)]
        return sorted(path for base in (self.run / "spool", *(c.spool for c in computers)) for path in base.glob("*"))

    def end(self) -> None:
        """End all processes."""
        self.up = False
        for robot in self.joined.values():
            for computer in (robot.drives, robot.idle):
                computer.end()
        for name in self.config.robots:
            if (pid := self.pid(name)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        self.coordinator.end()
        end_leftovers(self.folder)


@contextlib.contextmanager
def stage(config: FleetConfig, plan: RehearsalPlan, folder: Path) -> Iterator[Stage]:
    """Set a stage, within; what a rehearsal that was killed left running is ended first.

    Args:
        config: The fleet, as its file says.
        plan: Of the rehearsal.
        folder: Of the rehearsal.
    """
    end_leftovers(folder)
    token, before = secrets.token_urlsafe(32), os.environ.get(TOKEN)
    os.environ[TOKEN] = token
    with contextlib.ExitStack() as held:
        held.callback(lambda: os.environ.pop(TOKEN) if before is None else os.environ.update({TOKEN: before}))
        lines = held.enter_context(Lines())
        told = held.enter_context(motions(folder / "motions.txt"))
        hook = held.enter_context(telephone(Journal(folder / "messages.jsonl")))
        model = lines.line_to(held.enter_context(subgoal_server(token)), plan.seed)
        write_text(
            folder / "subgoals.yaml",
            yaml.safe_dump(
                {"backend": "remote", "url": f"http://{HOST}:{model.port}", "timeout_s": _MODEL_TIMEOUT_S, "retries": 0}
            ),
        )
        robots = {}
        for name, robot in config.robots.items():
            faults = folder / "faults" / name
            faults.mkdir(parents=True, exist_ok=True)
            options = {"name": name, "step_s": plan.step_s, "told": told, "faults": str(faults)}
            write_text(folder / "cells" / f"{name}.yaml", _CELL % json.dumps(options))
            robots[name] = FleetRobot(workcell=str(folder / "cells" / f"{name}.yaml"), at=robot.at)
        steps = max(1, plan.steps // 2)
        rollout = "improvement.collection.rollout"
        light = replace(
            config,
            robots=robots,
            episodes=10**9,
            models=FleetModels(policy=FAKE.format("Policy"), subgoals=str(folder / "subgoals.yaml"), vlm=FAKE.format("VLM")),
            set=(f"{rollout}.subgoals=2", f"{rollout}.steps_per_subgoal={steps}", f"{rollout}.early_success.every=0"),
            lease_s=plan.lease_s,
            notify=hook,
            tls=Tls(),
        )
        write_text(folder / "fleet.yaml", yaml.safe_dump(json.loads(json.dumps(asdict(light))), sort_keys=False))
        port = _free_port()
        computers = folder / "computers"
        made = Stage(folder, light, token, port, Computer(computers / "coordinator"), model)
        for name, robot in config.robots.items():
            if robot.at == "join":
                two = [Computer(computers / f"{name}-{which}") for which in "ab"]
                made.joined[name] = Joined(lines.line_to(port, plan.seed), *two)
        held.callback(made.end)
        yield made


def end_leftovers(folder: Path) -> None:
    """End what an earlier rehearsal in this folder left running."""
    locks = [*folder.glob("computers/*/tmp/soar-robots-*/*.lock"), folder / "run" / LOCK]
    for path in locks:
        if (pid := _ours(path, folder)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _ours(lock: Path, folder: Path) -> int | None:
    """Return the process that a file of a lock names, if it lives and is one of this rehearsal."""
    try:
        text = lock.read_text(encoding="utf-8").strip()
        pid = int(text) if text.isdecimal() else int(parse_json(text)["pid"])
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if str(folder).encode() in words else None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((HOST, 0))
        return int(found.getsockname()[1])
