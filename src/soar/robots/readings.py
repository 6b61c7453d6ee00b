"""Can the measured position be believed? A box that is kept by a reading is kept only as long as the reading is true.

    commands since the last believable reading ──► where the gripper would be ──┐
    reading ────────────────────────────────────────────────────────────────────┴─► both stay in the box (`SafeRobot`)

Believed. Each axis by itself, whenever `WINDOW_M` of it was commanded: it is believed when at least `SHARE` of that was seen. A
reading that stands still, or shows noise, does not follow; what is commanded then adds up, and ends at the wall of the box.

Refused, as a fault of kind `motor`: a reading further than `FAR_M` from the box; one that is further than one longest step from
all that was commanded; one that is the same to the last bit in all axes while `STUCK_M` and the robot's lag were commanded.

A gripper whose driver adds deltas to its true position thus stays within two longest steps of the box, whatever its reading
does from some moment on, as long as the noise of a reading that is true is below 2 mm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.errors import RobotFault

FAR_M = 2.0
STUCK_M = 0.02
WINDOW_M = 0.02
SHARE = 0.3
Vector = NDArray[np.float64]


class PositionReadings:
    """Compares every reading (3,) [m] with what was commanded.

    Args:
        low: Corner of the workspace's box (3,) [m].
        high: The opposite corner.
        longest_m: Longest step that is commanded.
        lag_m: How far a commanded pose may be ahead of the measured one.

    Attributes:
        low: Where the gripper would be at least (3,) [m], had it done what it was told since the last believable reading.
        high: Where it would be at most.
    """

    def __init__(self, low: Vector, high: Vector, *, longest_m: float, lag_m: float) -> None:
        self._box = low, high
        self._longest_m, self._lag_m = longest_m, lag_m
        self.forget()

    def forget(self) -> None:
        """Believe the next reading: somebody else moved the arm."""
        self._seen: Vector | None = None
        self._from = self._told = self._unseen = self.low = self.high = np.zeros(3)

    def check(self, measured: Vector, commanded: tuple[Vector, Vector] | None) -> None:
        """Look at the next reading.

        Args:
            measured: It.
            commanded: Lowest and highest position that the driver may be heading for; None: it is at rest.

        Raises:
            RobotFault: It cannot be true.
        """
        low, high = self._box
        if float(np.max(np.abs(measured - np.clip(measured, low, high)))) > FAR_M:
            raise RobotFault("motor", f"the gripper is said to be at {_text(measured)}, more than {FAR_M:g} m from its box")
        if self._seen is None:
            self._seen = self._from = self.low = self.high = measured
            return
        possible = np.minimum(self._seen, self.low), np.maximum(self._seen, self.high)
        if commanded is not None:
            possible = np.minimum(possible[0], commanded[0]), np.maximum(possible[1], commanded[1])
        jump_m = float(np.linalg.norm(measured - np.clip(measured, *possible)))
        if jump_m > self._longest_m:
            raise RobotFault(
                "motor",
                f"the gripper's position jumped from {_text(self._seen)} to {_text(measured)}, {jump_m:.2g} m further than it "
                "was told to go; if nobody pushed the arm, look at its encoders",
            )
        if not np.array_equal(measured, self._seen):
            self._unseen = np.zeros(3)
        elif (unseen_m := float(np.linalg.norm(self._unseen))) > self._lag_m + STUCK_M:
            raise RobotFault(
                "motor",
                f"the gripper's position has been {_text(measured)} to the last digit while {unseen_m:.2g} m were commanded; "
                "it is blocked, or its reading is stuck",
            )
        decided = np.abs(self._told) >= WINDOW_M
        seen = np.divide(measured - self._from, self._told, out=np.zeros(3), where=decided)
        believed = decided & (seen >= SHARE)
        ahead = (measured, measured) if commanded is None else commanded
        self.low = np.where(believed, np.minimum(measured, ahead[0]), self.low)
        self.high = np.where(believed, np.maximum(measured, ahead[1]), self.high)
        self._from, self._told = np.where(decided, measured, self._from), np.where(decided, 0.0, self._told)
        self._seen = measured

    def told(self, step: Vector) -> None:
        """Note a step (3,) [m] that the driver was given."""
        self._told, self._unseen = self._told + step, self._unseen + step
        self.low, self.high = self.low + step, self.high + step


def _text(position: Vector) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in position) + ")"
