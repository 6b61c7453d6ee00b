"""The probability of yes, from the token that an answer begins with.

A model that thinks aloud makes hundreds of tokens before its answer, and the first of them may well be a "yes" that it takes
back later. So the tokens' texts are laid beside the text that was read, and the token is the one in which that text begins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soar.vlm.answer_words import SIDES

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_AROUND = " \n\tĠ▁Ċ.,:;!*\"'`()[]{}\u3002\uff0c\u3001\uff01"
_LEAST_MASS = 0.5
"""Share of the probability that yes and no must have together; with less the model is not answering the question."""
_ROUNDING = 1e-3
_MARK = re.compile(r"<[^<>]*>|\[/?[A-Za-z]+\]|◁[^▷]*▷|assistantfinal")
_MARKED = re.compile(rf"(?:{_MARK.pattern})\s*\Z")
_ENDS = re.compile(r"(?:\s|<\|[^<>]*\|>|<\uff5c[^<>\uff5c]*\uff5c>|</s>|<eos>|<end_of_turn>|<end_of_utterance>)+\Z")
_TAIL = 40
"""Letters of a thought that are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One token that a model made.

    Attributes:
        text: Its part of the text.
        alternatives: Tokens that could have stood there, with the logarithm of their probability; as a server sends them.
    """

    text: str
    alternatives: tuple[tuple[str, float], ...] = ()


def side(token: str) -> bool | None:
    """Return which side a single token of a model's vocabulary is on; None when it is on neither.

    Tokenizers mark the beginning of a word with a space, `Ġ` or `▁`, which is not part of it; nor is punctuation.
    """
    return SIDES.get(token.strip(_AROUND).lower())


def share_of_yes(probabilities: Iterable[tuple[str, float]]) -> float | None:
    """Return yes / (yes + no) over the alternatives (token, probability) of a first word; None when most are neither."""
    mass = {True: 0.0, False: 0.0}
    for token, probability in probabilities:
        which = side(token)
        if which is not None:
            if not 0 <= probability <= 1 + _ROUNDING:
                return None  # NaN included
            mass[which] += probability
    total = mass[True] + mass[False]
    return None if not _LEAST_MASS <= total <= 1.01 else mass[True] / total


def probability_at(tokens: Sequence[Token], answer: str, before: str, verdict: bool) -> tuple[float | None, str]:
    """Return the probability of yes of an answer, or why there is none.

    Args:
        tokens: All that were made, in order.
        answer: The text that was read; the end of what was made.
        before: The thought before it, as far as it is known.
        verdict: What the words mean.
    """
    token = _first(tokens, answer, before)
    if token is None:
        return None, "the tokens are not those of the text that was read"
    word = _WORD.search(answer)
    if word is None or side(word[0]) is not verdict:
        return None, "the text does not begin with its yes or no"
    probabilities = []
    for text, log_probability in token.alternatives:
        if not math.isfinite(log_probability) or log_probability > _ROUNDING:
            return None, f"{log_probability} is no log-probability"
        if side(text) is None:
            continue
        probabilities.append((text, math.exp(min(log_probability, 0.0))))
    p_yes = share_of_yes(probabilities)
    if p_yes is None:
        return (
            None,
            "most of the probability is on neither yes nor no" if token.alternatives else "the token has no alternatives",
        )
    if (p_yes >= 0.5) is not verdict:
        return None, f"the words say {'yes' if verdict else 'no'}, and the probability of yes is {p_yes:.3f}"
    return p_yes, ""


def _first(tokens: Sequence[Token], answer: str, before: str) -> Token | None:
    """Return the token in which an answer's first letter is; None where tokens and text disagree."""
    whole = "".join(token.text for token in tokens)
    made, wanted = _ENDS.sub("", whole), _ENDS.sub("", answer).lstrip()
    word = _WORD.search(wanted)
    if word is None or (start := _where(made, wanted, word.end(), before)) is None:
        return None
    where, end = start + word.start(), 0
    for token in tokens:
        begin, end = end, end + len(token.text)
        if end > where:
            within = where - begin  # what is before the first letter in this token must not be letters of something else
            return None if any(character.isalnum() for character in _MARK.sub("", token.text[:within])) else token
    return None


def _where(made: str, wanted: str, least: int, before: str) -> int | None:
    """Return where a text begins in what was made, which may lack the text's end, but not its first `least` letters."""
    for start in range(max(len(made) - len(wanted), 0), len(made) - least + 1):
        if wanted.startswith(made[start:]) and _follows(made[:start], before):
            return start
    return None


def _follows(made: str, thought: str) -> bool:
    """Whether what was made before the answer is the thought that is known of, or ends with a mark when none is known."""
    if not made.strip():
        return True  # the server sends the answer's own tokens only
    tail, known = (re.sub(r"\s+", "", _MARK.sub("", text))[-_TAIL:] for text in (made, thought))
    if known:
        return tail.endswith(known) or known.endswith(tail)
    return _MARKED.search(made) is not None
