from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError, UnknownNameError
from soar.robots import SafeRobot
from soar.robots.registry import RobotConfig, load_robot
from soar.robots.workcell import open_workcell
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.workcell import SimRobot, open_robot
from soar.testing import check_robot
from tests.sim.acting import walk

PUT = "put the green block in the wooden bowl"


@pytest.fixture(scope="module")
def robot() -> SimRobot:
    return open_robot("scene1", 32)


def test_the_simulated_robot_keeps_the_contract_through_the_safety_shell(robot: SimRobot) -> None:
    robot.reset_for(PUT, 0)
    check_robot(SafeRobot(robot, robot.world.config.workspace, load_robot("widowx-sim").limits))


def test_imagining_leaves_the_world_as_it_was(robot: SimRobot) -> None:
    robot.reset_for(PUT, 1)
    walk(robot.world, 10, np.random.default_rng(0))
    before, image = robot.world.snapshot(), robot.world.render()
    goal = robot.imagine(PUT, 0)
    assert np.abs(goal.astype(int) - image).max() > 20
    assert np.array_equal(robot.imagine(PUT, 0), goal)
    after = robot.world.snapshot()
    assert np.array_equal(before.physics.qpos, after.physics.qpos)
    assert np.array_equal(before.physics.qvel, after.physics.qvel)
    assert np.array_equal(before.position, after.position)
    assert np.array_equal(robot.world.render(), image)


def test_no_two_frames_are_equal_though_nothing_moves(robot: SimRobot) -> None:
    # Else a still table with the arm out of sight looks like a frozen camera.
    robot.reset_for(PUT, 1)
    first, second = robot.observe().image_HWC, robot.observe().image_HWC
    assert not np.array_equal(first, second)
    assert np.abs(first.astype(int) - second).max() == 1


def test_following_imagined_goals_one_after_another_does_the_task(robot: SimRobot) -> None:
    robot.reset_for(PUT, 2)
    goals = []
    for _ in range(5):
        goals.append(robot.imagine(PUT, 0))
        for _ in range(20):
            robot.act(_demonstration(robot))
    assert robot.truth(PUT)
    assert robot.answer("Is the green block in the wooden bowl?")
    assert len({goal.tobytes() for goal in goals}) >= 3


def _demonstration(robot: SimRobot) -> np.ndarray:
    return ScriptedExpert(robot.world, PUT, Style(), np.random.default_rng(0)).act()


def test_the_workcell_of_a_scene_is_opened_by_the_scenes_name() -> None:
    with open_workcell("sim:scene5", image_size=32) as workcell:
        assert workcell.robot.observe().image_HWC.shape == (32, 32, 3)
        assert workcell.scene.name == "scene5"
        assert all((workcell.reset_for, workcell.set_table, workcell.truth, workcell.imagine, workcell.answer))


def test_a_task_in_somebodys_own_words_has_no_truth(robot: SimRobot) -> None:
    assert robot.truth("put the green block next to the bowl") is None
    assert robot.truth("put the violet duck in the wooden bowl") is None
    assert robot.truth("open the drawer") is None


def test_an_unknown_robot_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown robot 'widowx-simm'; did you mean 'widowx-sim'\?"):
        load_robot("widowx-simm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limits: {}", "driver: Field required|missing"),
        ("driver: soar.sim.workcell", "must be MODULE:NAME"),
        ("driver: soar.sim.workcell:open_robot\nspeed: 3", "unknown key 'speed'"),
        (
            "driver: soar.sim.workcell:open_robot\nlimits: {translation: 3}",
            "unknown key 'translation'; did you mean 'translation_m'",
        ),
        ("driver: soar.sim.workcell:open_robot\nlimits: {translation_m: -1}", "must be positive"),
    ],
)
def test_a_robots_file_is_checked(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_robot(str(path))


@pytest.mark.parametrize("driver", ["no_such_library.arm:connect", "soar.sim.workcell:no_such_function"])
def test_a_driver_that_cannot_be_imported_is_named(driver: str) -> None:
    with pytest.raises(ConfigError, match=rf"robot driver '{driver}' cannot be imported"):
        RobotConfig(driver=driver).make()
