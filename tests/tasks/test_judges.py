"""Judges that see more than the last frame."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from soar.errors import ConfigError
from soar.tasks import SuccessDetector, task_from_instruction
from soar.tasks.evidence import curve_of, evidence_of
from soar.tasks.views import read_views, with_let_go
from soar.testing import FakeFilmVLM, FakeVLM, check_vlm
from soar.types import Image, Label, Observation
from soar.vlm.base import Answer, FilmModel
from soar.vlm.oracle import OracleVLM

PUT = task_from_instruction("put the carrot on the blue plate")
REMOVE = task_from_instruction("remove the carrot from the blue plate and put it on the table")


def film(*brightness: float, opening: float = 1.0) -> list[Observation]:
    """A film of grey frames; how bright one is, is what `Bright` thinks of it."""
    state = np.array([0, 0, 0, 0, 0, 0, opening], np.float32)
    return [Observation(image_HWC=np.full((4, 4, 3), round(255 * b), np.uint8), state=state) for b in brightness]


class Bright:
    """The probability of yes is a picture's brightness; a black one gets no answer, a white one words alone."""

    id = "bright"

    def check(self) -> None:
        pass

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        return [self._answer(float(image.mean()) / 255) for image in images]

    def _answer(self, p: float) -> Answer:
        return Answer(text="I cannot tell") if p == 0 else Answer(text="Yes") if p == 1 else Answer(text="?", p_yes=p)


class BrightFilms(Bright):
    """The same of films: the mean of their pictures; remembers what it was asked."""

    id = "bright films"

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, bool]] = []

    def answer_films(
        self, films: Sequence[Sequence[Image]], questions: Sequence[str], *, true_false: bool = False
    ) -> list[Answer]:
        self.asked += [(len(film), question, true_false) for film, question in zip(films, questions, strict=True)]
        return [self._answer(float(np.mean(film)) / 255) for film in films]


def said(sees: str, seen: list[Observation], threshold: float = 0.5) -> Label:
    return SuccessDetector(Bright(), threshold, clock=lambda: 1.0, sees=sees).judge(seen, PUT)


def probability(sees: str, *brightness: float) -> float:
    found = said(sees, film(*brightness)).probability
    assert found is not None
    return round(found, 2)


def test_the_last_frame_is_what_a_judge_sees_by_default() -> None:
    seen = film(0.2, 0.9, 0.8)
    label = SuccessDetector(Bright(), clock=lambda: 1.0).judge(seen, PUT)
    assert label == said("last", seen)
    assert (label.source, label.answer, label.probability) == ("bright", "?", pytest.approx(0.8))


def test_what_has_changed_looked_undone_in_the_first_frame() -> None:
    assert probability("changed", 0.2, 0.1, 0.8) == 0.8
    assert probability("changed", 0.6, 0.1, 0.8) == 0.0
    assert said("changed", film(0.6, 0.8)).success is False


def test_two_looks_in_a_row_must_see_it_and_the_first_must_not() -> None:
    assert probability("twice:5", 0.2, 0.9, 0.4, 0.8, 0.7) == 0.7
    assert probability("twice:5", 0.6, 0.9, 0.9, 0.9, 0.9) == 0.0
    assert probability("twice:5", 0.2, 0.9) == 0.9, "a film may be shorter than that"


def test_looks_are_the_mean_of_the_last_three_and_a_rise_is_what_the_first_lacked() -> None:
    seen = (0.3, 0.2, 0.6, 0.8, 0.7)
    assert probability("looks:5", *seen) == 0.7
    assert probability("rise:5", *seen) == 0.4
    assert probability("rise:5", 0.9, 0.9, 0.1, 0.1, 0.1) == 0.0
    assert probability("looks:3", *seen) == pytest.approx(np.mean([0.3, 0.6, 0.7]), abs=0.01), "evenly, the ends included"


def test_a_task_that_is_done_when_the_answer_is_no_is_judged_the_other_way_round() -> None:
    label = SuccessDetector(Bright(), sees="changed").judge(film(0.9, 0.1), REMOVE)
    assert (label.success, label.probability) == (True, pytest.approx(0.9, abs=0.01))


@pytest.mark.parametrize("sees", ["looks:3", "rise:3"])
@pytest.mark.parametrize("frame", [0.0, 1.0])
def test_an_answer_without_a_probability_makes_a_curve_undecidable(sees: str, frame: float) -> None:
    label = said(sees, film(0.2, frame, 0.8))
    assert (label.success, label.probability) == (None, None)
    assert curve_of(label) == ()


def test_words_decide_where_no_probability_is_needed_and_what_is_undecidable_stays_so() -> None:
    assert said("changed", film(0.2, 1.0)).success is True
    assert said("changed", film(0.2, 1.0)).probability is None
    assert said("changed", film(0.0, 0.9)).success is None
    assert said("twice:3", film(0.2, 0.0, 0.9)).success is None


def test_nothing_is_done_while_the_hand_holds_something() -> None:
    for sees in ("last/let-go", "looks:2/let-go"):
        held = said(sees, film(0.9, 0.9, opening=0.4))
        assert (held.success, held.probability) == (False, 0.0)
        assert said(sees, film(0.9, 0.9)).success is True
    assert with_let_go("last+looks:3@vlm.yaml") == "last/let-go+looks:3/let-go@vlm.yaml"


def test_two_judges_must_agree_or_it_is_undecidable() -> None:
    done = said("last+changed", film(0.2, 0.7, 0.8))
    assert (done.success, done.probability) == (True, pytest.approx(0.8))
    not_done = said("last+looks:2", film(0.2, 0.4))
    assert (not_done.success, not_done.probability) == (False, pytest.approx(0.4))
    for seen in (film(0.7, 0.8), film(0.2, 0.0)):
        apart = said("last+changed", seen)
        assert (apart.success, apart.probability) == (None, None)
    assert done.source == "bright + bright sees changed"
    assert [one.judge for one in evidence_of(done)] == ["bright", "bright sees changed"]


