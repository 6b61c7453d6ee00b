from __future__ import annotations

import numpy as np
import pytest

from soar.collect.rollout import RolloutConfig, rollout
from soar.errors import ConfigError
from soar.robots import SafeRobot
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals
from soar.testing.fakes import FAKE_WORKSPACE

CONFIG = RolloutConfig(subgoals=3, steps_per_subgoal=4)


def roll(seed: int = 0, action: tuple[float, ...] = (0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)):  # type: ignore[no-untyped-def]
    robot = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
    return rollout(robot, "open the drawer", FakeSubgoals(), FakePolicy(action), seed=seed, config=CONFIG)


def test_there_is_one_frame_more_than_actions_and_a_subgoal_every_few_steps() -> None:
    result = roll()
    assert result.images_THWC.shape == (13, 64, 64, 3)
    assert result.states_TD.shape == (13, 7)
    assert result.actions_TD.shape == (12, 7)
    assert [subgoal.step for subgoal in result.subgoals] == [0, 4, 8]


def test_each_subgoal_is_imagined_from_the_frame_at_its_step() -> None:
    result = roll()
    for subgoal in result.subgoals:
        changed = (subgoal.image_HWC != result.images_THWC[subgoal.step]).any(axis=-1)
        assert 0 < changed.sum() <= 64  # the square of 8 × 8 pixels that the fake paints


def test_actions_are_recorded_as_executed() -> None:
    result = roll(action=(0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    np.testing.assert_allclose(np.diff(result.states_TD[:, 0]), result.actions_TD[:, 0], atol=1e-6)
    assert result.states_TD[-1, 0] == pytest.approx(FAKE_WORKSPACE.high[0])


def test_the_steps_that_the_limits_changed_are_known() -> None:
    assert roll(action=(0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)).limited_steps == ()
    assert roll(action=(0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)).limited_steps == tuple(range(12))
    met = roll(action=(0.03, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))  # the way to the wall is free
    assert met.limited_steps == tuple(np.flatnonzero(met.actions_TD[:, 0] < 0.0299))
    assert 0 < len(met.limited_steps) < 12


def test_equal_seeds_give_equal_rollouts_and_others_other_subgoals() -> None:
    first, second, other = roll(1), roll(1), roll(2)
    np.testing.assert_array_equal(first.subgoals[2].image_HWC, second.subgoals[2].image_HWC)
    assert not np.array_equal(first.subgoals[2].image_HWC, other.subgoals[2].image_HWC)


def test_an_episode_has_at_least_one_step() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        RolloutConfig(subgoals=0)
