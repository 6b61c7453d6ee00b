"""A robot that only takes its time: hundreds of them fit a computer, and each says when it moves and fails when it is told to.

    driver: soar.testing.light:LightRobot
    options: {step_s: 0.1, told: /tmp/x/told, faults: faults/bench-1, frames: pictures/}

It goes where it is told, as `soar.testing.FakeRobot` does; its camera plays the pictures of a folder again and again, or draws
the gripper. Each motion is a datagram to `told`, a Unix socket: `NAME PROCESS BEGINS ENDS`, in nanoseconds of the computer's
monotonic clock. Whoever listens there sees which process moves the arm, and whether two do.

A file in `faults` happens at the next step, and is removed:

    motor, camera, connection    repaired by the first reboot (`soar.robots.FaultyRobot`)
    broken                       a motor that no reboot repairs; somebody who opens the workcell anew has repaired it
    clock                        its text: seconds by which this process's clock (`time.time`) jumps
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import cv2

from soar import robots
from soar.errors import ConfigError
from soar.robots.base import Health, Robot
from soar.testing.fakes import FakeRobot
from soar.types import Action, Image, Observation

_REPAIRED = {"motor": 1, "camera": 1, "connection": 1, "broken": None}
_HOME_STEPS = 5


class LightRobot:
    """See the module's docstring.

    Args:
        name: In what it says of its motions.
        size: Height and width of the drawn picture [px].
        step_s: That an action takes [s]; going home takes five times as long.
        told: Unix socket for datagrams; empty for none.
        faults: Folder that is looked into before each action; empty for none.
        frames: Folder of pictures, all of one size; empty: they are drawn.

    Raises:
        ConfigError: The folder of pictures has none.
    """

    def __init__(
        self, *, name: str = "light", size: int = 64, step_s: float = 0.2, told: str = "", faults: str = "", frames: str = ""
    ) -> None:
        self._name, self._step_s, self._told = name, step_s, told
        self._faults = Path(faults) if faults else None
        self._plain = _Playing(_pictures(Path(frames))) if frames else FakeRobot(size)
        self._robot: Robot = self._plain
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if told else None

    def observe(self) -> Observation:
        """Return where it is, and the next picture."""
        return self._robot.observe()

    def act(self, action: Action) -> None:
        """Take a step's time, and go there."""
        self._take_faults()
        self._move(self._step_s)
        self._robot.act(action)

    def home(self) -> None:
        """Take the time, and go home."""
        self._move(_HOME_STEPS * self._step_s)
        self._robot.home()

    def health(self) -> Health:
        """Say what is wrong."""
        return self._robot.health()

    def recover(self) -> None:
        """Reboot."""
        self._move(_HOME_STEPS * self._step_s)
        self._robot.recover()
        self._robot = self._plain

    def _move(self, seconds: float) -> None:
        begins = time.monotonic_ns()
        if self._socket is not None:
            said = f"{self._name} {os.getpid()} {begins} {begins + int(seconds * 1e9)}"
            with contextlib.suppress(OSError):  # nobody listens
                self._socket.sendto(said.encode(), self._told)
        time.sleep(seconds)

    def _take_faults(self) -> None:
        if self._faults is None or self._robot is not self._plain:
            return
        for path in sorted(self._faults.glob("[a-z]*")):
            with contextlib.suppress(FileNotFoundError):
                text = path.read_text(encoding="utf-8")
                path.unlink()
                if path.name == "clock":
                    _jump(float(text))
                    continue
                kind = "motor" if path.name == "broken" else path.name
                fault = robots.Fault(kind=kind, step=0, reboots=_REPAIRED[path.name])
                self._robot = robots.FaultyRobot(self._plain, [fault])
                if kind == "camera":
                    self._robot.observe()  # the picture that stays
                return


class _Playing(FakeRobot):
    """Shows pictures that were taken before."""

    def __init__(self, frames: list[Image]) -> None:
        super().__init__()
        self._frames, self._number = frames, 0

    def observe(self) -> Observation:
        """Return where it is, and the next picture."""
        self._number += 1
        frame = self._frames[self._number % len(self._frames)]
        return Observation(image_HWC=frame, state=super().observe().state)


def _jump(seconds: float) -> None:
    """Let this process's clock jump, as though somebody had set the computer's."""
    before = time.time
    vars(time)["time"] = lambda: before() + seconds


def _pictures(folder: Path) -> list[Image]:
    read = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in sorted(folder.glob("*.*"))]
    pictures = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype("uint8") for image in read if image is not None]
    if not pictures:
        raise ConfigError(f"{folder}: there are no pictures for a light robot to show")
    return pictures
