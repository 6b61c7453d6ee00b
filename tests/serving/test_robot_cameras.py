"""Further cameras through the wire of `soar robot serve`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError
from soar.remote.wire import WireError
from soar.robots import remote
from soar.robots.remote import open_robot
from soar.robots.remote_answers import observation
from soar.robots.workcell import open_workcell
from soar.testing import FakeRobot, check_robot
from tests.robots.test_workcell import BOX, SCENE, write
from tests.serving.test_robots import TOKEN, Offer, offer

__all__ = ["offer"]


def watched() -> FakeRobot:
    return FakeRobot(cameras=("wrist", "side"))


def test_further_cameras_keep_the_contract_through_the_wire(offer: Offer) -> None:
    robot, here = open_robot(offer(watched), TOKEN, "raw"), watched()
    seen, expected = robot.observe(), here.observe()
    for camera in ("main", "wrist", "side"):
        assert np.array_equal(seen.picture(camera), expected.picture(camera))
    check_robot(robot)
    robot.close()


def test_the_clients_workcell_says_which_cameras_it_expects(offer: Offer, tmp_path: Path) -> None:
    url = offer(watched)
    robot = f"robot: {{driver: remote, options: {{url: '{url}', token: {TOKEN}}}}}\n{BOX}{SCENE}"
    with open_workcell(write(tmp_path, f"{robot}cameras: [wrist, side]\n")) as workcell:
        assert workcell.robot.cameras == ("side", "wrist")
    with pytest.raises(ConfigError, match="wrist is not named"):
        open_workcell(write(tmp_path, f"{robot}cameras: [side]\n"))
    with pytest.raises(ConfigError, match="top is not there"):
        open_workcell(write(tmp_path, f"{robot}cameras: [side, wrist, top]\n"))


def test_a_client_that_knows_one_camera_refuses_such_a_robot_and_takes_any_other(
    offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    several, plain = offer(watched), offer(FakeRobot)
    monkeypatch.setattr(remote, "SEVERAL_CAMERAS", remote.PROTOCOL)  # what the client of the version before compares with
    with pytest.raises(ConfigError, match=r"speaks protocol 2 .* install the same version"):
        open_robot(several, TOKEN, "raw")
    open_robot(plain, TOKEN, "raw").close()


def test_a_served_workcell_gives_the_cameras_that_its_file_names(offer: Offer) -> None:
    with pytest.raises(ConfigError, match=r"its cameras are main, side, wrist, and main, wrist are named in"):
        offer(watched, cameras=("wrist",))


@pytest.mark.parametrize("images", [[], {"main": {}}, {"../x": {}}, {"wrist": {"raw": "", "shape": [1, 1, 3]}}])
def test_pictures_of_a_stranger_are_not_believed(images: object) -> None:
    told = {"image": {"raw": "AAAA", "shape": [1, 1, 3]}, "state": [0.0] * 7, "images": images}
    with pytest.raises((ValueError, WireError)):  # which the client makes a lost connection
        observation(told)
