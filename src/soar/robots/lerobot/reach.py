"""Whether an arm can reach its box: found out before it is connected, on its model."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.robots.lerobot.steering import Steering
from soar.types import WorkspaceBox

FloatArray = NDArray[np.float64]
REACH_M = 0.01
"""How far from a place the gripper may end."""


def check_reach(steering: Steering, home: FloatArray, workspace: WorkspaceBox | None) -> FloatArray:
    """Return the angles (n,) of the home.

    Args:
        steering: Of the arm.
        home: State (7,).
        workspace: Whose corners, and the middles between them, the arm has to reach; None: nobody said.

    Raises:
        ConfigError: The home lies outside of the box, or home or box cannot be reached.
    """
    if home.shape != (7,) or not np.all(np.isfinite(home)):
        raise ConfigError(f"home must be a state of seven numbers, see soar.types.Observation, got {home}")
    if workspace is not None and not workspace.contains(home[:3], REACH_M):
        raise ConfigError(
            f"home {home[:3].round(3).tolist()} lies outside of the workspace {workspace.low} … {workspace.high}: correct "
            "`workspace`, or say another `home` in the options"
        )
    angles, away = steering.angles_at(home)
    if away > REACH_M:
        raise ConfigError(f"home {home[:3].round(3).tolist()} is missed by {100 * away:.0f} cm: choose another `home`")
    if workspace is None:
        return angles
    missed: list[tuple[float, list[float]]] = []
    low, high = np.array(workspace.low), np.array(workspace.high)
    for shares in itertools.product((0.0, 0.5, 1.0), repeat=3):
        place = low + np.array(shares) * (high - low)
        _, away = steering.angles_at(np.concatenate([place, home[3:]]), near=angles)
        if away > REACH_M:
            missed.append((away, place.round(3).tolist()))
    if missed:
        away, place = max(missed)
        raise ConfigError(
            f"the arm cannot reach its box: {len(missed)} of 27 places of it are missed, {place} by {100 * away:.0f} cm. Make "
            "`workspace` smaller, or move it"
        )
    return angles
