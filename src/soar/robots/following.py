"""Whether an arm does what it is told: servers say `success` also when they found no way, and motors may be off.

A WidowX server adds up what it is told, wherever the arm is. `Commanded` adds up the same, so that the sum never runs ahead of
the arm by more than a limit: without one, an arm that was held would leap when it comes free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.rotations import apart, matrix

FloatArray = NDArray[np.float64]
STEP_M, STEP_RAD = 0.05, 0.25
"""To what a WidowX server clips each number of an action."""
_ASKED_M, _ASKED_RAD = 0.003, 0.03
_STILL_M, _STILL_RAD, _STILL_OPENING = 0.001, 0.01, 0.02


class Commanded:
    """The pose that the server was told, and how far the real one is behind.

    Args:
        lag_m: How far it may be ahead of the real one [m].
        lag_rad: The same for the rotation [rad].
    """

    def __init__(self, lag_m: float, lag_rad: float) -> None:
        self._lag_m, self._lag_rad = lag_m, lag_rad
        self._position: FloatArray | None = None
        self._rotation = np.eye(3)

    def forget(self) -> None:
        """The arm was moved in another way: what is measured next is what is commanded."""
        self._position = None

    def at(self, state: FloatArray) -> None:
        """Begin from a measured state (7,), if nothing is known."""
        if self._position is None:
            self._position, self._rotation = state[:3].copy(), matrix(state[3:6])

    def limited(self, action: FloatArray, state: FloatArray) -> FloatArray:
        """Return the nearest action (7,) that the server executes as it is and that keeps the limits.

        Args:
            action: What is wanted.
            state: The measured state (7,).
        """
        self.at(state)
        assert self._position is not None
        wanted = self._position + action[:3]
        away = wanted - state[:3]
        if (distance := float(np.linalg.norm(away))) > self._lag_m:
            wanted = state[:3] + away * (self._lag_m / distance)
        step = np.clip(wanted - self._position, -STEP_M, STEP_M)
        turn = np.clip(action[3:6], -STEP_RAD, STEP_RAD)
        measured = matrix(state[3:6])
        behind = apart(matrix(turn) @ self._rotation, measured)
        if behind > self._lag_rad and behind > apart(self._rotation, measured):
            turn = np.zeros(3)
        return np.concatenate([step, turn, np.clip(action[6:], 0.0, 1.0)])

    def advance(self, action: FloatArray) -> None:
        """The server was told this action (7,)."""
        assert self._position is not None
        self._position = self._position + action[:3]
        self._rotation = matrix(action[3:6]) @ self._rotation


class Follower:
    """Notices an arm that stands still although it is told to move.

    Args:
        actions: In a row, after which that is a fault.
    """

    def __init__(self, actions: int = 15) -> None:
        self._actions = actions
        self._still, self._asked_m = 0, 0.0
        self._since: FloatArray | None = None
        self._wanted: FloatArray | None = None

    def forget(self) -> None:
        """Begin anew."""
        self._still, self._asked_m, self._since, self._wanted = 0, 0.0, None, None

    def told(self, action: FloatArray) -> None:
        """An action (7,) is about to be executed, as it was wanted."""
        self._wanted = action

    def complaint(self, state: FloatArray) -> str:
        """Return what is wrong with the next measured state (7,); empty when nothing is."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return ""
        if self._since is None or _moved(state - self._since) or not _asks(wanted):
            self._since, self._still, self._asked_m = state.copy(), 0, 0.0
            return ""
        self._still += 1
        self._asked_m += float(np.linalg.norm(wanted[:3]))
        if self._still < self._actions:
            return ""
        moved_mm = 1000 * float(np.linalg.norm((state - self._since)[:3]))
        return (
            f"the arm does not follow: {self._still} actions in a row, {100 * self._asked_m:.0f} cm in all, and it moved "
            f"{moved_mm:.1f} mm"
        )


def _asks(action: FloatArray) -> bool:
    return bool(np.linalg.norm(action[:3]) >= _ASKED_M or np.abs(action[3:6]).max() >= _ASKED_RAD)


def _moved(change: FloatArray) -> bool:
    turned = np.abs((change[3:6] + np.pi) % (2 * np.pi) - np.pi).max()
    return bool(np.linalg.norm(change[:3]) > _STILL_M or turned > _STILL_RAD or abs(change[6]) > _STILL_OPENING)
