"""Failures on demand (§G): any robot with a motor failure, a frozen camera or a lost connection at a chosen step.

The failures look as they do on a real robot, so that the code that finds them is the code that runs there: a failed motor
is seen in `health()` and does not move, a frozen main camera repeats its last image, a lost connection raises
`ConnectionError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soar.errors import ConfigError, RobotFault, UnknownNameError
from soar.robots.base import Health, Robot
from soar.types import Action, Image, Observation

KINDS = ("motor", "camera", "connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One failure.

    Attributes:
        kind: One of `KINDS`.
        step: It happens during the action of this number, counted from 0 over the robot's whole life.
        reboots: The reboot that repairs it (the first, the second, …); None: no reboot does.
    """

    kind: str
    step: int
    reboots: int | None = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("fault", self.kind, KINDS)
        if self.step < 0 or (self.reboots is not None and self.reboots < 1):
            raise ConfigError(f"fault: step must be at least 0 and reboots at least 1 or None, got {self}")


class FaultyRobot:
    """A `Robot` that fails as scheduled; one fault at a time, a later one waits until the earlier one is repaired."""

    def __init__(self, robot: Robot, schedule: Sequence[Fault]) -> None:
        self._robot = robot
        self._schedule = sorted(schedule, key=lambda fault: fault.step)
        self._fault: Fault | None = None
        self._reboots = 0
        self._steps = 0
        self._image: Image | None = None

    def observe(self) -> Observation:
        """Return what the robot perceives, with the old image when the camera is frozen."""
        self._require_connection()
        observation = self._robot.observe()
        if self._fault is not None and self._fault.kind == "camera" and self._image is not None:
            return replace(observation, image_HWC=self._image.copy())
        self._image = observation.image_HWC.copy()
        return observation

    def act(self, action: Action) -> None:
        """Execute one action, unless a motor failed."""
        if self._fault is None and self._schedule and self._schedule[0].step <= self._steps:
            self._fault, self._reboots = self._schedule.pop(0), 0
        self._steps += 1
        self._require_connection()
        if self._fault is None or self._fault.kind != "motor":
            self._robot.act(action)

    def home(self) -> None:
        """Go home, unless a motor failed."""
        self._require_connection()
        if self._fault is None or self._fault.kind != "motor":
            self._robot.home()

    def health(self) -> Health:
        """Report the fault that the robot itself can know of; a frozen camera is not one."""
        if self._fault is None or self._fault.kind == "camera":
            return self._robot.health()
        return Health(ok=False, fault=self._fault.kind, detail=f"injected at step {self._fault.step}")

    def recover(self) -> None:
        """Reboot.

        Raises:
            RobotFault: This reboot did not repair the fault, or none does (`unrecoverable`).
        """
        if self._fault is not None:
            self._reboots += 1
            if self._fault.reboots is None:
                raise RobotFault("unrecoverable", f"injected {self._fault.kind} fault")
            if self._reboots < self._fault.reboots:
                raise RobotFault(self._fault.kind, f"injected; reboot {self._reboots} did not help")
            self._fault = None
        self._robot.recover()

    def _require_connection(self) -> None:
        if self._fault is not None and self._fault.kind == "connection":
            raise ConnectionResetError(f"injected at step {self._fault.step}")
