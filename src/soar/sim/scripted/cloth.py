"""What the expert does with a cloth: pinch its right edge, carry it over, let go.

The right edge is the last row of the cloth, wherever it lies: at the right of a flat cloth, on the left half of a folded one.
Pinching squeezes a few centimetres of the cloth between the fingers, one of which comes down outside the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soar.sim.cloth import RADIUS_M, Cloth
from soar.sim.world import PINCHED, World

if TYPE_CHECKING:
    from soar.sim.scripted.style import Style

FloatArray = NDArray[np.float64]
Skill = tuple[FloatArray, float, float]
"""Move (3,) [m], turn [rad], gripper target."""
REACH_IN_M = {"flat": 0.002, "folded": -0.004}
"""How far inside the edge the gripper closes. An upper layer slides with the inner finger, so that more of it is gathered."""
PINCH_HEIGHT_M = 0.009
"""Of the grip point over the middle of the layer that is pinched: any lower, and the fingers take what lies below it too."""
CARRY_M = 0.05
RELEASE_M = 0.022
"""Height at which it lets go; lower, the opening fingers would press through the cloth."""
GATHERED_M = 0.018
"""Length of cloth that a pinch takes up."""


def handle_cloth(world: World, cloth: Cloth, style: Style, *, fold: bool) -> Skill:
    """Return the next move towards a folded or a flat cloth; only the present state decides."""
    _, _, right = cloth.edges(world.data)
    axis, grip, edge = cloth.axis(world.data), world.grip_position, right.mean(0)
    if world.opening < 0.9 and world.is_grasped(cloth.name):
        return _carry(world, cloth, fold)
    heading = float(np.arctan2(-axis[0], axis[1]))
    turn = float(np.clip(heading - world.grip_rpy[2], -0.2, 0.2))
    lies_on_itself = cloth.depth(world.data) > 0.15
    inside = REACH_IN_M["folded"] * axis if lies_on_itself else -REACH_IN_M["flat"] * axis
    # The fingers press the layer down while they close; it is aimed at where it lay.
    height = max(float(edge[2]), RADIUS_M * (3 if lies_on_itself else 1)) + PINCH_HEIGHT_M
    error = np.array([*(edge[:2] + inside + style.aim_m), height]) - grip
    across = float(np.hypot(*error[:2]))
    if world.opening < 0.9:
        if across < 0.035 and error[2] > -0.008 and world.opening > PINCHED:
            return np.zeros(3), 0.0, 0.0
        return np.array([0, 0, 0.02 if grip[2] < 0.06 else 0.0]), 0.0, 1.0
    if across > style.tolerance_m or abs(turn) > 0.12:
        up = error[2] + style.hover_m
        if across < 0.05 and error[2] < -0.02 and abs(turn) <= 0.12:
            up = min(0.0, error[2] + 0.02 + 0.8 * across)
        elif error[2] > -0.02 and across > 0.02:
            error = error * 0.3
        return np.array([error[0], error[1], up]), turn, 1.0
    if error[2] < -0.004 and world.commanded_position[2] > world.config.workspace.low[2] + 0.001:
        return error, turn, 1.0
    return np.zeros(3), 0.0, 0.0


def _carry(world: World, cloth: Cloth, fold: bool) -> Skill:
    left, middle, right = (row.mean(0)[:2] for row in cloth.edges(world.data))
    axis, grip = cloth.axis(world.data), world.grip_position
    # What is gathered between the fingers is missing when unfolding; the cloth springs open when they let go.
    away = left - right if fold else middle + (cloth.half_m[1] - GATHERED_M) * axis - grip[:2]
    ahead = float(away @ axis) * (-1.0 if fold else 1.0)
    if ahead > (0.010 if fold else 0.002):
        rise = min(CARRY_M, RELEASE_M + 0.012 + 0.9 * float(np.hypot(*away))) - grip[2]
        # Up before sideways, or the edge is dragged over the cloth.
        return np.array([*(away if rise < 0.012 else 0.15 * away), rise]), 0.0, 0.0
    if grip[2] > RELEASE_M + 0.004 and world.commanded_position[2] > grip[2] - 0.02:
        return np.array([*(0.3 * away), RELEASE_M - grip[2]]), 0.0, 0.0
    return np.zeros(3), 0.0, 1.0
