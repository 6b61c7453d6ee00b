from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from soar.collect.reflex import OPEN_STEPS, ReflexConfig, WayBack, stands_still
from soar.collect.rollout import Rollout, RolloutConfig, rollout
from soar.datasets import load_arrays
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.event_log import read_journal
from soar.robots import SafeRobot
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals
from soar.testing.fakes import FAKE_WORKSPACE, HOME_STATE
from soar.types import Action, Goal, Observation

from .collecting import collector

REFLEX = ReflexConfig(times=2, still_steps=4, steps=8, step_m=0.03)


class Sinker(FakePolicy):
    """Closes its hand, goes down for some steps, and stays there until it is reset."""

    def __init__(self, going: int = 4) -> None:
        super().__init__()
        self._going, self.resets, self._step = going, 0, 0

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        self._step += 1
        down = -0.02 if self._step <= self._going else 0.0
        return np.array([[0.0, 0.02 if down else 0.0, down, 0.0, 0.0, 0.0, 0.0]], np.float32)

    def reset(self) -> None:
        self.resets, self._step = self.resets + 1, 0


class Sticky(FakeRobot):
    """A robot whose camera sees noise, so that it may stand still without looking frozen."""

    def observe(self) -> Observation:
        seen = super().observe()
        self._frame = getattr(self, "_frame", 0) + 1
        seen.image_HWC[0, 0] = self._frame % 256
        return seen


def attempt(
    policy: FakePolicy, config: ReflexConfig = REFLEX, subgoals: FakeSubgoals | None = None, steps: int = 60
) -> Rollout:
    return rollout(
        SafeRobot(Sticky(), FAKE_WORKSPACE),
        "open the drawer",
        FakeSubgoals() if subgoals is None else subgoals,
        policy,
        seed=0,
        config=RolloutConfig(subgoals=steps // 20, steps_per_subgoal=20, reflex=config),
    )


def at(*positions: tuple[float, float, float]) -> list[Observation]:
    image = np.zeros((2, 2, 3), np.uint8)
    return [Observation(image_HWC=image, state=np.array([*xyz, 0, 0, 0, 1], np.float32)) for xyz in positions]


def test_by_default_a_robot_that_stands_still_is_left_alone() -> None:
    policy = Sinker()
    result = attempt(policy, RolloutConfig().reflex)
    assert (result.reflexes, result.reflex_steps, policy.resets) == ((), (), 1)
    assert [subgoal.step for subgoal in result.subgoals] == [0, 20, 40]


def test_a_robot_stands_still_when_it_was_nowhere_else_for_some_steps() -> None:
    config = ReflexConfig(still_steps=3, still_m=0.01)
    here, near, far = (0.2, 0.0, 0.1), (0.205, 0.0, 0.1), (0.22, 0.0, 0.1)
    assert stands_still(at(far, here, near, here, near), config)
    assert not stands_still(at(here, far, here, near), config)
    assert not stands_still(at(here, here, here), config)


def test_it_opens_its_hand_goes_up_and_then_home() -> None:
    result = attempt(Sinker())
    steps = result.reflex_steps
    first = [step for step in steps if step < steps[0] + len(steps) // 2]
    assert (result.actions_TD[list(steps), 6] == 1).all()
    assert not result.actions_TD[first[:OPEN_STEPS], :6].any()
    before, after = result.states_TD[first[0]], result.states_TD[first[-1] + 1]
    home = np.array(HOME_STATE[:3])
    assert np.linalg.norm(before[:3] - home) > 0.1
    assert np.linalg.norm(after[:3] - home) <= REFLEX.near_m + 1e-6
    sideways = np.flatnonzero(result.actions_TD[first, 1])
    upwards = np.flatnonzero(result.actions_TD[first, 2] > 0.01)
    assert upwards.max() < sideways.min()


def test_the_policy_then_begins_anew_with_a_new_subgoal() -> None:
    policy = Sinker()
    result = attempt(policy)
    assert len(result.reflexes) == REFLEX.times
    assert policy.resets == 1 + REFLEX.times
    begins = [subgoal.step for subgoal in result.subgoals]
    for reflex in result.reflexes:
        end = next(step for step in range(reflex, 60) if step not in result.reflex_steps)
        assert end in begins
        # It moves on from there: the policy was reset, and goes down again.
        assert result.actions_TD[end, 2] < 0


def test_it_comes_a_limited_number_of_times_and_an_episode_keeps_its_length() -> None:
    assert [len(attempt(Sinker(), ReflexConfig(times=times, still_steps=4)).reflexes) for times in (0, 1, 2)] == [0, 1, 2]
    assert len(attempt(Sinker(), REFLEX).actions_TD) == 60


def test_the_way_back_ends_after_its_longest_length() -> None:
    config = ReflexConfig(steps=5, step_m=0.01)
    way = WayBack(np.array([0.3, 0.0, 0.2]), config)
    far = at((0.3, 0.0, 0.0))[0]
    actions: list[Action | None] = [way.act(far) for _ in range(7)]
    assert [action is None for action in actions] == [False] * 5 + [True] * 2


def test_the_way_back_stays_inside_the_workspace_box() -> None:
    class Intruder(FakeRobot):
        """Begins above the box: somebody set it down there."""

        def __init__(self) -> None:
            super().__init__()
            self._state[2] = FAKE_WORKSPACE.high[2] + 0.1

    robot = SafeRobot(Intruder(), FAKE_WORKSPACE)
    result = rollout(robot, "x", None, Sinker(8), seed=0, config=RolloutConfig(subgoals=3, steps_per_subgoal=20, reflex=REFLEX))
    assert result.reflexes
    heights = result.states_TD[result.reflex_steps[0] + 1 :, 2]
    assert heights.max() <= FAKE_WORKSPACE.high[2] + 1e-6


def test_it_works_for_a_policy_that_follows_instructions() -> None:
    result = rollout(
        SafeRobot(Sticky(), FAKE_WORKSPACE),
        "x",
        None,
        Sinker(),
        seed=0,
        config=RolloutConfig(subgoals=3, steps_per_subgoal=20, reflex=REFLEX),
    )
    assert len(result.reflexes) == 2
    assert result.subgoals == ()


def test_a_collected_reflex_is_marked_in_the_store_and_journaled(tmp_path: Path) -> None:
    rollouts = RolloutConfig(subgoals=2, steps_per_subgoal=20, reflex=REFLEX)
    collector(tmp_path, policy=lambda seed: Sinker(), rollout=rollouts).run(1)
    (record,) = EpisodeStore(tmp_path / "episodes").episodes()
    (reflex,) = read_journal(tmp_path / "events.jsonl", "reflex")
    assert set(reflex["steps"]) <= set(record.reflex_steps)
    assert load_arrays(EpisodeStore(tmp_path / "episodes")).has_action_N.sum() == record.length - len(record.reflex_steps)


@pytest.mark.parametrize("wrong", [{"times": -1}, {"still_steps": 0}, {"steps": 0}, {"still_m": 0.0}, {"step_m": -1.0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="reflex: "):
        ReflexConfig(**wrong)  # type: ignore[arg-type]
