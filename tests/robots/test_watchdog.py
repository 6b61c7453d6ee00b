from __future__ import annotations

import numpy as np

from soar.errors import RobotFault
from soar.robots import Fault, FaultyRobot, SafeRobot
from soar.testing import FakeRobot
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Action, Observation

MOVE = np.array([0.01, 0, 0, 0, 0, 0, 1], np.float32)


def steps_until_camera_fault(robot: SafeRobot, action: Action, limit: int = 20) -> int | None:
    robot.observe()
    for step in range(limit):
        robot.act(action)
        try:
            robot.observe()
        except RobotFault as fault:
            return step + 1 if fault.kind == "camera" else None
    return None


def test_a_frozen_camera_is_noticed_within_three_steps_of_moving() -> None:
    robot = SafeRobot(FaultyRobot(FakeRobot(), [Fault(kind="camera", step=0)]), FAKE_WORKSPACE)
    assert steps_until_camera_fault(robot, MOVE) == 3


def test_a_frozen_camera_is_noticed_when_only_the_gripper_closes() -> None:
    robot = SafeRobot(FaultyRobot(FakeRobot(), [Fault(kind="camera", step=0)]), FAKE_WORKSPACE)
    assert steps_until_camera_fault(robot, np.zeros(7, np.float32)) == 3


def test_a_robot_that_stands_still_is_not_accused() -> None:
    assert steps_until_camera_fault(SafeRobot(FakeRobot(), FAKE_WORKSPACE), np.array([0, 0, 0, 0, 0, 0, 1], np.float32)) is None


def test_a_slow_robot_with_a_working_camera_is_not_accused() -> None:
    assert steps_until_camera_fault(SafeRobot(FakeRobot(), FAKE_WORKSPACE), 0.1 * MOVE) is None


def test_a_camera_that_a_reboot_did_not_thaw_is_noticed_again() -> None:
    class Frozen(FakeRobot):
        def observe(self) -> Observation:
            return Observation(image_HWC=np.zeros((8, 8, 3), np.uint8), state=super().observe().state)

    robot = SafeRobot(Frozen(), FAKE_WORKSPACE)
    assert steps_until_camera_fault(robot, MOVE) == 3
    robot.recover()
    assert steps_until_camera_fault(robot, MOVE) == 2  # the picture is still the old one


def test_recovery_thaws_the_camera() -> None:
    robot = SafeRobot(FaultyRobot(FakeRobot(), [Fault(kind="camera", step=0)]), FAKE_WORKSPACE)
    assert steps_until_camera_fault(robot, MOVE) == 3
    robot.recover()
    assert steps_until_camera_fault(robot, MOVE, limit=8) is None
