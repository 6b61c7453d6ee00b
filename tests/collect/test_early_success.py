from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soar.collect.early_success import EarlySuccess, EarlySuccessConfig, holds_something
from soar.collect.listeners import Event, Listeners
from soar.collect.reflex import ReflexConfig
from soar.collect.rollout import RolloutConfig, rollout
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.event_log import read_journal
from soar.robots import SafeRobot
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals
from soar.testing.fakes import FAKE_WORKSPACE, HOME_STATE
from soar.types import Image, Label, Observation

from .collecting import collector

CONFIG = EarlySuccessConfig(every=5, first=10)


def seen(*openings: float) -> list[Observation]:
    """Observations of a gripper that is as open as this."""
    return [
        Observation(image_HWC=np.zeros((2, 2, 3), np.uint8), state=np.array([0, 0, 0, 0, 0, 0, o], np.float32))
        for o in openings
    ]


FRAME = seen(1.0)


def judging(*said: float | bool | None, config: EarlySuccessConfig = CONFIG) -> EarlySuccess:
    """Looks whose answers are these in turn: a probability, a bare verdict, or undecided."""
    answers = iter(said)

    def judge(_: Image) -> Label:
        answer = next(answers)
        if isinstance(answer, float):
            return Label(success=answer >= 0.2, probability=answer, source="judge")
        return Label(success=answer, probability=None, source="judge")

    return EarlySuccess(judge, config)


def run(judge: EarlySuccess, steps: int = 40) -> int | None:
    """Return the step at which the attempt was ended."""
    return next((step for step in range(steps + 1) if judge.look(step, FRAME)), None)


def test_two_looks_in_a_row_that_see_success_end_an_attempt() -> None:
    assert run(judging(0.1, 0.9, 0.9)) == 15
    assert run(judging(0.1, 0.9, 0.3, 0.9, 0.86)) == 25
    assert run(judging(0.1, 0.9, 0.8, 0.9, 0.8, 0.9, 0.8, 0.9)) is None


def test_looks_come_at_the_beginning_and_then_every_few_steps() -> None:
    judge = judging(*[0.1] * 20)
    run(judge)
    assert [look.step for look in judge.looks] == [0, 10, 15, 20, 25, 30, 35, 40]


@pytest.mark.parametrize("first", [0.6, True, None])
def test_a_task_that_did_not_look_undone_at_the_beginning_is_never_seen_to_succeed(first: float | bool | None) -> None:
    judge = judging(first, *[0.99] * 20)
    assert run(judge) is None
    label = judge.label(40, FRAME)
    assert (label.success, label.probability) == (False, 0.0)


def test_a_judge_without_probabilities_will_do_and_one_that_cannot_decide_does_not_count() -> None:
    assert run(judging(False, True, True)) == 15
    assert run(judging(False, True, None, True, True)) == 25
    assert judging(True, *[True] * 20).label(0, FRAME).success is True  # nobody looked before: the one look at the end


def test_the_label_is_the_less_certain_look_of_the_best_pair() -> None:
    judge = judging(0.1, 0.9, 0.3, 0.8, 0.7, 0.1, 0.95, 0.1)
    assert run(judge) is None
    assert judge.label(40, FRAME).probability == 0.7
    ended = judging(0.1, 0.9, 0.95)
    assert run(ended) == 15
    assert ended.label(20, FRAME).probability == 0.9  # and nobody is asked again


def test_an_attempt_that_ran_to_its_end_has_a_last_look_there() -> None:
    judge = judging(0.1, 0.2, 0.3, 0.6)
    assert run(judge, steps=18) is None
    assert judge.label(18, FRAME).probability == 0.3
    assert [look.step for look in judge.looks] == [0, 10, 15, 18]


@pytest.mark.parametrize("before", [[0.1, 0.9, 0.95, 0.97, 0.98], [False, True, True, True, True]])
def test_nothing_is_done_while_the_hand_holds_something(before: list[float | bool]) -> None:
    judge = judging(*before, config=replace(CONFIG, let_go=True))
    assert not judge.look(0, seen(1.0))
    assert not judge.look(10, seen(1.0, 0.5, 0.52))
    assert not judge.look(15, seen(0.52, 0.9))
    assert not judge.look(20, seen(0.9, 0.5, 0.5))
    held = judge.looks[-1].label
    assert (held.success, held.probability) == (False, 0.0 if isinstance(before[1], float) else None)
    assert not judge.look(25, seen(0.5, 0.6, 1.0))