def test_the_label_says_what_was_seen_and_what_followed_from_it() -> None:
    label = said("looks:3", film(0.2, 0.5, 0.6, 0.8, 0.9), threshold=0.4)
    (evidence,) = evidence_of(label)
    assert (evidence.judge, evidence.frames, evidence.answers) == ("bright sees looks:3", (0, 2, 4), ("?", "?", "?"))
    assert (evidence.success, evidence.probability) == (True, label.probability)
    assert curve_of(label) == tuple(zip(evidence.frames, evidence.probabilities, strict=True))
    (entry,) = json.loads(label.answer)
    assert list(entry) == ["judge", "frames", "probabilities", "answers", "success", "probability", "curve"]


@pytest.mark.parametrize("answer", ["[{", "[{}]", '[{"judge": 1}]', "[1]", "yes", '[{"judge": "x", "frames": [1, 0]}]'])
def test_words_that_are_no_evidence_are_words(answer: str) -> None:
    assert evidence_of(Label(success=True, probability=None, source="x", answer=answer)) == ()


def test_several_pictures_are_one_question_and_a_curve_is_the_truth_of_a_statement_about_each_beginning() -> None:
    vlm = BrightFilms()
    seen = film(0.2, 0.4, 0.6)
    judged = {sees: SuccessDetector(vlm, sees=sees).judge(seen, REMOVE) for sees in ("pair", "film:3", "curve:3")}
    assert [(count, statement) for count, _, statement in vlm.asked] == [
        (2, False),
        (3, False),
        (1, True),
        (2, True),
        (3, True),
    ]
    assert all(REMOVE.instruction in text for _, text, _ in vlm.asked)
    assert REMOVE.question in vlm.asked[0][1]
    assert REMOVE.question not in vlm.asked[2][1]
    assert judged["pair"].probability == pytest.approx(0.6, abs=0.01), "of no, which means done"
    # True means done whatever the question's answer would mean; each value is that of all frames until then.
    assert [p for _, p in curve_of(judged["curve:3"])] == pytest.approx([0.2, 0.3, 0.4], abs=0.01)
    assert judged["curve:3"].probability == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("sees", ["pair", "film:4", "curve:4", "last+pair"])
def test_a_model_of_one_picture_is_refused_before_anything_moves(sees: str) -> None:
    with pytest.raises(ConfigError, match=r"fake-vlm takes one picture a question.*last, changed.*foundation-models"):
        SuccessDetector(FakeVLM(), sees=sees).check()
    SuccessDetector(FakeFilmVLM(), sees=sees).check()


class Words(BrightFilms):
    """Takes several pictures, and gives words alone."""

    def _answer(self, p: float) -> Answer:
        return Answer(text="Yes")


class Blind(BrightFilms):
    """Says that it sees none."""

    def _answer(self, p: float) -> Answer:
        text = "it says that it was shown no picture"
        return Answer(text="There is no image attached.", unreadable=text)


def test_a_model_that_gives_no_probabilities_or_sees_nothing_is_refused_before_anything_moves() -> None:
    with pytest.raises(ConfigError, match=r"gave no probability \(it said 'Yes'\), and curve:4 is made of them.*logprobs"):
        SuccessDetector(Words(), sees="curve:4").check()
    SuccessDetector(Words(), sees="film:4").check()
    with pytest.raises(ConfigError, match="was shown 4 pictures, and says that it was shown none"):
        SuccessDetector(Blind(), sees="film:4").check()


def test_the_oracle_knows_the_present_alone() -> None:
    oracle = OracleVLM(lambda question: True)
    SuccessDetector(oracle, sees="last/let-go")
    with pytest.raises(ConfigError, match=r"the oracle knows the present alone.*not changed"):
        SuccessDetector(oracle, sees="changed")


@pytest.mark.parametrize("sees", ["first", "", "looks", "looks:1", "film:65", "last:3", "last+", "last/open", "changed @x"])
def test_what_names_no_judge_is_refused_with_those_that_there_are(sees: str) -> None:
    with pytest.raises(ConfigError, match=r"a judge (sees last, changed|that sees)"):
        read_views(sees)


def test_another_model_may_be_named_and_its_path_may_hold_any_sign() -> None:
    first, second = read_views("last + film:8/let-go@a+b/vlm.yaml")
    assert (first.kind, second.kind, second.count, second.let_go) == ("last", "film", 8, True)
    assert second.model == "a+b/vlm.yaml"
    detector = SuccessDetector(FakeVLM(), sees="last+last@soar.testing:FakeFilmVLM")
    assert detector.id == "fake-vlm + fake-film-vlm"


def test_what_a_film_costs_is_known_before() -> None:
    detector = SuccessDetector(FakeFilmVLM(), sees="curve:4+last")
    assert detector.cost(100) == (5, 1 + 2 + 3 + 4 + 1)
    assert detector.frames(100) == [0, 33, 67, 100]
    assert SuccessDetector(FakeVLM(), sees="last/let-go").frames(100) == [99, 100]
    assert SuccessDetector(FakeVLM(), sees="twice:21").cost(3) == (4, 4), "no frame twice"


def test_the_fake_of_several_pictures_keeps_the_contract() -> None:
    check_vlm(FakeFilmVLM())
    assert isinstance(FakeFilmVLM(), FilmModel)
    assert not isinstance(FakeVLM(), FilmModel)
