from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError, RobotFault, UnknownNameError
from soar.robots.workcell import Workcell, close_all, load_workcell, open_workcell
from tests.robots import own

BOX = "workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}\n"
SCENE = "scene: {tasks: [put the carrot on the plate]}\n"


def write(folder: Path, text: str, name: str = "bench.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def cell(folder: Path, driver: str = "Arm", extra: str = "", robot: str = "") -> str:
    text = f"robot: {{driver: 'tests.robots.own:{driver}'{robot}}}\n{BOX}{SCENE}{extra}"
    return write(folder, text)


def test_a_workcell_is_a_robot_in_front_of_a_scene(tmp_path: Path) -> None:
    with open_workcell(cell(tmp_path)) as workcell:
        assert workcell.name == "bench"
        assert workcell.robot.observe().image_HWC.shape == (48, 64, 3)
        assert [task.question for task in workcell.scene.tasks] == ["Is the carrot on the plate?"]
        assert (workcell.reset_for, workcell.set_table, workcell.truth, workcell.imagine, workcell.answer) == (None,) * 5


def test_robot_and_scene_may_be_files_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "driver: tests.robots.own:Arm\noptions: {name: left}\n" + BOX, "arm.yaml")
    write(tmp_path, "tasks: [open the drawer]\n", "desk.yaml")
    config = load_workcell(write(tmp_path, "name: left-bench\nrobot: arm.yaml\nscene: desk.yaml\n"))
    assert (config.name, config.scene.name, config.workspace.high) == ("left-bench", "desk", (0.4, 0.2, 0.2))
    own.closed.clear()
    config.open().close()
    assert own.closed == ["left"]


def test_the_limits_of_a_robots_file_are_applied(tmp_path: Path) -> None:
    path = cell(tmp_path, robot=", limits: {translation_m: 0.004, rotation_rad: 0.01, lag_m: 0.0}")
    with open_workcell(path) as workcell:
        before = workcell.robot.observe().state
        workcell.robot.act(np.array([0.05, 0, 0, 0, 0, 0.3, 1], np.float32))
        moved = workcell.robot.observe().state - before
        assert moved[0] == pytest.approx(0.004, abs=1e-6)
        assert moved[5] == pytest.approx(0.01, abs=1e-6)


def test_the_workcells_box_counts_more_than_the_scenes_and_that_more_than_the_robots(tmp_path: Path) -> None:
    boxes = {name: f"workspace: {{low: [0, 0, 0], high: [{x}, 1, 1]}}" for name, x in (("robot", 1), ("scene", 2), ("cell", 3))}
    for used, expected in ((("robot",), 1), (("robot", "scene"), 2), (("robot", "scene", "cell"), 3)):
        robot = f"robot: {{driver: 'tests.robots.own:Arm', {boxes['robot'] if 'robot' in used else ''}}}\n"
        scene = f"scene: {{tasks: [open the drawer], {boxes['scene'] if 'scene' in used else ''}}}\n"
        text = robot.replace(", }", "}") + scene.replace(", }", "}") + (boxes["cell"] if "cell" in used else "")
        assert load_workcell(write(tmp_path, text)).workspace.high[0] == expected


def test_what_a_place_can_do_besides_is_what_its_driver_can(tmp_path: Path) -> None:
    with open_workcell(cell(tmp_path, "Cell")) as workcell:
        assert workcell.truth is not None
        assert workcell.truth("put the carrot on the plate") is True
        assert workcell.reset_for is not None
        workcell.robot.act(np.array([0.03, 0, 0, 0, 0, 0, 1], np.float32))
        workcell.reset_for("put the carrot on the plate", 7)
        assert workcell.robot.observe().state[0] == pytest.approx(0.27)
        assert workcell.set_table is None


