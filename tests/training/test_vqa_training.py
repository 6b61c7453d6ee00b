"""Training the VQA model, on squares that are at the left or at the right."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.nn.text_encoder import TextConfig
from soar.training.loop import FitConfig
from soar.training.vqa import FrameRows, VQATrainingConfig, fit_temperature, row_weights, score, train_vqa
from soar.vlm.vqa import VQAConfig, VQAModel

SIZE = 16
CONFIG = VQATrainingConfig(
    network=VQAConfig(
        image_size=SIZE, width=16, pointers=2, blocks=1, text=TextConfig(width=16, heads=2, layers=1, max_words=6)
    ),
    fit=FitConfig(steps=80, batch_size=32, learning_rate=4e-3, warmup_steps=10, ema=0.9, checkpoint_every=80, log_every=40),
    held_out=0.25,
)
QUESTIONS = ("Is it on the left?", "Is it on the right?")


def picture(column: int) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    image[6:10, column : column + 4] = (250, 40, 40)
    return image


def rows() -> dict[str, object]:
    """Of each of 24 images, the first question once and the second one three times."""
    columns = [1 + (i * 5) % 4 + (0 if i % 3 else 7) for i in range(24)]
    index = np.repeat(np.arange(24), 4)
    asked = np.tile([0, 1, 1, 1], 24)
    at_right = np.array(columns)[index] > 6
    return {
        "images_NHWC": np.stack([picture(column) for column in columns]),
        "frame_index_Q": index,
        "questions": [QUESTIONS[q] for q in asked],
        "answers_Q": at_right == (asked == 1),
        "groups_Q": index // 2,
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("vqa")
    return folder, train_vqa(CONFIG, **rows(), folder=folder, lineage={"store": 3})  # type: ignore[arg-type]


def test_it_learns_to_tell_left_from_right(trained: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = trained
    assert metrics["validation/accuracy"] > 0.9
    model = VQAModel.load(folder)
    answers = model.answer([picture(2), picture(2), picture(10), picture(10)], QUESTIONS * 2)
    assert [answer.text for answer in answers] == ["yes", "no", "no", "yes"]


def test_the_folder_says_how_good_the_answers_are(trained: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = trained
    report = json.loads((folder / "report.json").read_text())
    assert [entry["question"] for entry in report] == list(QUESTIONS)
    assert report[1]["rows"] == 3 * report[0]["rows"] > 0
    assert all(entry["auc"] > 0.9 and entry["recall_at_threshold"] > 0.9 for entry in report)
    lineage = json.loads((folder / "lineage.json").read_text())
    assert (lineage["store"], lineage["metrics"], lineage["episodes"], lineage["held_out"]) == (3, metrics, 12, 3)
    assert json.loads((folder / "config.json").read_text())["config"]["temperature"] != 1.0


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_the_rows_of_a_line_are_about_one_frame(frames: list[int], data: st.DataObject) -> None:
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(frames) - 1), min_size=1))))
    frame = np.array(frames)
    drawn = FrameRows(chosen, frame).draw(np.random.default_rng(0), 50, 4)
    assert drawn.shape == (50, 4)
    assert set(drawn.flatten()) <= set(chosen)
    assert (frame[drawn] == frame[drawn[:, :1]]).all()
    for line in drawn:
        available = int((frame[chosen] == frame[line[0]]).sum())
        assert len(set(line)) == min(4, available)


def test_yes_and_no_weigh_the_same_in_every_question_up_to_a_limit() -> None:
    question = np.array([0] * 4 + [1] * 10)
    answers = np.array([True, False, False, False] + [True] + [False] * 9)
    weights = row_weights(question, answers)
    assert weights[:4].tolist() == pytest.approx([2.0, 2 / 3, 2 / 3, 2 / 3])
    assert weights[4] == pytest.approx(4.0)  # 5 would be needed


def test_scores_are_those_of_a_base_rate_of_one_half() -> None:
    p = np.array([0.9, 0.8, 0.4, 0.7, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    truth = np.array([True, True, True, *[False] * 7])
    found = score(p, truth, 0.85)
    recall, false_yes = 2 / 3, 1 / 7
    assert found["recall"] == pytest.approx(recall)
    assert found["precision"] == pytest.approx(recall / (recall + false_yes))
    assert found["accuracy"] == pytest.approx((recall + 1 - false_yes) / 2)
    assert found["auc"] == pytest.approx(20 / 21)
    assert found["base_rate"] == pytest.approx(0.3)
    assert (found["threshold"], found["recall_at_threshold"]) == (0.4, pytest.approx(1.0))
    assert score(p, truth, 0.95)["threshold"] == 0.8


def test_ties_count_half_and_no_threshold_cuts_through_them() -> None:
    found = score(np.full(4, 0.5), np.array([True, False, True, False]), 0.9)
    assert (found["auc"], found["threshold"]) == (0.5, None)


def test_a_question_with_one_answer_only_has_no_auc() -> None:
    found = score(np.array([0.1, 0.7]), np.array([False, False]), 0.9)
    assert (found["auc"], found["recall"], found["threshold"]) == (None, None, None)
    assert (found["accuracy"], found["precision"]) == (0.5, 0.0)


def test_the_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    truth = rng.random(4000) < 1 / (1 + np.exp(-logits))
    question = np.zeros(4000, np.int64)
    assert fit_temperature(logits, truth, question) == pytest.approx(1.0, abs=0.1)
    assert fit_temperature(3 * logits, truth, question) == pytest.approx(3.0, abs=0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": ["Is it?"]}, "same length"),
        ({"groups_Q": np.zeros(96, np.int64)}, "at least 2 episodes"),
        ({"images_NHWC": np.zeros((24, 8, 8, 3), np.uint8)}, "image_size is 16"),
    ],
)
def test_data_that_do_not_fit_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train_vqa(CONFIG, **rows() | change, folder=tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": 1.0}, "held_out"),
        ({"target_precision": 0.0}, "target_precision"),
        ({"max_validation": 0}, "max_validation"),
        ({"fit": replace(CONFIG.fit, batch_size=3)}, "even"),
    ],
)
def test_an_invalid_recipe_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VQATrainingConfig(**change)  # type: ignore[arg-type]
