"""Environments of other people, brought to our contract by a few words: one that has neither our picture nor our numbers."""

from __future__ import annotations

import logging
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from soar.errors import ConfigError
from soar.robots.gymnasium import open_gym
from soar.testing import FakeRobot, check_robot

HOME = (0.27, 0.0, 0.12)


class Foreign(gymnasium.Env[Any, Any]):
    """Five numbers an action (in units of 2 cm, gripper 1 closed and -1 open, one that nobody needs); four steps take 0.2 s."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's own way

    def __init__(self, render_mode: str | None = None, size: int = 48) -> None:
        self.render_mode, self.size = render_mode, size
        self.action_space = Box(-1, 1, (5,), np.float32)
        self.observation_space = Dict(
            {"arm": Dict({"tip": Box(-9, 9, (3,)), "q": Box(-1, 1, (4,)), "jaw": Box(0, 0.08, (1,))})}
        )
        self.robot = FakeRobot(size)
        self.taken: list[list[float]] = []
        self.closed = 0

    def _observation(self) -> dict[str, Any]:
        state = self.robot.observe().state
        quarter = np.array([0, 0, np.sin(np.pi / 4), np.cos(np.pi / 4)])
        return {"arm": {"tip": state[:3], "q": quarter, "jaw": state[6:] * 0.08}}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        assert options is None, "foreign environments know no options"
        self.robot.home()
        self.block = float(self.np_random.random())
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken.append([float(number) for number in action])
        self.robot.act(np.array([*(action[:3] * 0.02), 0, 0, 0, (1 - action[3]) / 2], np.float32))
        return self._observation(), 0.0, False, False, {"done": self.block < 0.5}

    def render(self) -> Any:
        return self.robot.observe().image_HWC if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self.closed += 1


gymnasium.register("soar-tests/Foreign-v0", entry_point=Foreign)
STATE: dict[str, Any] = {
    **{name: f"arm.tip.{index}" for index, name in enumerate("xyz")},
    **{name: f"arm.q.{index}" for index, name in enumerate(("qx", "qy", "qz", "qw"))},
    "opening": "arm.jaw",
}
SAID: dict[str, Any] = {
    "env": "soar-tests/Foreign-v0",
    "state": STATE,
    "opening": [0, 0.08],
    "action": ["x", "y", "z", "gripper", 0.5],
    "units": {"m": 0.02},
    "gripper": [1, -1],
    "steps": 4,
}


def inner(robot: Any) -> Foreign:
    found: Foreign = robot._env.unwrapped
    return found


def test_a_foreign_environment_keeps_the_robot_contract() -> None:
    check_robot(open_gym(**SAID))


def test_each_number_goes_where_the_file_says_and_a_motion_is_divided_among_the_steps() -> None:
    robot = open_gym(**SAID)
    assert robot.observe().state == pytest.approx([*HOME, 0, 0, np.pi / 2, 1])
    robot.act(np.array([0.02, -0.04, 0.008, 0.1, 0.2, 0.3, 0.0], np.float32))
    assert inner(robot).taken == [pytest.approx([0.25, -0.5, 0.1, 1.0, 0.5], abs=1e-6)] * 4
    state = robot.observe().state
    assert state[:3] == pytest.approx([0.29, -0.04, 0.128], abs=1e-6)
    assert state[6] == 0


def test_what_is_more_than_the_environment_can_is_clipped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    robot = open_gym(**SAID)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            robot.act(np.array([0.2, 0, 0, 0, 0, 0, 1], np.float32))
    assert inner(robot).taken[0][0] == 1
    (record,) = caplog.records
    assert "[2.5, 0.0, 0.0, -1.0, 0.5] is clipped to [1.0, 0.0, 0.0, -1.0, 0.5]" in record.getMessage()


def test_equal_seeds_give_equal_starts_and_going_home_from_a_start_leaves_it() -> None:
    robot = open_gym(**SAID)
    blocks = []
    for seed in (3, 4, 3):
        robot.reset_for("any task", seed)
        robot.home()
        blocks.append(inner(robot).block)
    assert blocks[0] == blocks[2] != blocks[1]
    robot.act(np.zeros(7, np.float32))
    robot.home()
    assert inner(robot).block != blocks[2], "an environment that cannot go home starts anew"


def test_the_environment_tells_the_truth_about_the_task_that_it_knows_and_only_once_it_has_said_something() -> None:
    robot = open_gym(**SAID, success={"lift the block": "done"})
    assert robot.truth is not None
    robot.reset_for("lift the block", 0)
    assert robot.truth("lift the block") is None
    robot.act(np.zeros(7, np.float32))
    assert robot.truth("lift the block") is (inner(robot).block < 0.5)
    assert robot.truth("open the drawer") is None
    assert open_gym(**SAID).truth is None


def test_an_arm_that_has_to_come_to_rest_holds_still_after_each_start() -> None:
    robot = open_gym(**SAID, settle=2)
    assert inner(robot).taken == [pytest.approx([0, 0, 0, -1, 0.5])] * 8
    robot.close()
    assert inner(robot).closed == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "soar-tests/None-v0"}, r"environment 'soar-tests/None-v0' cannot be made"),
        ({"make": {"sice": 3}}, r"cannot be made with .*unexpected keyword argument 'sice'"),
        ({"action": ["x", "y", "z", "gripper"]}, r"it names 4 numbers, and an action of .* is \(5,\)"),
        ({"action": ["x", "y", "z", "grip", 0]}, r"there is no 'grip' in an action; there are: x, y, z, roll"),
        ({"state": STATE | {"x": "arm.top.0"}}, r"state: x: there is no arm\.top\.0 in an observation, which is \{arm: \{tip:"),
        ({"state": STATE | {"x": "arm.tip"}}, r"state: x: arm\.tip is not a number but float32 \(3,\): add the index"),
        ({"state": {"x": 0, "y": 0}}, r"z, opening is missing"),
        ({"state": STATE | {"yaw": 0}}, r"an orientation is roll, pitch and yaw, or all of qx"),
        ({"image": "arm.tip"}, r"image: arm\.tip of .* is float32 \(3,\); expected uint8 \(H, W, 3\)"),
        ({"make": {"render_mode": None}}, r"image: render of .* is NoneType.*render_mode: rgb_array"),
        ({"gripper": [1, 1]}, r"two different numbers"),
        ({"units": {"cm": 1}}, r"there is no 'cm'; there are: m, rad"),
        ({"stepps": 3}, r"unknown key 'stepps'; did you mean 'steps'"),
        ({"plain": True}, r"has no MuJoCo `model`"),
        ({"state": None}, r"`state` and `action` together"),
        ({"state": None, "action": None}, r"needs `state` and `action` beside it"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_gym(**{**SAID, **changes})
