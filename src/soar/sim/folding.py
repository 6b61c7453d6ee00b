"""What the demonstrator does with a cloth: pinch its right edge, carry it over, let go.

The right edge is the last row of the cloth, wherever it lies: at the right of a flat cloth, on the left half of a folded one.
Pinching squeezes a few centimetres of the cloth between the fingers, one of which comes down outside the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soar.sim.cloth import RADIUS_M, Cloth
from soar.sim.world import World

if TYPE_CHECKING:
    from soar.sim.demonstrator import Style

FloatArray = NDArray[np.float64]
Skill = tuple[FloatArray, float, float]
"""Move (3,) [m], turn [rad], gripper target."""
REACH_IN_M = 0.002
"""How far inside the edge the gripper closes."""
PINCH_HEIGHT_M = 0.009
"""Of the grip point over the middle of the layer that is pinched: any lower, and the fingers take what lies below it too."""
CARRY_M = 0.05
GATHERED_M = 0.012


def handle_cloth(world: World, cloth: Cloth, style: Style, *, fold: bool) -> Skill:
    """Return the next move towards a folded or a flat cloth; only the present state decides."""
    left, middle, right = cloth.edges(world.data)
    axis = cloth.axis(world.data)
    grip = world.grip_position
    edge = right.mean(0)
    heading = float(np.arctan2(-axis[0], axis[1]))
    turn = float(np.clip(heading - world.grip_rpy[2], -0.2, 0.2))
    if world.opening < 0.9 and world.is_grasped(cloth.name):
        return _carry(world, cloth, style, fold, left.mean(0), middle.mean(0), edge, axis)
    lies_on_itself = cloth.depth(world.data) > 0.15
    inwards = axis if lies_on_itself else -axis
    aim = np.array([*(edge[:2] + REACH_IN_M * inwards + style.aim_m), 0.0])
    # The fingers press the layer down while they close; it is aimed at where it lay.
    aim[2] = max(float(edge[2]), RADIUS_M * (3 if lies_on_itself else 1)) + PINCH_HEIGHT_M
    error = aim - grip
    across = float(np.hypot(*error[:2]))
    closing = across < 0.035 and grip[2] < aim[2] + 0.008
    if world.opening < 0.9 and not (closing and world.opening > 0.05):
        return np.array([0, 0, 0.02 if grip[2] < 0.06 else 0.0]), 0.0, 1.0
    if world.opening < 0.9:
        return np.zeros(3), 0.0, 0.0
    if across > style.tolerance_m or abs(turn) > 0.12:
        hover = aim[2] + style.hover_m
        up = hover - grip[2]
        if across < 0.05 and grip[2] > aim[2] + 0.02 and abs(turn) <= 0.12:
            up = min(0.0, aim[2] + 0.02 + 0.8 * across - grip[2])
        elif grip[2] < aim[2] + 0.02 and across > 0.02:
            error = error * 0.3
        return np.array([error[0], error[1], up]), turn, 1.0
    if error[2] < -0.004 and world.commanded_position[2] > world.config.workspace.low[2] + 0.001:
        return error, turn, 1.0
    return np.zeros(3), 0.0, 0.0


def _carry(
    world: World, cloth: Cloth, style: Style, fold: bool, left: FloatArray, middle: FloatArray, edge: FloatArray, axis: FloatArray
) -> Skill:
    grip, width = world.grip_position, 2 * cloth.half_m[1]
    if fold:
        away = left[:2] - edge[:2]
    else:
        # What is gathered between the fingers is missing; the cloth springs open when they let go.
        away = middle[:2] + (0.5 * width - GATHERED_M) * axis - grip[:2]
    distance = float(np.hypot(*away))
    side = float(away @ axis) * (-1.0 if fold else 1.0)
    drop = 0.022 if fold else 0.012
    if side > 0.01:
        height = min(CARRY_M, drop + 0.012 + 0.9 * distance)
        rise = height - grip[2]
        move = np.array([*away, rise])
        if rise > 0.012:
            move[:2] *= 0.15
        return move, 0.0, 0.0
    if grip[2] > drop + 0.004 and world.commanded_position[2] > grip[2] - 0.02:
        return np.array([*(0.3 * away), drop - grip[2]]), 0.0, 0.0
    return np.zeros(3), 0.0, 1.0
