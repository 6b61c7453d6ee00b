"""The robot protocol: everything that SOAR asks of a robot, real or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from soar.types import Action, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What a robot says of itself: `ok`, or the kind of fault (`motor`, `camera`, `connection`) and what was seen."""

    ok: bool
    fault: str = ""
    detail: str = ""


@runtime_checkable
class Robot(Protocol):
    """A robot with a main camera, and further ones maybe, controlled by delta end-effector actions at 5 Hz (paper §C).

    `observe` and `act` raise `soar.errors.RobotFault` when the robot fails; the caller drops the episode and calls `recover`.
    """

    def observe(self) -> Observation:
        """Return what the robot perceives now."""
        ...

    def act(self, action: Action) -> Action | None:
        """Execute one action (7,); returns when it is finished, `STEP_S` later.

        A robot that bounds actions itself returns the one (7,) that it executed, which is then what is recorded.
        """
        ...

    def home(self) -> None:
        """Open the gripper and go to the pose from which every episode starts."""
        ...

    def health(self) -> Health:
        """Say whether the robot works; never raises."""
        ...

    def recover(self) -> None:
        """Reboot what failed and go home; raises `RobotFault("unrecoverable", …)` when that does not help (paper §G)."""
        ...
