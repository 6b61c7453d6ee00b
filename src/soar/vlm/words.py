"""What a model's words mean: yes, no, or undecidable. Undecidable is not "no"; callers must say what they do with it.

Built to err towards undecidable, because a success that was misread is learned from:

    what a reasoning model thinks aloud            is not its answer: only what follows the last </think> counts
    yes and no, both                               undecidable, whatever comes first
    a word of doubt                                undecidable
    it opens with no                               no
    it opens with yes, and negates nothing         yes
    exactly one side, somewhere, and no negation   that side
    anything else                                  undecidable
"""

from __future__ import annotations

import re

SIDES = {"yes": True, "true": True, "yeah": True, "yep": True, "no": False, "false": False, "nope": False}
"""The words that mean yes or no."""
_NEGATIONS = frozenset({"not", "neither", "nor", "never", "cannot", "without", "hardly", "none", "nobody", "nothing"})
_DOUBTS = frozenset(
    {
        *("maybe", "perhaps", "possibly", "probably", "might", "unsure", "uncertain", "unclear", "unknown", "undecided"),
        *("ambiguous", "depends", "partially", "partly", "almost", "guess", "if", "whether"),
    }
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_LONGEST = 20_000
"""Characters that are read; a model that says more has lost itself, and its first words do not count either."""


def yes_or_no(text: str) -> bool | None:
    """Return whether words mean yes (True) or no (False); None when that cannot be decided. No text raises."""
    if len(text) > _LONGEST:
        return None
    _, thought, rest = text.rpartition("</think>")
    if "<think>" in (rest if thought else text):
        return None  # it was cut off before it had finished thinking
    words = _words(rest if thought else text)
    said = {SIDES[word] for word in words if word in SIDES}
    if len(said) != 1 or any(word in _DOUBTS for word in words):
        return None
    verdict = said.pop()
    negated = any(word in _NEGATIONS or word.endswith("n't") for word in words)
    if negated and (verdict or words[0] not in SIDES):
        return None
    return verdict


def side(token: str) -> bool | None:
    """Return which side a single token of a model's vocabulary is on; None when it is on neither.

    Tokenizers mark the beginning of a word with a space, `Ġ` or `▁`, which is not part of it.
    """
    return SIDES.get(token.strip(" \n\tĠ▁").lower())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("\u2019", "'"))