def test_a_hand_that_opens_or_has_closed_on_nothing_holds_nothing() -> None:
    assert holds_something(seen(1.0, 0.2, 0.21))
    for openings in ((0.0, 0.23), (0.85, 0.54), (0.0, 0.0), (1.0, 1.0), (0.5,)):
        assert not holds_something(seen(*openings))
    label = judging(0.9, config=EarlySuccessConfig(let_go=True)).label(100, seen(0.5, 0.5))
    assert (label.success, label.probability) == (False, 0.0)
    assert judging(0.9).label(100, seen(0.5, 0.5)).success, "unless that is asked for, the picture alone decides"


def test_the_robot_then_lets_go_goes_up_and_stops() -> None:
    robot = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
    policy = FakePolicy((0.002, 0.001, -0.008, 0.0, 0.0, 0.0, 0.0))
    judge = judging(0.1, 0.9, 0.9)
    config = RolloutConfig(subgoals=5, steps_per_subgoal=20, early_success=CONFIG)
    result = rollout(robot, "x", FakeSubgoals(), policy, seed=0, config=config, succeeded=judge.look)
    assert result.ended_early
    assert result.reflexes == ()
    assert result.reflex_steps == tuple(range(15, len(result.actions_TD)))
    assert (result.actions_TD[15:, 6] == 1).all()
    assert result.states_TD[15, 2] < HOME_STATE[2] - 0.08
    assert result.states_TD[-1, 2] >= HOME_STATE[2] - config.reflex.near_m - 1e-6
    np.testing.assert_allclose(result.states_TD[-1, :2], result.states_TD[15, :2], atol=1e-6)


LOOKING = RolloutConfig(subgoals=2, steps_per_subgoal=20, early_success=EarlySuccessConfig(every=5, first=10))


def moved_away(image: Image, question: str) -> bool:
    """A judge for whom a task is done when the gripper is far from the arm."""
    return bool((image[12:] != 200).any())


def test_a_collected_episode_ends_early_is_labelled_so_and_journaled(tmp_path: Path) -> None:
    collector(tmp_path, script=moved_away, policy=lambda seed: FakePolicy((0.01, 0, 0, 0, 0, 0, 1)), rollout=LOOKING).run(1)
    store = EpisodeStore(tmp_path / "episodes")
    (record,) = store.episodes()
    assert record.success
    assert record.probability == 0.9
    assert 15 < record.length < 20
    assert record.reflex_steps == tuple(range(15, record.length))
    (looks,) = read_journal(tmp_path / "events.jsonl", "looks")
    assert (looks["steps"], looks["probabilities"], looks["ended"]) == ([0, 10, 15], [0.1, 0.9, 0.9], True)


def test_listeners_are_told_of_each_look_and_each_reflex_at_its_step(tmp_path: Path) -> None:
    told: list[Event] = []
    listeners = Listeners("fake", [told.append])
    config = replace(LOOKING, reflex=ReflexConfig(times=1, still_steps=4))
    collector(
        tmp_path,
        script=moved_away,
        policy=lambda seed: FakePolicy((0, 0, 0, 0, 0, 0, 1)),
        rollout=config,
        listeners=listeners,
    ).run(1)
    listeners.close()
    (reflexes,) = read_journal(tmp_path / "events.jsonl", "reflex")
    (looks,) = read_journal(tmp_path / "events.jsonl", "looks")
    assert reflexes["steps"] == [event.fields["step"] for event in told if event.kind == "reflex"] == [4]
    assert looks["steps"] == [event.fields["step"] for event in told if event.kind == "look"]
    assert [event.fields["step"] for event in told if event.kind == "step"] == list(range(1, 41))


def test_an_attempt_that_never_succeeds_is_collected_whole(tmp_path: Path) -> None:
    collector(tmp_path, script=moved_away, policy=lambda seed: FakePolicy((0, 0.002, 0, 0, 0, 0, 1)), rollout=LOOKING).run(1)
    (record,) = EpisodeStore(tmp_path / "episodes").episodes()
    assert (record.success, record.probability, record.length, record.reflex_steps) == (False, 0.1, 40, ())


@pytest.mark.parametrize("wrong", [{"every": -1}, {"first": 0}, {"threshold": 1.0}, {"undone": 0.0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="early_success: "):
        EarlySuccessConfig(**wrong)  # type: ignore[arg-type]
