"""What a model's answer means: yes, no, or undecidable. Undecidable is not "no"; callers must say what they do with it.

    what the model said ──► thought cut away ──► layout cut away ──► words ──► yes, no, or undecidable and why
    its tokens ───────────► the token that the words begin with ────────────► the probability of yes, or none and why

One reader for streams, servers with a parser of thoughts, plain servers and local models. It errs towards undecidable, because
a success that was misread is learned from, and half of all tasks have succeeded when the answer is "no". So it knows what an
answer looks like, and decides nothing else:

    soar.vlm.thoughts          an unfinished thought, an unknown tag or mark without an end       undecidable
    here                       cut off, and more than one word                                    undecidable
                               it says that it was shown no picture                               a fault of the set-up, too
    soar.vlm.answer_layout     a sign, a digit, a key of JSON that is not known                   undecidable
    soar.vlm.answer_grammar    a yes or no, and an explanation that neither doubts nor contradicts  decided
                               anything else                                                      undecidable

A probability is that of the first word of the text that was read, and only when this word is the yes or no that was read. Where
tokens and text disagree there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soar.vlm.answer_grammar import meaning
from soar.vlm.answer_layout import plain
from soar.vlm.answer_words import NO_PICTURE, SIDES
from soar.vlm.base import Answer
from soar.vlm.thoughts import Marks, split_thought
from soar.vlm.token_probability import Token, probability_at

VERSION = "reading 5"
"""Of these rules; answers that were kept under others are asked for again."""
SHOWN_NOTHING = "it says that it was shown no picture"
_WHOLE = ("stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn")
"""Reasons to finish that are known to mean that all was said; any other counts as cut off."""
FILTERED = "content_filter"
"""Reason to finish of an answer that a server withholds."""
_LONGEST = 20_000
"""Characters that are read; a model that says more has lost itself, and its first words do not count either."""
_UNSPACED = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was made of an answer.

    Attributes:
        verdict: Yes, no, or None: undecidable.
        text: What was read: the answer without the thought.
        p_yes: Probability of yes; None when there is none.
        reason: Why it is undecidable; empty when it is decided.
        no_probability: Why the probabilities of the tokens were not used; empty when they were, or none were given.
        whole: Whether the text may be read at all: False when it is cut off, or an unfinished thought.
        no_picture: The model says that it was shown no picture: a fault of the set-up.
    """

    verdict: bool | None
    text: str
    p_yes: float | None = None
    reason: str = ""
    no_probability: str = ""
    whole: bool = True
    no_picture: bool = False

    def answer(self) -> Answer:
        """Return it as a model's answer."""
        unreadable = self.reason if self.no_picture or not self.whole else ""
        return Answer(text=self.text, p_yes=self.p_yes, unreadable=unreadable, no_probability=self.no_probability)


def read(
    text: str,
    tokens: Sequence[Token] = (),
    *,
    finish: str | None = None,
    thought: str = "",
    marks: Iterable[Marks] = (),
) -> Reading:
    """Return what an answer means. No answer raises.

    Args:
        text: What the model said, with or without its thought.
        tokens: All tokens that it made, those of the thought included; empty when their probabilities are not known.
        finish: Why it ended, in a server's words; a reason that is not known counts as cut off (`is_whole`).
        thought: What a server calls the thought, beside the text.
        marks: Of thoughts, further ones than those that are known.
    """
    split, cut = split_thought(text[: _LONGEST + 1], marks), not is_whole(finish)
    words = plain(split.answer)
    unreadable = (
        f"it is longer than {_LONGEST} characters"
        if len(text) > _LONGEST
        else "the server's filter stopped it"
        if finish == FILTERED
        else f"the thought that begins with {split.unfinished} did not end" + (": it was cut off" if cut else "")
        if split.unfinished
        else "it was cut off before it had said anything"
        if cut and not split.answer.strip()
        else words.problem
        if not words.whole
        else "it was cut off"
        if cut and not _is_one_word(words.text)
        else ""
    )
    if unreadable:
        return Reading(verdict=None, text=text if split.unfinished else split.answer, reason=unreadable, whole=False)
    if NO_PICTURE.search(words.text):
        return Reading(verdict=None, text=split.answer, reason=SHOWN_NOTHING, no_picture=True)
    verdict, reason = (None, words.problem) if words.problem else meaning(words.text, words.signs)
    if verdict is None:
        return Reading(verdict=None, text=split.answer, reason=reason)
    p_yes, problem = probability_at(tokens, split.answer, text[: split.start] or thought, verdict) if tokens else (None, "")
    return Reading(verdict=verdict, text=split.answer, p_yes=p_yes, no_probability=problem)


def is_whole(finish: str | None) -> bool:
    """Return whether an answer that ended for this reason, in a server's words, is known to be all; None: not cut off."""
    return not finish or finish in _WHOLE


def yes_or_no(text: str) -> bool | None:
    """Return whether words mean yes (True) or no (False); None when that cannot be decided. No text raises."""
    return read(text).verdict


def decide(answer: Answer, threshold: float = 0.5) -> bool | None:
    """Return whether an answer means yes; None when that cannot be decided.

    A probability decides when there is one; else what another model decoded; else the words.

    Args:
        answer: What the model said.
        threshold: Least `p_yes` that counts as yes; without a probability the words decide.
    """
    if answer.decoded is not None and answer.p_yes is None:
        return answer.decoded
    if answer.unreadable:
        return None
    if answer.p_yes is not None:
        return answer.p_yes >= threshold if 0 <= answer.p_yes <= 1 else None
    return yes_or_no(answer.text)


def _is_one_word(text: str) -> bool:
    """Whether plain words are one yes or no that cannot be the beginning of another word, or of a sentence that goes on."""
    word = text.rstrip(".!")
    return word in SIDES and (word != text or not _UNSPACED.search(word))
