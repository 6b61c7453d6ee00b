"""The probability of yes, from the probabilities of an answer's first word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from soar.vlm.words import side, yes_or_no

_LEAST_MASS = 0.5
"""Share of the probability that yes and no must have together; with less the model is not answering the question."""


def share_of_yes(probabilities: Iterable[tuple[str, float]]) -> float | None:
    """Return yes / (yes + no) over the alternatives (token, probability) of a first word; None when most are neither."""
    mass = {True: 0.0, False: 0.0}
    for token, probability in probabilities:
        which = side(token)
        if which is not None and math.isfinite(probability) and probability > 0:
            mass[which] += probability
    total = mass[True] + mass[False]
    return None if not _LEAST_MASS <= total <= 1.01 else mass[True] / total


def p_yes(text: str, tokens: Sequence[Any]) -> float | None:
    """Return the probability of yes of an OpenAI-style answer; None when it cannot be had.

    Args:
        text: The whole answer. Words that mean nothing have no probability of meaning yes.
        tokens: `choices[0].logprobs.content`: objects with `token` and `top_logprobs`, whatever a server makes of them.
    """
    if yes_or_no(text) is None:
        return None
    try:
        first = next((item for item in tokens if any(c.isalpha() for c in item.token)), None)
        if first is None:
            return None
        return share_of_yes((item.token, math.exp(min(float(item.logprob), 0.0))) for item in first.top_logprobs)
    except (AttributeError, TypeError, ValueError):
        return None
