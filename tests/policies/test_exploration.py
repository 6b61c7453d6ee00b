from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.policies.base import Policy
from soar.policies.exploration import ExplorationConfig, Explorer, ScaledPolicy
from soar.testing.contracts import check_policy
from soar.types import Image, Observation

STD = np.array([0.01, 0.02, 0.03, 0.1, 0.1, 0.2, 1.0], np.float32)
CALM = ExplorationConfig(deterministic_probability=0, sigma=0, flip_closed_probability=0, flip_open_probability=0)


class Constant:
    """Always the same motion; the gripper follows a script of targets, one a step."""

    conditioning: Literal["goal", "language"] = "goal"
    action_std = np.full(7, 0.01, np.float32)
    image_size: int | None = None

    def __init__(self, grippers: Sequence[float] = ()) -> None:
        self.grippers, self.steps, self.resets = tuple(grippers), 0, 0

    @property
    def id(self) -> str:
        return "constant"

    def act(self, observations: Sequence[Observation], goals: Sequence[Image]) -> NDArray[np.float32]:
        action = np.full(7, 0.005, np.float32)
        action[6] = self.grippers[self.steps] if self.steps < len(self.grippers) else 1.0
        self.steps += 1
        return np.tile(action, (len(observations), 1))

    def reset(self) -> None:
        self.steps = 0
        self.resets += 1


IMAGE = np.zeros((8, 8, 3), np.uint8)
OBSERVATION = Observation(image_HWC=IMAGE, state=np.zeros(7, np.float32))


def episode(policy: Policy, steps: int = 20, robots: int = 1) -> NDArray[np.float32]:
    return np.stack([policy.act([OBSERVATION] * robots, [IMAGE] * robots) for _ in range(steps)])


def explorer(policy: Policy | None = None, seed: int = 0, **config: float) -> Explorer:
    changes = ExplorationConfig(**config)  # type: ignore[arg-type]
    return Explorer(policy or Constant(), changes, action_std=STD, seed=seed)


def test_noise_has_the_configured_deviation_on_xyz_and_yaw_only() -> None:
    actions = episode(explorer(sigma=0.5, deterministic_probability=0, flip_open_probability=0), 2000)[:, 0]
    np.testing.assert_allclose(actions.std(0)[[0, 1, 2, 5]], 0.5 * STD[[0, 1, 2, 5]], rtol=0.08)
    np.testing.assert_allclose(actions.mean(0)[[0, 1, 2, 5]], 0.005, atol=0.01)
    np.testing.assert_array_equal(actions[:, [3, 4]], np.float32(0.005))
    np.testing.assert_array_equal(actions[:, 6], 1)


def test_some_episodes_are_deterministic_from_beginning_to_end() -> None:
    policy = explorer(deterministic_probability=0.2, flip_open_probability=0.5)
    calm = 0
    for _ in range(300):
        noise = episode(policy, 4)[:, 0, 0] != np.float32(0.005)
        assert noise.all() or not noise.any()
        calm += not noise.any()
        policy.reset()
    assert 0.12 < calm / 300 < 0.28


def test_draws_are_a_function_of_seed_episode_step_and_robot() -> None:
    first, second = explorer(seed=3), explorer(seed=3)
    for _ in range(3):
        np.testing.assert_array_equal(episode(first), episode(second))
        first.reset()
        second.reset()
    # Neither how long an episode was nor how many robots there are changes the others' draws.
    episode(first, 7)
    episode(second, 2)
    first.reset()
    second.reset()
    alone, together = episode(first), episode(second, robots=3)
    np.testing.assert_array_equal(alone[:, 0], together[:, 0])


def test_seeds_episodes_and_robots_differ() -> None:
    policy = explorer(seed=0, deterministic_probability=0)
    first = episode(policy, robots=2)
    policy.reset()
    second = episode(policy, robots=2)
    other = episode(explorer(seed=1, deterministic_probability=0), robots=2)
    assert not np.isclose(first[:, 0, 0], first[:, 1, 0]).any()
    assert not np.isclose(first[:, :, 0], second[:, :, 0]).any()
    assert not np.isclose(first[:, :, 0], other[:, :, 0]).any()


