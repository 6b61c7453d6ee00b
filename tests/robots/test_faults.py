from __future__ import annotations

import numpy as np
import pytest

from soar.errors import ConfigError, RobotFault, UnknownNameError
from soar.robots import Fault, FaultyRobot
from soar.testing import FakeRobot, check_robot

MOVE = np.array([0.01, 0, 0, 0, 0, 0, 1], np.float32)


def test_without_faults_it_is_the_robot_that_it_wraps() -> None:
    check_robot(FaultyRobot(FakeRobot(), []))


def test_a_failed_motor_does_not_move_until_it_is_rebooted_often_enough() -> None:
    robot = FaultyRobot(FakeRobot(), [Fault(kind="motor", step=1, reboots=3)])
    robot.act(MOVE)
    robot.act(MOVE)
    assert robot.observe().state[0] == pytest.approx(0.28)
    assert robot.health().fault == "motor"
    for _ in range(2):
        with pytest.raises(RobotFault, match="did not help"):
            robot.recover()
    robot.recover()
    assert robot.health().ok
    robot.act(MOVE)
    assert robot.observe().state[0] == pytest.approx(0.28)


def test_a_frozen_camera_repeats_its_last_image_while_the_state_goes_on() -> None:
    robot = FaultyRobot(FakeRobot(), [Fault(kind="camera", step=0)])
    before = robot.observe()
    robot.act(MOVE)
    after = robot.observe()
    np.testing.assert_array_equal(after.image_HWC, before.image_HWC)
    assert after.state[0] > before.state[0]
    assert robot.health().ok


def test_a_fault_without_reboots_is_unrecoverable() -> None:
    robot = FaultyRobot(FakeRobot(), [Fault(kind="connection", step=0, reboots=None)])
    with pytest.raises(ConnectionResetError):
        robot.act(MOVE)
    with pytest.raises(RobotFault) as fault:
        robot.recover()
    assert fault.value.kind == "unrecoverable"


def test_a_second_fault_waits_for_the_first_to_be_repaired() -> None:
    robot = FaultyRobot(FakeRobot(), [Fault(kind="motor", step=1), Fault(kind="connection", step=0)])
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            robot.act(MOVE)
    robot.recover()
    robot.act(MOVE)
    assert robot.health().fault == "motor"


def test_unknown_kinds_and_impossible_numbers_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'motor'"):
        Fault(kind="motr", step=0)
    with pytest.raises(ConfigError, match="reboots at least 1"):
        Fault(kind="motor", step=0, reboots=0)
