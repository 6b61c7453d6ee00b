"""A robot that only takes its time, says when it moves, and fails when it is told to."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from soar.errors import ConfigError, RobotFault
from soar.robots.safety import SafeRobot
from soar.testing import check_robot
from soar.testing.fakes import FAKE_WORKSPACE
from soar.testing.light import LightRobot

STEP = np.array([0.02, 0, 0, 0, 0, 0, 1], np.float32)
BACK = STEP * (-1, 1, 1, 1, 1, 1, 1)


@pytest.fixture
def clock() -> Iterator[None]:
    before = time.time
    yield
    vars(time)["time"] = before


def moved(robot: SafeRobot, steps: int = 8) -> None:
    for number in range(steps):
        robot.observe()
        robot.act(STEP if number % 8 < 4 else BACK)


def test_it_keeps_the_protocol_of_a_robot() -> None:
    check_robot(SafeRobot(LightRobot(step_s=0.0), FAKE_WORKSPACE))


def test_each_motion_is_said_with_its_process_and_its_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "told"))
        robot = LightRobot(name="bench", step_s=0.001, told=str(tmp_path / "told"))
        robot.home()
        robot.act(STEP)
        said = [told.recv(200).decode().split() for _ in range(2)]
    assert [words[:2] for words in said] == [["bench", str(os.getpid())]] * 2
    assert [int(ends) - int(begins) for _, _, begins, ends in said] == [5_000_000, 1_000_000]
    robot.act(STEP)  # nobody listens any more


@pytest.mark.parametrize("kind", ["motor", "camera", "connection"])
def test_a_fault_that_is_put_into_its_folder_happens_once_and_a_reboot_repairs_it(tmp_path: Path, kind: str) -> None:
    robot = SafeRobot(LightRobot(step_s=0.0, faults=str(tmp_path)), FAKE_WORKSPACE)
    moved(robot)
    (tmp_path / kind).write_text("")
    with pytest.raises(RobotFault) as fault:
        moved(robot)
    assert fault.value.kind == kind
    assert list(tmp_path.iterdir()) == []
    robot.recover()
    moved(robot)


def test_what_no_reboot_repairs_is_repaired_by_whoever_opens_it_anew(tmp_path: Path) -> None:
    robot = SafeRobot(LightRobot(step_s=0.0, faults=str(tmp_path)), FAKE_WORKSPACE)
    (tmp_path / "broken").write_text("")
    with pytest.raises(RobotFault):
        moved(robot)
    for _ in range(3):
        with pytest.raises(RobotFault, match="unrecoverable"):
            robot.recover()
    moved(SafeRobot(LightRobot(step_s=0.0, faults=str(tmp_path)), FAKE_WORKSPACE))


def test_its_process_s_clock_jumps_when_it_is_told_to(tmp_path: Path, clock: None) -> None:
    robot, before_s = LightRobot(step_s=0.0, faults=str(tmp_path)), time.time()
    (tmp_path / "clock").write_text("-7200")
    robot.act(STEP)
    assert time.time() - before_s < -7000


def test_its_camera_plays_pictures_that_were_taken_before(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((24, 32, 3), (number, 0, 0), np.uint8))  # blue, green, red
    robot = LightRobot(frames=str(tmp_path))
    seen = [robot.observe().image_HWC for _ in range(4)]
    assert {image.shape for image in seen} == {(24, 32, 3)}
    assert [int(image[0, 0, 2]) for image in seen] == [1, 2, 0, 1]
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="there are no pictures"):
        LightRobot(frames=str(tmp_path / "none"))
