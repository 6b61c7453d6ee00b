"""How good a success detector is."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from soar.episodes import EpisodeStore
from soar.errors import SoarError
from soar.evaluation.detector_metrics import Judgement, judge, mistakes_sheet, score, write_report
from soar.evaluation.judge_comparison import caption, comparison_rows
from soar.instruction_grammar import task_from_instruction
from soar.tasks import SuccessDetector
from soar.types import Image, Label
from soar.vlm.base import Answer
from tests.episodes.builders import make_episode

PUT, REMOVE = "put the carrot on the plate", "remove the carrot from the plate"


def judged(truth: bool, success: bool | None, probability: float | None = None) -> Judgement:
    return Judgement(id=f"{truth}{success}", instruction=PUT, truth=truth, success=success, probability=probability)


def test_the_papers_table_comes_out() -> None:
    # Appendix D: 546 episodes, all true successes found, 63 % of the judged ones true, 78.87 % right.
    true, wrong = 197, 115
    result = score([judged(True, True)] * true + [judged(False, True)] * wrong + [judged(False, False)] * (546 - true - wrong))
    assert result.recall.value == 1.0
    assert result.precision.value == pytest.approx(0.63, abs=0.005)
    assert result.accuracy.value == pytest.approx(0.7887, abs=0.001)
    low, high = result.accuracy.interval
    assert low < 0.7887 < high
    assert (result.auc, result.roc, result.calibration_error) == (None, (), None)


def test_an_undecidable_answer_costs_recall_and_never_precision() -> None:
    result = score([judged(True, None), judged(True, True), judged(False, None)])
    assert (result.precision.value, result.recall.value, result.undecided.value) == (1.0, 0.5, 2 / 3)
    assert result.accuracy.value == 2 / 3
    assert score([judged(False, False)]).to_json()["precision"]["value"] is None


def test_roc_auc_and_calibration_of_known_probabilities() -> None:
    pairs = [(0.9, True), (0.8, True), (0.8, False), (0.35, True), (0.3, False), (0.05, False)]
    result = score([judged(truth, p >= 0.5, p) for p, truth in pairs])
    assert result.auc is not None
    value, low, high = result.auc
    assert value == pytest.approx(7.5 / 9)
    assert 0 <= low < value < high <= 1
    assert result.roc[0] == (0.9, 0.0, pytest.approx(1 / 3))
    assert result.roc[-1] == (0.05, 1.0, 1.0)
    assert [rate.trials for _, rate in result.calibration] == [1, 2, 2, 1]
    # |.05 − 0| + 2 |.325 − .5| + 2 |.8 − .5| + |.9 − 1|, over six episodes.
    assert result.calibration_error == pytest.approx((0.05 + 0.35 + 0.6 + 0.1) / 6)


def test_judges_are_compared_on_the_same_attempts_with_what_they_cost(store: EpisodeStore) -> None:
    judged = {
        sees: judge(store, "simulator", SuccessDetector(Bright(), sees=sees), task_of=task_from_instruction)
        for sees in ("last", "last/let-go", "looks:3", "last+changed")
    }
    rows = comparison_rows(judged)
    assert [row["judge"] for row in rows] == list(judged)
    assert rows[0]["accuracy"] == "3/5 = .60 [.23, .88]"
    assert (rows[0]["rights, wrongs"], rows[0]["undecided"]) == (None, 1)
    assert (rows[2]["questions"], rows[2]["pictures"]) == (3.0, 3.0)
    assert (rows[3]["questions"], rows[3]["pictures"]) == (3.0, 3.0)
    right = {name: {j.id for j in said if (j.success is True) is j.truth} for name, said in judged.items()}
    for row in rows[1:]:
        rights, wrongs = (len(a - b) for a, b in ((right[row["judge"]], right["last"]), (right["last"], right[row["judge"]])))
        assert row["rights, wrongs"] == f"{rights}, {wrongs}"
    assert "5 attempts in 1 scenes (1), 3 of them successes as the simulator said; p >= 0.5" in caption(
        judged, "simulator", 0.5
    )
    with pytest.raises(SoarError, match="equal starts"):
        comparison_rows({"last": judged["last"], "fewer": judged["last"][1:]})


class Bright:
    """Sees that the carrot is on the plate when the picture is bright; cannot see anything in a dark one."""

    id = "bright"

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        means = [float(image.mean()) for image in images]
        return [Answer(text="dark") if mean < 10 else Answer(text="see", p_yes=round(mean / 255, 2)) for mean in means]


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """Five episodes whose final frames are grey, of known truth."""
    store = EpisodeStore(tmp_path / "episodes", mode="create")
    cases = [(PUT, 230, True), (PUT, 230, False), (REMOVE, 26, True), (REMOVE, 230, False), (PUT, 0, True)]
    for number, (instruction, grey, truth) in enumerate(cases):
        said = Label(success=True, probability=0.6, source="old-model")
        true = Label(success=truth, probability=None, source="simulator")
        episode = make_episode(f"e{number}", steps=3, size=32, instruction=instruction, labels=(said, true))
        episode.images_THWC[-1] = grey
        store.append(episode)
    return store


def test_final_frames_are_judged_and_compared_with_the_simulator(store: EpisodeStore, tmp_path: Path) -> None:
    detector = SuccessDetector(Bright(), clock=lambda: 0.0)
    judgements = judge(store, "simulator", detector, task_of=task_from_instruction)
    assert [judgement.success for judgement in judgements] == [True, True, True, False, None]
    assert [judgement.truth for judgement in judgements] == [True, False, True, False, True]
    assert judgements[2].probability == pytest.approx(0.9, abs=0.02)
    sheet = mistakes_sheet(store, judgements)
    assert sheet is not None
    assert Pillow.open(io.BytesIO(sheet)).format == "WEBP"
    assert mistakes_sheet(store, judgements[:1]) is None
    result = write_report(tmp_path / "out", "bright", "simulator", judgements, sheet)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["recall"]["successes"] == result.recall.successes == 2
    assert len(report["judgements"]) == 5
    assert (tmp_path / "out" / "mistakes.webp").read_bytes() == sheet


def test_what_the_hand_still_holds_is_not_done_if_that_is_asked_for(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "episodes", mode="create")
    for number, opening in enumerate((1.0, 0.5, 0.0)):
        true = Label(success=opening != 0.5, probability=None, source="simulator")
        episode = make_episode(f"e{number}", steps=3, size=32, instruction=PUT, labels=(true,))
        episode.images_THWC[-1] = 230
        episode.states_TD[-2:, 6] = opening
        store.append(episode)
    for sees, said in (("last", [True, True, True]), ("last/let-go", [True, False, True])):
        judgements = judge(store, "simulator", SuccessDetector(Bright(), sees=sees), task_of=task_from_instruction)
        assert [judgement.success for judgement in judgements] == said
    assert judgements[1].probability == 0.0


def test_what_a_model_said_at_the_time_can_be_measured_against_a_person(store: EpisodeStore) -> None:
    with pytest.raises(SoarError, match=r"none is labelled by a person and a model.*soar data label"):
        judge(store, "person", task_of=task_from_instruction)
    for success in (True, False):
        store.add_label("e1", Label(success=success, probability=None, source="person:ada"))
    (judgement,) = judge(store, "person", task_of=task_from_instruction)
    assert (judgement.id, judgement.truth, judgement.success, judgement.probability) == ("e1", False, True, 0.6)
    assert len(judge(store, "simulator", task_of=task_from_instruction, limit=2)) == 2
    assert np.isclose(score(judge(store, "simulator", task_of=task_from_instruction)).precision.value, 0.6)
