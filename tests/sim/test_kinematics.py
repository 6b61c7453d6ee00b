from __future__ import annotations

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.sim import kinematics
from soar.sim.scene import load_scene
from soar.sim.world import MAX_TILT_RAD, MAX_YAW_RAD, World

WORLD = World(load_scene("scene5"))
BOX = WORLD.config.workspace
positions = st.tuples(*(st.floats(low, high) for low, high in zip(BOX.low, BOX.high, strict=True))).map(np.array)
tilt, yaw = st.floats(-MAX_TILT_RAD, MAX_TILT_RAD), st.floats(-MAX_YAW_RAD, MAX_YAW_RAD)
angles = st.tuples(tilt, tilt, yaw).map(np.array)


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and roll, pitch, yaw of the grip point, by MuJoCo."""
    WORLD.data.qpos[:6] = joints
    mujoco.mj_kinematics(WORLD.model, WORLD.data)
    return WORLD.grip_position, WORLD.grip_rpy


@settings(max_examples=150)
@given(positions, st.just(np.zeros(3)) | angles.map(lambda rpy: np.array([0, 0, rpy[2]])))
def test_a_gripper_that_points_down_reaches_every_point_of_the_workspace_up_to_15_cm(
    position: np.ndarray, rpy: np.ndarray
) -> None:
    position[2] = min(position[2], 0.15)
    reached, orientation = forward(kinematics.inverse(position, rpy))
    assert np.linalg.norm(reached - position) < 1e-4
    assert np.allclose(orientation, rpy, atol=1e-3)


@settings(max_examples=100)
@given(st.tuples(*[st.floats(-0.5, 0.5)] * 6).map(np.array))
def test_the_inverse_of_any_forward_pose_gives_the_pose_back(offset: np.ndarray) -> None:
    joints = kinematics.inverse(np.array([0.28, 0.0, 0.12]), np.zeros(3)) + 0.5 * offset
    position, rpy = forward(joints)
    again, orientation = forward(kinematics.inverse(position, rpy))
    assert np.linalg.norm(again - position) < 1e-4
    assert np.allclose(kinematics.rotation_from_rpy(orientation), kinematics.rotation_from_rpy(rpy), atol=1e-3)


@given(st.tuples(*[st.floats(-2, 2)] * 3).map(np.array), angles)
def test_any_wish_gives_joint_angles_that_can_be_commanded(position: np.ndarray, rpy: np.ndarray) -> None:
    joints = kinematics.inverse(position, rpy)
    assert np.all(np.isfinite(joints))
    assert np.all((joints >= kinematics.LOWER_RAD) & (joints <= kinematics.UPPER_RAD))


def test_a_point_out_of_reach_stretches_the_arm_towards_it() -> None:
    reached, _ = forward(kinematics.inverse(np.array([1.5, 0.6, 0.3]), np.zeros(3)))
    assert np.arctan2(reached[1], reached[0]) == pytest.approx(np.arctan2(0.6, 1.5), abs=0.02)
    assert np.hypot(*reached[:2]) > 0.45


@given(st.tuples(*[st.floats(-1.5, 1.5)] * 3).map(np.array))
def test_orientations_survive_the_way_through_a_matrix(rpy: np.ndarray) -> None:
    rotation = kinematics.rotation_from_rpy(rpy)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert np.allclose(kinematics.rpy_from_rotation(rotation), rpy, atol=1e-6)


def test_at_rest_the_fingers_point_down_and_open_along_y() -> None:
    assert np.allclose(kinematics.gripper_rotation(np.zeros(3))[:, 0], [0, 0, -1])
    assert np.allclose(kinematics.gripper_rotation(np.zeros(3))[:, 1], [0, 1, 0])
