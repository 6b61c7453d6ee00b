"""Further cameras of the simulator: off they are not there, on they change nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError, UnknownNameError
from soar.robots.workcell import open_workcell
from soar.sim.mjcf import CAMERAS
from soar.sim.workcell import open_robot

MOVES = np.array([[0.02, 0.01, -0.02, 0, 0, 0.1, 1], [0.0, -0.02, -0.03, 0, 0, 0, 0], [0.01, 0, 0, 0, 0, 0, 0]], np.float32)
FILE = "robot: widowx-sim\nscene: scene1\ncameras: [wrist, side]\n"


def test_further_cameras_change_neither_the_main_picture_nor_the_physics() -> None:
    alone, watched = open_robot("scene1", 64), open_robot("scene1", 64, CAMERAS)
    for robot in (alone, watched):
        robot.set_table(3)
    for move in MOVES:
        one, other = alone.observe(), watched.observe()
        assert np.array_equal(one.image_HWC, other.image_HWC)
        assert np.array_equal(one.state, other.state)
        assert (set(one.extra_images), set(other.extra_images)) == (set(), {"wrist", "side"})
        alone.act(move)
        watched.act(move)
    assert alone.world.model.ncam == 1


def test_the_wrist_camera_moves_with_the_hand_and_the_side_camera_stays() -> None:
    robot = open_robot("scene5", 64, CAMERAS)
    robot.set_table(0)
    before = robot.observe()
    for _ in range(4):
        robot.act(np.array([0.0, 0.03, 0, 0, 0, 0, 1], np.float32))
    after = robot.observe()
    changed = {name: np.mean(np.abs(before.picture(name).astype(int) - after.picture(name)) > 20) for name in CAMERAS}
    assert changed["wrist"] > 0.3 > 0.2 > changed["side"] > 0.0
    for name in CAMERAS:
        assert before.picture(name).shape == (64, 64, 3)
        assert before.picture(name).std() > 15  # it shows something
        assert (before.picture(name).max(2) == 0).mean() < 0.02  # and no void behind it


def test_a_still_table_is_no_frozen_camera() -> None:
    robot = open_robot("scene5", 48, CAMERAS)
    one, other = robot.observe(), robot.observe()
    assert all(not np.array_equal(one.picture(name), other.picture(name)) for name in ("main", *CAMERAS))


def test_a_workcells_file_asks_for_them(tmp_path: Path) -> None:
    path = tmp_path / "cell.yaml"
    path.write_text(FILE)
    with open_workcell(str(path), image_size=48) as workcell:
        assert {name: one.shape for name, one in workcell.robot.observe().extra_images.items()} == {
            "wrist": (48, 48, 3),
            "side": (48, 48, 3),
        }
    path.write_text(FILE.replace("wrist", "top"))
    with pytest.raises(ConfigError, match=r"unknown simulated camera 'top'.*side, wrist"):
        open_workcell(str(path))


def test_there_are_no_other_cameras() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown simulated camera 'wirst'; did you mean 'wrist'\?"):
        open_robot("scene1", 32, ["wirst"])
