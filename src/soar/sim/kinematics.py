"""Kinematics of the WidowX 250s: six revolute joints whose last three axes meet in one point, so that the inverse is exact.

Frames. The base frame has x forward, y left, z up, and its origin on the table under the waist. The gripper frame has x along
the fingers and y across them. Orientations are roll, pitch, yaw relative to the gripper that points straight down with its
fingers apart along the base's y (that pose is (0, 0, 0)), as BridgeData does, so that the usual poses are far from gimbal lock.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SHOULDER_HEIGHT_M = 0.11065
ELBOW_FORWARD_M = 0.04975
ELBOW_UP_M = 0.25
FOREARM_M = 0.25
"""Elbow to wrist: 0.175 to the forearm's roll joint and 0.075 to the wrist."""
WRIST_TO_GRIP_M = 0.065 + 0.093575
"""Wrist to the point between the finger tips: 0.065 to the last joint, 0.0936 along the gripper."""
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
LOWER_RAD = np.array([-3.14158, -1.88496, -2.14675, -3.14158, -1.74533, -3.14158])
UPPER_RAD = np.array([3.14158, 1.98968, 1.60570, 3.14158, 2.14675, 3.14158])
_UPPER_ARM_M = math.hypot(ELBOW_FORWARD_M, ELBOW_UP_M)
_UPPER_ARM_TILT_RAD = math.atan2(ELBOW_FORWARD_M, ELBOW_UP_M)
POINTING_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])

FloatArray = NDArray[np.float64]


def rotation_from_rpy(rpy: FloatArray) -> FloatArray:
    """Return Rz(yaw) Ry(pitch) Rx(roll) (3, 3) for angles in rad."""
    cr, sr = math.cos(rpy[0]), math.sin(rpy[0])
    cp, sp = math.cos(rpy[1]), math.sin(rpy[1])
    cy, sy = math.cos(rpy[2]), math.sin(rpy[2])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_from_rotation(rotation: FloatArray) -> FloatArray:
    """Return roll, pitch, yaw (3,) [rad] of a rotation matrix (3, 3)."""
    pitch = math.asin(max(-1.0, min(1.0, -rotation[2, 0])))
    return np.array([math.atan2(rotation[2, 1], rotation[2, 2]), pitch, math.atan2(rotation[1, 0], rotation[0, 0])])


def gripper_rotation(rpy: FloatArray) -> FloatArray:
    """Return the orientation (3, 3) of the gripper frame in the base frame."""
    rotation: FloatArray = rotation_from_rpy(rpy) @ POINTING_DOWN
    return rotation


def inverse(position: FloatArray, rpy: FloatArray) -> FloatArray:
    """Return the joint angles (6,) [rad] that put the grip point at a pose; elbow up.

    A pose out of reach gives the arm stretched towards it; angles are clipped to the joint limits, so that the result can
    always be commanded.

    Args:
        position: (3,) grip point in the base frame [m].
        rpy: (3,) orientation [rad], (0, 0, 0) points straight down.
    """
    rotation = gripper_rotation(rpy)
    wrist = position - WRIST_TO_GRIP_M * rotation[:, 0]
    waist = math.atan2(wrist[1], wrist[0])
    radius, height = math.hypot(wrist[0], wrist[1]), wrist[2] - SHOULDER_HEIGHT_M
    distance = max(1e-6, math.hypot(radius, height))
    reach = min(distance, _UPPER_ARM_M + FOREARM_M - 1e-6)
    cosine = (_UPPER_ARM_M**2 + reach**2 - FOREARM_M**2) / (2 * _UPPER_ARM_M * reach)
    upper_arm = math.atan2(radius, height) - math.acos(max(-1.0, min(1.0, cosine)))
    shoulder = upper_arm - _UPPER_ARM_TILT_RAD
    scale = reach / distance
    forearm_r = radius * scale - _UPPER_ARM_M * math.sin(upper_arm)
    forearm_z = height * scale - _UPPER_ARM_M * math.cos(upper_arm)
    forearm_pitch = math.atan2(-forearm_z, forearm_r)
    elbow = shoulder - forearm_pitch
    forearm = rotation_from_rpy(np.array([0.0, forearm_pitch, waist]))
    m = forearm.T @ rotation
    bend = math.acos(max(-1.0, min(1.0, m[0, 0])))
    joints = np.array([waist, shoulder, elbow, math.atan2(m[1, 0], -m[2, 0]), -bend, math.atan2(m[0, 1], m[0, 2])])
    return np.asarray(np.clip(joints, LOWER_RAD, UPPER_RAD))
