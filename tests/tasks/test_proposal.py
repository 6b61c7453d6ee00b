from __future__ import annotations

import pytest

from soar.errors import ConfigError, UnknownNameError
from soar.tasks import TaskProposer, UCBSelector, task_from_instruction

from .answering import IMAGE, Answering

PUT_BLOCK, REMOVE_BLOCK, PUT_FRUIT, REMOVE_FRUIT = TASKS = [
    task_from_instruction(text)
    for text in (
        "put the green block in the wooden bowl",
        "remove the green block from inside the wooden bowl and put it on the table",
        "put the red fruit in the wooden bowl",
        "remove the red fruit from inside the wooden bowl and put it on the table",
    )
]
BLOCK, FRUIT = PUT_BLOCK.question, PUT_FRUIT.question


def proposer(block: float | str, fruit: float | str, past: list[str] | None = None) -> tuple[TaskProposer, Answering]:
    vlm = Answering({BLOCK: block, FRUIT: fruit})
    return TaskProposer(vlm, TASKS, UCBSelector(seed=3), past or []), vlm


def test_feasible_tasks_are_those_that_are_not_done_yet() -> None:
    tasks, _ = proposer(block=0.9, fruit=0.1)
    proposal = tasks.propose(IMAGE)
    assert proposal.feasible == (REMOVE_BLOCK.instruction, PUT_FRUIT.instruction)
    assert proposal.task.instruction in proposal.feasible
    assert not proposal.random
    assert proposal.answers[BLOCK].p_yes == 0.9


def test_each_distinct_question_is_asked_once_in_one_batch() -> None:
    tasks, vlm = proposer(block=0.9, fruit=0.1)
    tasks.propose(IMAGE)
    assert vlm.asked == [[BLOCK, FRUIT]]


def test_attempts_spread_evenly_over_what_is_feasible() -> None:
    tasks, _ = proposer(block=0.1, fruit=0.1)
    for _ in range(10):
        tasks.record(tasks.propose(IMAGE).task)
    assert tasks.counts == {
        PUT_BLOCK.instruction: 5,
        REMOVE_BLOCK.instruction: 0,
        PUT_FRUIT.instruction: 5,
        REMOVE_FRUIT.instruction: 0,
    }


def test_after_enough_attempts_in_a_row_another_task_comes_feasible_or_not() -> None:
    vlm = Answering({BLOCK: 0.1})  # only this one is ever feasible
    tasks = TaskProposer(vlm, TASKS[:2], UCBSelector(), in_a_row=3, own=[PUT_BLOCK.instruction])
    told = []
    for _ in range(7):
        proposal = tasks.propose(IMAGE)
        assert proposal.feasible == (PUT_BLOCK.instruction,)
        assert proposal.passed_over == (PUT_BLOCK.instruction if proposal.task == REMOVE_BLOCK else "")
        assert proposal.random is (proposal.task == REMOVE_BLOCK)
        told.append(proposal.task == PUT_BLOCK)
        tasks.record(proposal.task)
    assert told == [True, True, False, True, True, True, False]


def test_the_only_task_goes_on_however_often_and_by_default_any_does() -> None:
    for tasks in (TASKS[:1], TASKS):
        vlm = Answering({BLOCK: 0.1, FRUIT: "hm"})
        only = TaskProposer(vlm, tasks, UCBSelector(), in_a_row=2 if len(tasks) == 1 else 0)
        for _ in range(5):
            assert only.propose(IMAGE).task == PUT_BLOCK
            only.record(PUT_BLOCK)


def test_an_undecidable_answer_makes_neither_task_feasible_and_none_feasible_means_random() -> None:
    tasks, _ = proposer(block="hm", fruit="I cannot see it")
    proposal = tasks.propose(IMAGE)
    assert proposal.random
    assert proposal.feasible == ()
    assert proposal.task in TASKS


def test_a_restarted_proposer_goes_on_as_if_it_had_never_stopped() -> None:
    first, _ = proposer(block=0.2, fruit=0.8)
    history = []
    for _ in range(7):
        first.record(task := first.propose(IMAGE).task)
        history.append(task.instruction)
    second, _ = proposer(block=0.2, fruit=0.8, past=[*history, "a task of another scene"])
    assert second.counts == first.counts
    assert [second.propose(IMAGE).task for _ in range(3)] == [first.propose(IMAGE).task for _ in range(3)]


def test_tasks_off_limits_are_neither_asked_about_nor_chosen() -> None:
    tasks, vlm = proposer(block=0.5, fruit="hm")
    off = {PUT_BLOCK.instruction, REMOVE_BLOCK.instruction}
    for _ in range(20):
        proposal = tasks.propose(IMAGE, off)
        assert proposal.task in (PUT_FRUIT, REMOVE_FRUIT)
        tasks.record(proposal.task)
    assert all(asked == [FRUIT] for asked in vlm.asked)


def test_with_every_task_off_limits_the_robot_keeps_moving() -> None:
    tasks, vlm = proposer(block=0.5, fruit=0.5)
    assert tasks.propose(IMAGE, {task.instruction for task in TASKS}).random
    assert vlm.asked == []


def test_a_foreign_task_is_refused_with_the_valid_ones() -> None:
    tasks, _ = proposer(block=0.5, fruit=0.5)
    with pytest.raises(UnknownNameError, match="put the red fruit in the wooden bowl"):
        tasks.record(task_from_instruction("open the drawer"))


def test_a_scene_without_tasks_is_refused() -> None:
    with pytest.raises(ConfigError, match="no tasks"):
        TaskProposer(Answering({}), [], UCBSelector())
