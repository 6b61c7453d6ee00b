from __future__ import annotations

from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.tasks import SuccessDetector
from soar.tasks.evidence import curve_of, evidence_of
from soar.tasks.questions import task_finder
from soar.tasks.rejudging import rejudge
from tests.episodes.builders import judged, make_episode

from .answering import Answering

INSTRUCTION = "put the green block in the wooden bowl"


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "store", mode="create")
    store.append(make_episode("model", labels=(judged(False),)))
    store.append(make_episode("person", labels=(judged(True), judged(False, "person:kim"))))
    store.append(make_episode("odd", instruction="do a little dance"))
    return store


def test_another_model_judges_and_old_labels_stay(store: EpisodeStore) -> None:
    vlm = Answering({task_from_instruction(INSTRUCTION).question: 0.9})
    done = rejudge(store, SuccessDetector(vlm))
    assert (done.judged, done.changed, done.present, done.unknown) == (2, 1, 0, ("do a little dance",))
    model, person, odd = store.episodes()
    assert [label.source for label in model.labels] == ["vqa-1", "answering"]
    assert model.labels[1].time_s > 0
    assert (model.success, model.probability) == (True, 0.9)
    assert [label.source for label in person.labels] == ["vqa-1", "person:kim", "answering"]
    assert person.success is False, "a person outranks a model"
    assert odd.labels == ()


def test_a_repeated_rejudging_asks_nothing_twice(store: EpisodeStore) -> None:
    vlm = Answering({task_from_instruction(INSTRUCTION).question: 0.9})
    detector = SuccessDetector(vlm)
    rejudge(store, detector, where="id = 'model'")
    assert rejudge(store, detector).judged == 1
    assert rejudge(store, detector).present == 2
    assert len(vlm.asked) == 2


def test_the_same_model_may_judge_again_by_more_frames_and_what_it_saw_stands_in_the_label(store: EpisodeStore) -> None:
    vlm = Answering({task_from_instruction(INSTRUCTION).question: 0.9})
    for sees in ("last", "looks:3", "changed"):
        assert rejudge(store, SuccessDetector(vlm, sees=sees)).judged == 2
    labels = store.episodes("id = 'model'")[0].labels[1:]
    assert [label.source for label in labels] == ["answering", "answering sees looks:3", "answering sees changed"]
    assert [label.probability for label in labels] == [0.9, pytest.approx(0.9), 0.0], "its first frame looks done, too"
    assert curve_of(labels[1]) == ((0, 0.9), (2, 0.9), (5, 0.9))
    assert evidence_of(labels[0]) == ()


def test_a_threshold_out_of_range_changes_nothing(store: EpisodeStore) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        rejudge(store, SuccessDetector(Answering({}), 1.5))
    assert [len(record.labels) for record in store.episodes()] == [1, 2, 0]


def test_instructions_that_the_rules_do_not_know_get_their_questions_from_a_file(store: EpisodeStore, tmp_path: Path) -> None:
    questions = tmp_path / "questions.yaml"
    questions.write_text("do a little dance:\n  question: Is it dancing?\n  feasible_answer: false\n")
    vlm = Answering({"Is it dancing?": 0.8})
    done = rejudge(store, SuccessDetector(vlm), where="id = 'odd'", task_of=task_finder(questions))
    assert (done.judged, done.unknown) == (1, ())
    assert store.episodes("id = 'odd'")[0].success is True
