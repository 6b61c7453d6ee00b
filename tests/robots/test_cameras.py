"""Robots with further cameras beside the main one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from soar.cameras import check_camera_names, is_camera_name
from soar.errors import ConfigError, RobotFault, UnknownNameError
from soar.robots import SafeRobot
from soar.robots.checks import Finding, check_robot
from soar.robots.faults import Fault, FaultyRobot
from soar.robots.gymnasium import GymRobot
from soar.robots.gymnasium_maps import EnvMap, MappedEnv
from soar.robots.safety import SafetyError
from soar.robots.workcell import load_workcell, open_workcell
from soar.testing import FakeRobot
from soar.testing import check_robot as check_contract
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Observation
from tests.robots import own
from tests.robots.test_watchdog import MOVE, steps_until_camera_fault
from tests.robots.test_workcell import cell


def watched(folder: Path, cameras: str, given: str = "[wrist]") -> str:
    return cell(folder, "Watched", extra=f"cameras: {cameras}\n", robot=f", options: {{cameras: {given}}}")


@pytest.mark.parametrize("name", ["wrist", "image_1", "cam-high.left", "0"])
def test_a_further_camera_has_a_plain_name(name: str) -> None:
    assert is_camera_name(name)


@pytest.mark.parametrize("name", ["main", "black", "", "a/b", "../x", ".x", "a b", "ä", "x" * 61, 3, None])
def test_other_names_are_none(name: object) -> None:
    assert not is_camera_name(name)
    with pytest.raises(ConfigError, match=r"FILE: .* no name of a further camera"):
        check_camera_names([name], "FILE")


def test_two_cameras_do_not_share_a_name() -> None:
    with pytest.raises(ConfigError, match="different names"):
        check_camera_names(["wrist", "wrist"], "FILE")


def test_a_workcell_gives_the_pictures_of_the_cameras_that_its_file_names(tmp_path: Path) -> None:
    with open_workcell(watched(tmp_path, "[side, wrist]", "[wrist, side]")) as workcell:
        seen = workcell.robot.observe()
        assert {name: image.shape for name, image in seen.extra_images.items()} == {"wrist": (40, 40, 3), "side": (42, 42, 3)}
        assert workcell.robot.cameras == ("side", "wrist")
        assert np.array_equal(seen.picture("wrist"), seen.extra_images["wrist"])
        assert np.array_equal(seen.picture(), seen.image_HWC)
        with pytest.raises(UnknownNameError, match=r"unknown camera 'wirst'; did you mean 'wrist'\? .*main, side, wrist"):
            seen.picture("wirst")


@pytest.mark.parametrize(
    ("named", "given", "message"),
    [
        (
            "[wrist, side]",
            "[wrist]",
            r"bench\.yaml: cameras: side is not there: the file names main, side, wrist.*gives main, wrist",
        ),
        ("[wrist]", "[]", r"wrist is not there.*gives main\. Add it"),
        ("[]", "[wrist]", r"wrist is not named: the file names main, .*Write `cameras: \[wrist\]` there"),
        ("[side]", "[wrist, side]", r"wrist is not named.*Write `cameras: \[side, wrist\]`"),
    ],
)
def test_cameras_that_differ_from_the_files_are_an_error_before_anything_moves(
    tmp_path: Path, named: str, given: str, message: str
) -> None:
    own.closed.clear()
    with pytest.raises(ConfigError, match=message):
        open_workcell(watched(tmp_path, named, given))
    assert own.closed == ["arm"]


def test_a_name_in_the_file_that_is_none_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bench\.yaml: cameras: 'main' is no name of a further camera"):
        load_workcell(watched(tmp_path, "[main]"))


def test_a_robot_with_further_cameras_keeps_the_contract() -> None:
    check_contract(SafeRobot(FakeRobot(cameras=("wrist", "side")), FAKE_WORKSPACE))


def test_each_camera_is_watched_for_freezing() -> None:
    robot = SafeRobot(own.Watched(("side", "wrist"), frozen="wrist"), FAKE_WORKSPACE)
    assert steps_until_camera_fault(robot, MOVE) == 3
    with pytest.raises(RobotFault, match="the image of camera wrist has not changed for 4 steps"):
        robot.act(MOVE)  # which looks first


def test_a_further_camera_that_moves_does_not_hide_a_main_one_that_is_frozen() -> None:
    robot = SafeRobot(FaultyRobot(own.Watched(), [Fault(kind="camera", step=0)]), FAKE_WORKSPACE)
    assert steps_until_camera_fault(robot, MOVE) == 3


def test_a_camera_that_gives_no_picture_any_more_is_a_fault_of_the_camera() -> None:
    robot = SafeRobot(own.Watched(("side", "wrist"), gone_after=2), FAKE_WORKSPACE)
    robot.observe()
    robot.observe()
    with pytest.raises(RobotFault, match="camera side gave no picture") as fault:
        robot.observe()
    assert fault.value.kind == "camera"


class Odd(own.Watched):
    """Gives something else from its second look on."""

    odd: Any = np.zeros((40, 40), np.uint8)

    def observe(self) -> Observation:
        seen = super().observe()
        if self.looks > 1:
            return Observation(image_HWC=seen.image_HWC, state=seen.state, extra_images={"wrist": self.odd})
        return seen


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (np.zeros((40, 40), np.uint8), r"image of camera wrist is uint8 of shape \(40, 40\)"),
        (np.zeros((20, 40, 3), np.uint8), "image of camera wrist is 20 x 40; expected 40 x 40"),
        (np.zeros((40, 40, 3), np.float32), "image of camera wrist is float32"),
    ],
)
def test_a_further_picture_of_another_kind_or_size_is_refused(odd: Any, message: str) -> None:
    driver = Odd()
    driver.odd = odd
    robot = SafeRobot(driver, FAKE_WORKSPACE)
    robot.observe()
    with pytest.raises(SafetyError, match=message):
        robot.observe()


@pytest.mark.parametrize(("images", "message"), [(None, "is a NoneType"), ({"main": np.zeros((4, 4, 3), np.uint8)}, "no name")])
def test_what_are_no_pictures_by_name_is_refused(images: Any, message: str) -> None:
    class Nameless(own.Arm):
        def observe(self) -> Observation:
            seen = super().observe()
            return Observation(image_HWC=seen.image_HWC, state=seen.state, extra_images=images)

    with pytest.raises(SafetyError, match=message):
        SafeRobot(Nameless(), FAKE_WORKSPACE).observe()


def test_the_check_before_a_night_looks_at_every_camera(tmp_path: Path) -> None:
    found: list[Finding] = []
    with open_workcell(watched(tmp_path, "[wrist]")) as workcell:
        check_robot(workcell, None, found.append)
    assert {"camera", "camera wrist", "exposure", "exposure wrist"} <= {finding.check for finding in found}


class Pixels(gymnasium.Env[Any, Any]):
    """An environment of somebody else's, with two pictures."""

    observation_space = Dict(
        {
            "pixels": Dict({name: Box(0, 255, (8, 8, 3), np.uint8) for name in ("front", "hand")}),
            "pos": Box(-1, 1, (4,), np.float32),
        }
    )
    action_space = Box(-1, 1, (4,), np.float32)

    def seen(self) -> dict[str, Any]:
        pixels = {name: np.full((8, 8, 3), level, np.uint8) for name, level in (("front", 1), ("hand", 2))}
        return {"pixels": pixels, "pos": np.zeros(4, np.float32)}

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return self.seen(), {}

    def step(self, _action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.seen(), 0.0, False, False, {}


def test_an_environments_further_pictures_are_named_in_its_file() -> None:
    state = {"x": "pos.0", "y": "pos.1", "z": "pos.2", "opening": "pos.3"}
    maps = EnvMap(state=state, action=["x", "y", "z", "gripper"], image="pixels.front", images={"wrist": "pixels.hand"})
    seen = GymRobot(MappedEnv(Pixels(), maps)).observe()
    assert (seen.image_HWC.max(), seen.extra_images["wrist"].min()) == (1, 2)
    with pytest.raises(ConfigError, match="no name of a further camera"):
        EnvMap(state=state, action=["x"], images={"main": "pixels.hand"})
