"""From a model's answer to yes, no, or undecidable.

A probability decides when there is one; else what another model decoded; else the words (`soar.vlm.words`). Whatever is left is
undecidable, which is not "no": callers must say what they do with it.
"""

from __future__ import annotations

import math

from soar.vlm.base import Answer
from soar.vlm.words import yes_or_no


def decide(answer: Answer, threshold: float = 0.5) -> bool | None:
    """Return whether an answer means yes; None when that cannot be decided.

    Args:
        answer: What the model said.
        threshold: Least `p_yes` that counts as yes; without a probability the words decide.
    """
    if answer.p_yes is not None:
        return None if math.isnan(answer.p_yes) else answer.p_yes >= threshold
    return yes_or_no(answer.text) if answer.decoded is None else answer.decoded
