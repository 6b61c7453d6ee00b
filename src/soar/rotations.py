"""Roll, pitch and yaw of grippers: relative to the base, as servers move, and relative to pointing down, as all others count.

Roll, pitch, yaw about the base's fixed axes x, y, z: R = Rz(yaw) Ry(pitch) Rx(roll). A gripper that points straight down has
pitch π/2 in the base's frame, where roll and yaw are one and the same, and is (0, 0, 0) relative to pointing down.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
POINTING_DOWN: Matrix = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def matrix(rpy: ArrayLike) -> Matrix:
    """Return the rotation (3, 3) of roll, pitch, yaw (3,) [rad]."""
    roll, pitch, yaw = (float(angle) for angle in np.asarray(rpy, np.float64))
    cr, sr, cp, sp, cy, sy = (f(angle) for angle in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def angles(rotation: Matrix) -> NDArray[np.float64]:
    """Return roll, pitch, yaw (3,) [rad] of a rotation (3, 3)."""
    pitch = math.asin(max(-1.0, min(1.0, -rotation[2, 0])))
    if abs(rotation[2, 0]) > 1 - 1e-9:  # roll and yaw are one: all of it is yaw
        return np.array([0.0, pitch, math.atan2(-rotation[0, 1], rotation[1, 1])])
    return np.array([math.atan2(rotation[2, 1], rotation[2, 2]), pitch, math.atan2(rotation[1, 0], rotation[0, 0])])


def from_down(rpy: ArrayLike) -> NDArray[np.float64]:
    """Return angles in the base's frame (3,) of angles relative to pointing down (3,)."""
    return angles(matrix(rpy) @ POINTING_DOWN)


def to_down(rpy: ArrayLike) -> NDArray[np.float64]:
    """Return angles relative to pointing down (3,) of angles in the base's frame (3,)."""
    return angles(matrix(rpy) @ POINTING_DOWN.T)


def apart(one: Matrix, other: Matrix) -> float:
    """Return the angle [rad] between two rotations (3, 3)."""
    cosine = (float(np.trace(one @ other.T)) - 1) / 2
    return math.acos(max(-1.0, min(1.0, cosine)))
