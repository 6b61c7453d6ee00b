from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from soar.errors import ConfigError
from soar.robots.gymnasium import GymRobot
from soar.testing import FakeRobot, check_robot

SPACES = Dict({"image": Box(0, 255, (64, 64, 3), np.uint8), "state": Box(-10, 10, (7,), np.float32)})


class PointEnv(gymnasium.Env[Any, Any]):
    """A `FakeRobot` turned inside out; the block is something that only a whole reset puts back."""

    def __init__(self, observation_space: Any = SPACES, action_space: Any = None) -> None:
        self.observation_space = observation_space
        self.action_space = Box(-1, 1, (7,), np.float32) if action_space is None else action_space
        self.robot = FakeRobot()
        self.block = 0.0

    def _observation(self) -> dict[str, Any]:
        seen = self.robot.observe()
        return {"image": seen.image_HWC, "state": seen.state}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.robot.home()
        if not (options or {}).get("home"):
            self.block = float(self.np_random.random())
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.robot.act(action)
        return self._observation(), 0.0, True, True, {}


def test_an_environment_keeps_the_robot_contract() -> None:
    check_robot(GymRobot(PointEnv()))


def test_home_asks_for_everything_else_to_stay() -> None:
    env = PointEnv()
    robot = GymRobot(env, seed=3)
    block = env.block
    robot.act(np.array([0.01, 0, 0, 0, 0, 0, 1], np.float32))
    robot.home()
    assert env.block == block
    assert robot.observe().state[0] == pytest.approx(0.27)
    robot.recover()
    assert env.block != block


def test_equal_seeds_give_equal_environments() -> None:
    first, second, other = PointEnv(), PointEnv(), PointEnv()
    GymRobot(first, seed=3), GymRobot(second, seed=3), GymRobot(other, seed=4)
    assert first.block == second.block != other.block


@pytest.mark.parametrize(
    ("observation", "action", "message"),
    [
        (Box(0, 1, (3,)), None, r'observation_space\["image"\] must be a uint8 Box'),
        (Dict({"image": Box(0, 1, (64, 64, 3))}), None, r'observation_space\["image"\] must be a uint8 Box'),
        (Dict({"image": SPACES["image"]}), None, r'observation_space\["state"\] must be a Box \(7,\)'),
        (SPACES, Box(-1, 1, (6,)), r"action_space must be a Box \(7,\)"),
    ],
)
def test_foreign_spaces_are_refused_by_name(observation: Any, action: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GymRobot(PointEnv(observation, action))
