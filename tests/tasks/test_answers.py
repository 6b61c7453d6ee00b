from __future__ import annotations

import pytest

from soar.tasks import decide
from soar.vlm.base import Answer


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes.", True),
        ("true", True),
        ("No, the green block is placed outside the bowl, on the edge of the transparent platform.", False),
        ("False", False),
        ("Yes, there is no doubt.", None),
        ("The answer is yes", True),
        ("The answer is: No", False),
        ("", None),
        ("I see a bowl.", None),
        ("It is not true that it is in the bowl.", None),
        ("That isn't true", None),
        ("Maybe yes, maybe no", None),
        ("Nothing yesterday", None),
    ],
)
def test_words_decide_when_there_is_no_probability(text: str, verdict: bool | None) -> None:
    assert decide(Answer(text=text)) is verdict


def test_a_probability_outranks_the_words_and_meets_the_threshold() -> None:
    assert decide(Answer(text="no", p_yes=0.6)) is True
    assert decide(Answer(text="yes", p_yes=0.6), threshold=0.7) is False
    assert decide(Answer(text="yes", p_yes=0.7), threshold=0.7) is True
    assert decide(Answer(text="yes", p_yes=float("nan"))) is None
