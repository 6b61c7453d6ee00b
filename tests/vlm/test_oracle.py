"""Answers from the simulator's truth, with the paper's noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.testing.contracts import check_vlm
from soar.vlm.oracle import PAPER_BASE_RATE, OracleVLM

QUESTION = "Is the drawer open?"


def answers(count: int, base_rate: float, **noise: float) -> tuple[np.ndarray, np.ndarray, list[float | None]]:
    """Return truths and answers (booleans), and p_yes, of `count` states of which a share `base_rate` is true."""
    state = {"true": False}
    vlm = OracleVLM(lambda _question: state["true"], base_rate=base_rate, seed=3, **noise)
    truths = np.arange(count) < round(base_rate * count)
    said, p_yes = [], []
    for i, truth in enumerate(truths):
        state["true"] = bool(truth)
        image = np.array([i >> 8, i & 255, 0], np.uint8).reshape(1, 1, 3)
        (answer,) = vlm.answer([image], [QUESTION])
        said.append(answer.text == "yes")
        p_yes.append(answer.p_yes)
    return truths, np.array(said), p_yes


def test_it_keeps_the_contract_and_says_that_it_is_an_oracle() -> None:
    vlm = OracleVLM(lambda _question: True)
    check_vlm(vlm)
    assert vlm.id == "oracle-recall1-precision0.63"


def test_by_default_it_errs_as_the_papers_detector() -> None:
    truths, said, _ = answers(3000, PAPER_BASE_RATE)
    assert said[truths].all()
    assert truths[said].mean() == pytest.approx(0.63, abs=0.03)
    assert (said == truths).mean() == pytest.approx(0.7887, abs=0.03)


@settings(max_examples=10)
@given(st.floats(0.5, 1.0), st.floats(0.6, 1.0), st.floats(0.2, 0.5))
def test_recall_precision_and_calibration_come_out_as_asked(recall: float, precision: float, base_rate: float) -> None:
    truths, said, p_yes = answers(2000, base_rate, recall=recall, precision=precision)
    assert said[truths].mean() == pytest.approx(recall, abs=0.09)
    assert truths[said].mean() == pytest.approx(precision, abs=0.09)
    for answer in (True, False):
        if (said == answer).any():
            predicted = np.array(p_yes, float)[said == answer]
            assert truths[said == answer].mean() == pytest.approx(predicted.mean(), abs=0.09)


def test_without_noise_it_tells_the_truth_and_is_sure() -> None:
    truths, said, p_yes = answers(200, 0.4, recall=1.0, precision=1.0)
    np.testing.assert_array_equal(said, truths)
    np.testing.assert_array_equal(p_yes, truths.astype(float))


def test_it_says_the_same_of_the_same_image() -> None:
    vlm = OracleVLM(lambda _question: False)
    pictures = [np.full((2, 2, 3), i, np.uint8) for i in range(50)]
    first = vlm.answer(pictures, [QUESTION] * 50)
    assert vlm.answer(pictures[::-1], [QUESTION] * 50)[::-1] == first
    assert len({answer.text for answer in first}) == 2


def test_what_the_simulator_cannot_tell_has_no_probability() -> None:
    (answer,) = OracleVLM(lambda _question: None).answer([np.zeros((2, 2, 3), np.uint8)], ["Is it art?"])
    assert answer.p_yes is None
    assert answer.text not in ("yes", "no")


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"recall": 0.0}, "recall"),
        ({"precision": 1.5}, "precision"),
        ({"base_rate": 1.0}, "base_rate"),
        ({"precision": 0.2}, "as low as 0.2 .* saying yes to all others gives 0.36"),
    ],
)
def test_noise_that_cannot_be_is_refused(noise: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OracleVLM(lambda _question: True, **noise)
