"""No output of a model crashes the parser, and none is misread as yes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st


from soar.vlm.answer_parsing import yes_or_no
from soar.vlm.answer_words import SIDES
from soar.vlm.token_probability import share_of_yes, side

YES = sorted(word for word, means in SIDES.items() if means)
NO = sorted(word for word, means in SIDES.items() if not means)
NEITHER = ["the", "drawer", "open", "I", "see", "a", "bowl", "is", "it", "answer", "nowhere", "yesterday", "knot", "truth"]
PLAIN = st.lists(st.sampled_from(NEITHER), max_size=8)
GAP = st.sampled_from([" ", ", ", ". ", "\n", " - ", ": ", "** "])


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("**Yes**, it is.", True),
        ('{"answer": "yes"}', True),
        ("YES!!!", True),
        ("Is the drawer open? Yes.", True),
        ("<think>No, wait. No.</think>\nYes", True),
        ("<think>Yes, it looks so", None),
        ("<think>a</think> yes <think>", None),
        ("No, the block is not in the bowl.", False),
        ("It is not in the bowl, so the answer is no.", None),
        ("Yes, the block is not in the bowl.", None),
        ("Yes and no.", None),
        ("yes/no", None),
        ("Answer with one word, yes or no.", None),
        ("Probably yes", None),
        ("Yes if you look closely", None),
        ("No, maybe", None),
        ("Nope", False),
        ("señor nono ñyes", None),
        ("yes " * 10_000, None),
    ],
)
def test_what_models_say(text: str, verdict: bool | None) -> None:
    assert yes_or_no(text) is verdict


@given(st.text())
def test_nothing_crashes_it_and_yes_is_never_read_where_none_was_said(text: str) -> None:
    if yes_or_no(text) is True:
        assert any(word in text.lower() for word in YES)


@given(PLAIN, PLAIN, st.sampled_from(NO), GAP, st.sampled_from(YES), st.booleans())
def test_words_that_hold_a_no_are_never_yes(
    before: list[str], after: list[str], no: str, gap: str, yes: str, also: bool
) -> None:
    words = [*before, no, *after, *([yes] if also else [])]
    verdict = yes_or_no(gap.join(words))
    assert verdict is (None if also else False)


@given(PLAIN, PLAIN, st.sampled_from(YES), GAP, st.sampled_from(["not", "never", "isn't", "DON\u2019T", "maybe", "unclear"]))
def test_a_yes_beside_a_negation_or_a_doubt_is_undecidable(
    before: list[str], after: list[str], yes: str, gap: str, word: str
) -> None:
    assert yes_or_no(gap.join([*before, yes, *after])) is True
    assert yes_or_no(gap.join([*before, yes, *after, word])) is None
    assert yes_or_no(gap.join([word, *before, yes, *after])) is None


@pytest.mark.parametrize(
    ("token", "which"), [("Yes", True), (" yes", True), ("Ġno", False), ("▁No", False), ("not", None), ("y", None), ("", None)]
)
def test_tokens_of_a_vocabulary(token: str, which: bool | None) -> None:
    assert side(token) is which


def test_yes_gets_its_share_of_what_yes_and_no_have_together() -> None:
    assert share_of_yes([("Yes", 0.4), (" yes", 0.2), ("No", 0.2), ("The", 0.2)]) == pytest.approx(0.75)
    assert share_of_yes([("Yes", 0.3), ("The", 0.7)]) is None, "it is not answering the question"
    assert share_of_yes([]) is None


@given(st.lists(st.tuples(st.text(max_size=5), st.floats())))
def test_a_share_is_a_probability_whatever_a_server_sends(tokens: list[tuple[str, float]]) -> None:
    share = share_of_yes(tokens)
    assert share is None or 0 <= share <= 1


@given(st.text(max_size=20), st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3))))
def test_log_probabilities_that_are_none_are_no_probability(text: str, tokens: list[object]) -> None:
    assert p_yes(text, tokens) is None