def test_the_gripper_flips_as_often_as_configured() -> None:
    policy = explorer(deterministic_probability=0, flip_open_probability=0.1, flip_closed_probability=0.0)
    closed = (episode(policy, 3000)[:, 0, 6] == 0).mean()
    assert 0.08 < closed < 0.12
    policy = explorer(Constant([0.0] * 3000), deterministic_probability=0, flip_open_probability=0, flip_closed_probability=0.2)
    opened = (episode(policy, 3000)[:, 0, 6] == 1).mean()
    assert 0.17 < opened < 0.23


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, [1, 0, 1, 0, 0, 0, 1, 1]), (2, [1, 1, 1, 1, 0, 0, 0, 1]), (3, [1, 1, 1, 1, 1, 0, 0, 0])]
)
def test_a_sticky_gripper_waits_until_it_was_asked_several_times_in_a_row(steps: int, expected: list[int]) -> None:
    policy = explorer(
        Constant([1, 0, 1, 0, 0, 0, 1, 1]),
        sigma=0,
        flip_open_probability=0,
        flip_closed_probability=0,
        sticky_gripper_steps=steps,
    )
    assert episode(policy, 8)[:, 0, 6].tolist() == expected


def test_an_episode_begins_with_an_open_gripper_and_resets_the_policy() -> None:
    inner = Constant([0] * 5)
    policy = Explorer(
        inner,
        ExplorationConfig(sigma=0, flip_open_probability=0, flip_closed_probability=0, sticky_gripper_steps=3),
        action_std=STD,
        seed=0,
    )
    first = episode(policy, 5)[:, 0, 6].tolist()
    policy.reset()
    assert inner.resets == 1
    assert episode(policy, 5)[:, 0, 6].tolist() == first == [1, 1, 0, 0, 0]


def test_without_exploration_the_policy_is_what_it_was() -> None:
    policy = Explorer(Constant(), CALM, action_std=STD, seed=0)
    check_policy(policy)
    np.testing.assert_array_equal(episode(policy), episode(Constant()))


def test_scaling_changes_the_six_motion_dimensions_and_composes() -> None:
    policy = ScaledPolicy(Explorer(Constant([0, 1]), CALM, action_std=STD, seed=0), 1.6)
    check_policy(policy)
    policy.reset()
    actions = episode(policy, 2)[:, 0]
    np.testing.assert_allclose(actions[:, :6], 0.005 * 1.6, rtol=1e-6)
    assert actions[:, 6].tolist() == [0, 1]
    assert policy.id == "constant+explore0*1.6"


def test_a_closed_gripper_that_holds_nothing_opens() -> None:
    empty = Observation(image_HWC=IMAGE, state=np.array([0, 0, 0, 0, 0, 0, 0.1], np.float32))
    holding = Observation(image_HWC=IMAGE, state=np.array([0, 0, 0, 0, 0, 0, 0.3], np.float32))
    config = dataclasses.replace(CALM, reopen_below=0.15)
    policy = Explorer(Constant([0.0] * 3), config, action_std=STD, seed=0)
    assert policy.act([empty, holding], [IMAGE] * 2)[:, 6].tolist() == [1, 0]


def test_roll_and_pitch_are_brought_back() -> None:
    tilted = Observation(image_HWC=IMAGE, state=np.array([0, 0, 0, 0.3, -0.2, 0.5, 1], np.float32))
    config = dataclasses.replace(CALM, level_rotation_rad=(0.0, -0.1))
    action = Explorer(Constant(), config, action_std=STD, seed=0).act([tilted], [IMAGE])[0]
    np.testing.assert_allclose(action[3:6], [-0.3, 0.1, 0.005], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"deterministic_probability": 1.5}, "deterministic"),
        ({"sigma": -1.0}, "sigma"),
        ({"reopen_below": 2.0}, "reopen_below"),
        ({"sticky_gripper_steps": 0}, "sticky"),
    ],
)
def test_an_impossible_configuration_names_its_field(changes: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        explorer(**changes)


def test_a_scale_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="positive"):
        ScaledPolicy(Constant(), 0.0)
