"""From a model's answer to yes, no, or undecidable.

A probability decides when there is one. Otherwise the words do: an answer that opens with yes, no, true or false means that;
any other must contain exactly one of the two sides and no negation. Whatever is left is undecidable, which is not "no":
callers must say what they do with it.
"""

from __future__ import annotations

import math
import re

from soar.vlm.base import Answer

_SIDES = {"yes": True, "true": True, "no": False, "false": False}
_NEGATIONS = frozenset({"not", "neither", "nor", "never", "cannot"})


def decide(answer: Answer, threshold: float = 0.5) -> bool | None:
    """Return whether an answer means yes; None when that cannot be decided.

    Args:
        answer: What the model said.
        threshold: Least `p_yes` that counts as yes; without a probability the words decide.
    """
    if answer.p_yes is not None:
        return None if math.isnan(answer.p_yes) else answer.p_yes >= threshold
    words = re.findall(r"[a-z]+(?:'t)?", answer.text.lower().replace("\u2019", "'"))
    if words and words[0] in _SIDES:
        return _SIDES[words[0]]
    if any(word in _NEGATIONS or word.endswith("'t") for word in words):
        return None
    said = {_SIDES[word] for word in words if word in _SIDES}
    return said.pop() if len(said) == 1 else None
