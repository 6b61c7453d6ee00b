from __future__ import annotations

import logging

import pytest

from soar.errors import ConfigError
from soar.tasks import PresenceChecker, SuccessDetector, presence_question, task_from_instruction

from .answering import IMAGE, Answering

PUT = task_from_instruction("put the carrot on the blue plate")
REMOVE = task_from_instruction("remove the carrot from the blue plate and put it on the table")
SPOON = task_from_instruction("move the green spoon to the left")


def detector(answer: float | str, threshold: float = 0.5) -> SuccessDetector:
    return SuccessDetector(Answering({PUT.question: answer}), threshold, clock=lambda: 12.5)


def test_success_is_the_opposite_of_feasible() -> None:
    assert detector(0.9).detect(IMAGE, PUT).success is True
    assert detector(0.9).detect(IMAGE, REMOVE).success is False
    assert detector("No, it lies beside it.").detect(IMAGE, PUT).success is False
    assert detector("No, it lies beside it.").detect(IMAGE, REMOVE).success is True


def test_the_label_says_who_what_and_when() -> None:
    label = detector(0.25).detect(IMAGE, REMOVE)
    assert (label.source, label.question, label.answer, label.time_s) == ("answering", PUT.question, "0.25", 12.5)
    assert label.probability == 0.75


def test_an_undecidable_answer_is_never_silently_a_failure() -> None:
    for answer in ("I cannot tell.", float("nan")):
        label = detector(answer).detect(IMAGE, PUT)
        assert label.success is None
        assert label.probability is None


def test_the_threshold_bounds_the_probability_of_success_of_either_kind_of_task() -> None:
    assert detector(0.8, threshold=0.85).detect(IMAGE, PUT).success is False
    assert detector(0.9, threshold=0.85).detect(IMAGE, PUT).success is True
    assert detector(0.2, threshold=0.85).detect(IMAGE, REMOVE).success is False
    assert detector(0.1, threshold=0.85).detect(IMAGE, REMOVE).success is True


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, float("nan")])
def test_a_senseless_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        detector(0.5, threshold)


def presence(**found: float | str) -> Answering:
    names = {"carrot": "carrot", "plate": "blue plate", "spoon": "green spoon"}
    return Answering({presence_question(name): found.get(key, 0.9) for key, name in names.items()})


def test_a_missing_object_puts_its_tasks_off_limits_and_a_person_is_told_once_a_disappearance() -> None:
    vlm, told = presence(), list[str]()
    checker = PresenceChecker(vlm, [PUT, REMOVE, SPOON], told.append)
    assert checker.check(IMAGE) == frozenset()
    question = presence_question("carrot")
    vlm.answers[question] = 0.1
    assert checker.check(IMAGE) == {PUT.instruction, REMOVE.instruction}
    assert checker.check(IMAGE) == {PUT.instruction, REMOVE.instruction}
    assert checker.missing == {"carrot"}
    assert told == ["carrot"]
    vlm.answers[question] = 0.9
    assert checker.check(IMAGE) == frozenset()
    vlm.answers[question] = 0.1
    checker.check(IMAGE)
    assert told == ["carrot", "carrot"]


def test_objects_that_no_listed_task_names_are_looked_for_too() -> None:
    vlm = presence(spoon="no")
    checker = PresenceChecker(vlm, [PUT], objects=("carrot", "green spoon"))
    assert checker.check(IMAGE) == frozenset()
    assert checker.missing == {"green spoon"}


def test_an_undecidable_object_counts_as_present() -> None:
    assert PresenceChecker(presence(spoon="perhaps"), [PUT, SPOON]).check(IMAGE) == frozenset()


def test_by_default_a_missing_object_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        PresenceChecker(presence(spoon="no"), [SPOON]).check(IMAGE)
    assert "green spoon is missing" in caplog.text