@pytest.mark.parametrize(
    ("driver", "message"),
    [
        ("missing", r"robot driver 'tests\.robots\.own:missing' cannot be imported: AttributeError"),
        ("not_callable", r"is a int, which cannot be called"),
        ("refusing", r"cannot be opened: RuntimeError: no arm on /dev/ttyUSB0"),
        ("NoRobot", r"made a NoRobot, which lacks act, health, home, recover"),
        ("NotANumber", r"not finite"),
        ("Blind", r"the driver's image is uint8 of shape \(48, 64\)"),
    ],
)
def test_a_driver_that_cannot_be_used_is_one_clear_error(tmp_path: Path, driver: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_workcell(cell(tmp_path, driver))


def test_a_driver_that_hangs_is_an_error_with_the_time_that_was_waited(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"observe: no answer in 0\.2 s"):
        open_workcell(cell(tmp_path, "Hanging", robot=", timeouts: {observe: 0.2, other: 0.1}"))


def test_only_a_simulated_camera_that_can_be_asked_is_asked_for_a_size(tmp_path: Path) -> None:
    with load_workcell(cell(tmp_path, robot=", simulated: true")).open(image_size=32) as workcell:
        assert workcell.robot.observe().image_HWC.shape == (48, 64, 3)
    with load_workcell("sim:scene1").open(image_size=32) as workcell:
        assert workcell.robot.observe().image_HWC.shape == (32, 32, 3)


def test_a_picture_of_another_size_than_was_said_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image is 48 x 64; expected 480 x 640"):
        open_workcell(cell(tmp_path, extra="image_size: [480, 640]\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCENE + BOX, r"`robot` is missing"),
        ("robot: {driver: 'a:b'}\n" + BOX, r"`scene` is missing"),
        ("robot: {driver: 'a:b'}\n" + SCENE, r"no `workspace`: say in which box"),
        ("robot: no-such-robot\n" + SCENE, r"unknown robot 'no-such-robot'"),
        ("robot: {driver: 'a:b'}\nscene: no-such-scene\n", r"unknown scene 'no-such-scene'"),
        ("robot: {driver: 'a:b'}\nscen: x\n", r"unknown key 'scen'; did you mean 'scene'"),
        ("robot: {drivr: 'a:b'}\n" + SCENE, r"unknown key 'drivr'; did you mean 'driver'"),
        ("robot: {driver: 'a:b'}\nscene: {tasks: []}\n" + BOX, r"no tasks"),
        ("robot: {driver: 'a:b'}\n" + SCENE + BOX.replace("0.4,", "0.1,"), r"each number of `low` must be below"),
        ("robot: {driver: 'a:b'}\n" + SCENE + BOX + "reference: no.png\n", r"there is no picture"),
    ],
)
def test_a_bad_workcell_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_workcell(write(tmp_path, text)).open()


def test_an_unknown_workcell_is_answered_with_how_to_name_one() -> None:
    with pytest.raises(UnknownNameError, match="Or pass the path of a YAML file"):
        load_workcell("bench-9")


def test_a_scene_that_names_a_robot_is_told_about_workcells(tmp_path: Path) -> None:
    scene = write(tmp_path, "robot: my-robot.yaml\ntasks: [open the drawer]\nobjects: [drawer]\n", "lab.yaml")
    with pytest.raises(ConfigError, match="a scene has no robot; a workcell's file names both"):
        load_workcell(f"sim:{scene}")


def opened(tmp_path: Path, driver: str, timeouts: str) -> tuple[Workcell, own.SlowOnce]:
    workcell = open_workcell(cell(tmp_path, driver, robot=f", timeouts: {{{timeouts}}}"))
    return workcell, workcell._driver._robot  # type: ignore[return-value]


def test_a_call_that_was_given_up_is_waited_for_and_never_sent_again(tmp_path: Path) -> None:
    workcell, arm = opened(tmp_path, "SlowOnce", "act: 1.0, observe: 1.0")
    robot, still = workcell.robot, np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
    robot.act(still)
    with pytest.raises(RobotFault, match="act: no answer in 1 s"):
        robot.act(still)
    with pytest.raises(RobotFault, match=r"observe: act has not come back yet"):
        robot.observe()
    assert arm.actions == 2
    arm.go_on.set()
    robot.recover()
    robot.observe()
    assert arm.actions == 2
    workcell.close()


def test_whatever_a_driver_raises_is_a_fault_with_its_words(tmp_path: Path) -> None:
    with open_workcell(cell(tmp_path, "Raising")) as workcell, pytest.raises(RobotFault, match=r"act: KeyError: 'servo 3'"):
        workcell.robot.act(np.zeros(7, np.float32))


def test_a_health_that_is_none_is_a_fault(tmp_path: Path) -> None:
    with open_workcell(cell(tmp_path, "Sick")) as workcell:
        assert workcell.robot.health().detail == "health() returned a str, not a Health"


def test_an_arm_is_closed_once_however_its_session_ends(tmp_path: Path) -> None:
    own.closed.clear()
    with pytest.raises(KeyboardInterrupt), open_workcell(cell(tmp_path)) as workcell:
        raise KeyboardInterrupt
    workcell.close()
    assert own.closed == ["arm"]
    still_open = open_workcell(cell(tmp_path))
    close_all()
    still_open.close()
    assert own.closed == ["arm", "arm"]
