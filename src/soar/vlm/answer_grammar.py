"""What plain words mean: a grammar of what an answer may look like. What does not fit it is undecidable.

    answer       question? (explanation? decision | decision explanation?) offer?
    decision     a yes or no: the first thing that is said, or under a label ("the answer is no", "Answer:\\nno"), or as the
                 last sentence or the conclusion of an explanation ("The drawer is shut, so no.")
    explanation  clauses that each say where something is or in what state (`soar.vlm.answer_statements`), or confirm: "it is"
                 beside a yes, "it isn't" beside a no
    question     like an explanation, with a question mark

A thought under a heading ("Reasoning:") is an explanation, and ends with a label that is a heading too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from soar.vlm.answer_statements import WORDS, doubt, question_problem, statement_problem
from soar.vlm.answer_words import (
    AFFIRMED,
    CONCLUDER,
    HEADING,
    IN_PICTURE,
    LABEL,
    OFFER,
    OPENERS,
    PROMPT,
    REWRITTEN,
    SIDE,
    SIDES,
    STARTER,
)

_CLAUSE = re.compile(r"((?:[^,:;()\n.!?-]|(?<=\w)-(?=\w))*)([,:;()\n.!?\- ]*)")
_DECISION = re.compile(rf"((?:{CONCLUDER})?){OPENERS}({SIDE}(?: {SIDE})*)(?: ({STARTER}.*))?")
_FILLER = re.compile(rf"{OPENERS}(?:here )?")
_COUNTED = re.compile(
    r"\bno\. (?:(?:one|two|three|four|five|six|seven|eight|nine|ten|first|second|[ivx]+|[b-z])\b|a (?:is|was|has)\b)"
)
"""The number of something, not a no."""
_MOST = 3
"""Times that a yes or no is said; more is a model that has lost itself."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A clause, or a part of one, and what stands behind it.

    Attributes:
        kind: What it is.
        text: Its words.
        stop: The punctuation behind it.
        first: Whether it begins its sentence.
        means: The side of a decision.
        concludes: Whether a decision says that it follows from what is before it.
    """

    kind: Literal["decision", "label", "heading", "other"]
    text: str
    stop: str = ""
    first: bool = False
    means: bool = False
    concludes: bool = False


def meaning(text: str, signs: frozenset[bool] = frozenset()) -> tuple[bool | None, str]:
    """Return what plain words mean, and why they mean nothing.

    Args:
        text: As `soar.vlm.answer_layout.plain` returns it.
        signs: What signs in the text mean.
    """
    for pattern, instead in REWRITTEN:
        text = pattern.sub(instead, text)
    sentences = _sentences(text)
    while len(sentences) > 1 and OFFER.fullmatch(_words(sentences[-1])):
        sentences.pop()
    while len(sentences) > 1 and (_asks(sentences[0]) or PROMPT.fullmatch(_words(sentences[0]))):
        if _asks(asked := sentences.pop(0)) and (problem := question_problem(_words(asked))):
            return None, problem
    parts = [part for sentence in sentences for part in _parts(sentence)]
    said = {part.means for part in parts if part.kind == "decision"}
    if len(said | signs) > 1:
        return None, "it says both yes and no"
    if len(said) == 0:
        return None, next((found for part in parts if (found := doubt(part.text))), "it says neither yes nor no")
    if any(_asks(sentence) for sentence in sentences):
        return None, "it asks"
    (verdict,) = said
    problem = (
        _explanation_problem(parts, verdict) or _misplaced(parts) or ("its no is a number's" if _COUNTED.search(text) else "")
    )
    return (None if problem else verdict), problem


def _sentences(text: str) -> list[list[tuple[str, str]]]:
    """Return the clauses of each sentence, with the punctuation behind them."""
    sentences: list[list[tuple[str, str]]] = [[]]
    for clause, stop in _CLAUSE.findall(re.sub(" +", " ", IN_PICTURE.sub(" here ", text))):
        if clause := clause.strip():
            sentences[-1].append((clause, stop))
            if re.search(r"[.!?;\n]", stop):
                sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _words(sentence: Sequence[tuple[str, str]]) -> str:
    return ", ".join(clause for clause, _ in sentence)


def _asks(sentence: Sequence[tuple[str, str]]) -> bool:
    return "?" in sentence[-1][1]


def _parts(sentence: Sequence[tuple[str, str]]) -> list[_Part]:
    parts: list[_Part] = []
    for clause, stop in sentence:
        if not _FILLER.fullmatch(clause + " "):
            parts += _classified(clause.removeprefix("here "), stop, first=not parts)
    return parts


def _classified(text: str, stop: str, *, first: bool) -> list[_Part]:
    """Return what a clause is made of."""
    if HEADING.fullmatch(text):
        return [_Part("heading", text, stop, first)]
    if match := _DECISION.fullmatch(text):
        so, said, rest = match.groups()
        words, more = WORDS.findall(said), [] if rest is None else [_Part("other", rest, stop)]
        return [*(_Part("decision", word, stop, first, SIDES[word], bool(so)) for word in words), *more]
    if match := LABEL.match(text):
        rest = text[match.end() :].strip()
        if not rest:
            return [_Part("label", text, stop, first)]
        if _DECISION.fullmatch(rest):
            return [_Part("label", match[0], "", first), *_classified(rest, stop, first=False)]
    return [_Part("other", text, stop, first)]


def _explanation_problem(parts: Sequence[_Part], verdict: bool) -> str:
    """Return why what is said beside a yes or no does not explain it; empty when it does."""
    said = explained = False
    for part in parts:
        said = said or part.kind == "decision"
        if part.kind != "other" or (said and AFFIRMED[verdict].fullmatch(part.text)):
            continue
        if problem := statement_problem(part.text, negatable=not verdict, goes_on=explained):
            return problem
        explained = True
    return ""


def _misplaced(parts: Sequence[_Part]) -> str:
    """Return why a yes or no is none that answers, by where it stands; empty when all of them answer."""
    decisions = [index for index, part in enumerate(parts) if part.kind == "decision"]
    if len(decisions) > _MOST:
        return "it repeats itself"
    headed = any(part.kind == "heading" for part in parts[: decisions[0]])
    for index, part in enumerate(parts):
        before = parts[index - 1] if index else None
        if part.kind == "label" and (index + 1 not in decisions or re.search("[.!;]", part.stop)):
            return "its label has no answer"
        if part.kind != "decision":
            continue
        label = before if before and before.kind == "label" else None
        opens = all(other in decisions for other in range(index))
        ends = (part.first or part.concludes) and all(other in decisions for other in range(index, len(parts)))
        echoes = opens and before and re.search(r"[:\n]", before.stop) and before.text != part.text
        if headed and not (label and re.search(r"[:\n]", label.stop) and parts[index - 2].kind == "other"):
            return "it is a thought without an answer"
        if echoes or not (label or opens or ends):
            return "its yes or no is not an answer"
    return ""
