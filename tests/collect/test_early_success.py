from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soar.collect.config import CollectionConfig
from soar.collect.early_success import EarlySuccess, EarlySuccessConfig
from soar.collect.estimate import attempt_cost
from soar.collect.listeners import Event, Listeners
from soar.collect.reflex import ReflexConfig
from soar.collect.rollout import Rollout, RolloutConfig, rollout
from soar.configuration import validate
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.event_log import read_journal
from soar.instruction_grammar import task_from_instruction
from soar.robots import SafeRobot
from soar.tasks.evidence import curve_of
from soar.tasks.hand import holds_something
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals
from soar.testing.fakes import FAKE_WORKSPACE, HOME_STATE
from soar.types import Image, Label, Observation, Scene

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

    def judge(_: Sequence[Observation]) -> Label:
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


AT_SUBGOALS = RolloutConfig(
    subgoals=4, steps_per_subgoal=10, early_success=EarlySuccessConfig(every="subgoal", first=15), reflex=ReflexConfig(steps=5)
)


@pytest.mark.parametrize("subgoals", [FakeSubgoals(), None])
def test_a_look_that_says_done_where_a_subgoal_is_over_ends_the_attempt(subgoals: FakeSubgoals | None) -> None:
    def attempt(*said: float) -> tuple[EarlySuccess, Rollout]:
        judge = judging(*said, config=AT_SUBGOALS.early_success)
        policy = FakePolicy((0.001, 0, 0, 0, 0, 0, 0))
        policy.conditioning = "goal" if subgoals else "language"
        robot = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
        return judge, rollout(robot, "x", subgoals, policy, seed=0, config=AT_SUBGOALS, succeeded=judge.look)

    judge, ended = attempt(0.1, 0.4, 0.9)
    assert [look.step for look in judge.looks] == [0, 20, 30], "the look at 10 would be before the first one"
    assert ended.ended_early
    assert len(ended.subgoals) == (3 if subgoals else 0), "no subgoal is imagined for what is done"
    assert ended.reflex_steps == tuple(range(30, len(ended.actions_TD)))
    assert judge.label(len(ended.actions_TD), FRAME).probability == 0.9
    judge, whole = attempt(0.1, 0.8, 0.84, 0.3)
    assert (whole.ended_early, len(whole.actions_TD)) == (False, 40)
    assert judge.label(40, FRAME).probability == 0.3, "the last look is the label"
    assert not attempt(0.9, 0.9, 0.9, 0.9)[1].ended_early, "the task did not look undone at the beginning"


def test_a_subgoal_that_a_reflex_cuts_short_is_over_when_the_robot_has_backed_off() -> None:
    config = replace(AT_SUBGOALS, reflex=ReflexConfig(times=1, still_steps=12, steps=5))
    judge = judging(*[0.1] * 9, config=config.early_success)
    policy = FakePolicy((0, 0, 0, 0, 0, 0, 0))
    robot = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
    result = rollout(robot, "x", FakeSubgoals(), policy, seed=0, config=config, succeeded=judge.look)
    begins = [subgoal.step for subgoal in result.subgoals]
    assert result.reflexes == (12,)
    assert [look.step for look in judge.looks] == [0, *(step for step in begins if step >= 15)]
    assert begins[2] - result.reflexes[0] <= 5


def test_a_collected_episode_that_ends_at_a_subgoal_says_what_it_saved(tmp_path: Path) -> None:
    told: list[Event] = []
    listeners = Listeners("fake", [told.append])
    policy = FakePolicy((0.01, 0, 0, 0, 0, 0, 1))
    collector(tmp_path, script=moved_away, policy=lambda _: policy, rollout=AT_SUBGOALS, listeners=listeners).run(1)
    listeners.close()
    (record,) = EpisodeStore(tmp_path / "episodes").episodes()
    (looks,) = read_journal(tmp_path / "events.jsonl", "looks")
    assert record.success
    assert (looks["steps"], looks["ended"], looks["saved"]) == ([0, 20], True, 40 - record.length)
    assert [event.fields["saved"] for event in told if event.kind == "episode_ends"] == [40 - record.length]
    assert 20 < record.length < 40


def test_looks_at_subgoals_are_refused_where_no_subgoal_is_over_before_the_end_and_other_words_with_the_valid_ones() -> None:
    for shape in ({"subgoals": 1}, {"subgoals": 2, "steps_per_subgoal": 9}):
        with pytest.raises(ConfigError, match=r"no subgoal is over from step 10 on and before the end.*early_success.every: 0"):
            RolloutConfig(**shape, early_success=EarlySuccessConfig(every="subgoal", first=10))
    with pytest.raises(ConfigError, match=r"every is a number of steps, subgoal .*or 0 for no looks; got 'goal'"):
        EarlySuccessConfig(every="goal")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"early_success.every.*should be 'subgoal'"):
        validate(RolloutConfig, {"early_success": {"every": "subgoals"}}, "preset.yaml")
    assert validate(RolloutConfig, {"early_success": {"every": "subgoal"}}, "preset.yaml").early_success.at_subgoals


def test_an_attempt_with_looks_at_subgoals_costs_at_most_one_look_a_subgoal_and_one_a_reflex() -> None:
    task = task_from_instruction("open the drawer")
    scene = Scene(name="s", objects=(), tasks=(task,), workspace=FAKE_WORKSPACE)
    config = RolloutConfig(early_success=EarlySuccessConfig(every="subgoal"), reflex=ReflexConfig(times=2))
    assert attempt_cost(CollectionConfig(rollout=config), scene).looks == 1 + 4 + 2


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
    assert looks["saved"] == 40 - record.length


def test_looks_and_label_are_what_the_judge_sees_of_the_film_until_then(tmp_path: Path) -> None:
    def policy(seed: int) -> FakePolicy:
        return FakePolicy((0.01, 0, 0, 0, 0, 0, 1))

    collector(tmp_path, script=moved_away, policy=policy, rollout=LOOKING, sees="looks:3").run(1)
    (record,) = EpisodeStore(tmp_path / "episodes").episodes()
    (looks,) = read_journal(tmp_path / "events.jsonl", "looks")
    assert record.labels[0].source == "fake-vlm sees looks:3"
    assert looks["steps"][:2] == [0, 10]
    assert looks["probabilities"][:2] == [0.1, pytest.approx((0.1 + 0.1 + 0.9) / 3, abs=1e-3)], "of frames 0, 5 and 10"
    assert looks["steps"][-1] == record.length == 40, "a mean over the whole film is seldom sure enough to end an attempt"
    assert curve_of(record.labels[0])[0][0] == 0


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
