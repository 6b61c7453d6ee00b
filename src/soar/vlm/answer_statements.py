"""What an explanation of a yes or no may look like, clause by clause.

    because | the | red block | is | still | on the | wooden table     connective, determiner, words, verb, adverb, place
    still | closed                                                     adverbs and a state
    there is | a spoon | in the | bowl                                 that something is there

The words may be anything but doubt, and nothing is negated but, beside a no, the whole clause. What has another form is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from soar.vlm.answer_words import (
    ADVERBS,
    ASKER,
    COLOURS,
    CONNECTIVES,
    DETERMINERS,
    DOUBT_PARTS,
    DOUBT_TURNS,
    DOUBTS,
    NEGATED,
    NEGATION_PARTS,
    NEGATIONS,
    NOWHERE,
    PLACES,
    PREPOSITIONS,
    SEEN,
    SIDES,
    STATEMENTS,
    STATES,
    SURE_ADVERBS,
    UNSPACED,
    VERBS,
    WORD,
)

WORDS = re.compile(WORD)
_ADVERBS = rf"(?:(?:{ADVERBS}) )*"
_NEXT = rf"(?: (?!(?:{DETERMINERS}|{STATES})(?![\w'-])){WORD})"
_PLACE = rf"(?:(?:{PLACES})(?:(?: (?!(?:{DETERMINERS})(?![\w'-])){WORD}){_NEXT}{{0,2}})?)"
"""A state behind a place is none: "in der Regel offen" is no more a place than "as a rule"."""
_STATE = rf"{_ADVERBS}(?:{STATES}|{COLOURS})"
_PLACES = rf"{_ADVERBS}{_PLACE}(?: (?:{_ADVERBS}|(?:and|und|et|y|e|en|и) ){_PLACE})*"
_CORES = rf"(?:{_STATE}(?: {_STATE})*(?: (?:(?:and|und|et|y|e|en|и) )?{_PLACES})?|{_PLACES})"
_VERB = rf"(?:(?:{VERBS})(?![\w'-])|{WORD}'s)"
_NOUN = rf"(?:(?!(?:{VERBS}) ){WORD})"
_BARE = rf"(?:(?!(?:{DETERMINERS}|{PREPOSITIONS}) ){_NOUN})"
_SUBJECT = rf"(?:(?:{CONNECTIVES}) )?(?:(?:{DETERMINERS}) (?:{_NOUN} ){{0,5}}|(?:{_BARE} ){{0,2}})"
_AND = re.compile(r" (?:and|und|et|y|и) ")
_STATEMENT = "|".join(  # compiled when it is needed first: it is long
    (
        rf"{_SUBJECT}(?:{_VERB} )+{_CORES}(?: {_VERB})?",
        _STATE,
        rf"{_SUBJECT}{_CORES} {_VERB}",
        *(text.replace("PLACE", _PLACE).replace("WORD", WORD) for text in STATEMENTS),
    )
)
_QUESTION = rf"(?:{WORD} ){{0,7}}{_CORES}(?: {WORD}){{0,3}}"
_HAN_KANA_HANGUL = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_ADVERB = re.compile(r"\w{3,}(?:ly|mente|ment|weise)|(?!окно|сложено)\w{3,}но|.*-(?:like|ish|looking)")
_LONGEST = 250
"""Letters of a clause."""


def statement_problem(text: str, *, negatable: bool, goes_on: bool) -> str:
    """Return why a clause explains neither a yes nor a no; empty when it may.

    Args:
        text: The clause, in small letters.
        negatable: Whether it may be negated, as beside a no.
        goes_on: Whether there is a clause before it that explains, whose verb may stand for its own.
    """
    said = _rewritten(text, SEEN)
    if NOWHERE.search(said):
        return f"{text!r} says that a thing is absent, and was asked about it"
    rest = _rewritten(said, NEGATED) if negatable else said
    if problem := doubt(rest):
        return problem
    if _negates(rest):
        return f"{text!r} negates something"
    if any(word in SIDES for word in WORDS.findall(rest)):
        return "its yes or no is not an answer"
    is_one = _is_statement(rest) or (goes_on and re.fullmatch(_CORES, rest)) or _are_statements(_AND.split(rest))
    return "" if is_one else f"{text!r} is no explanation that is known"


def question_problem(text: str) -> str:
    """Return why a question is not one about the scene that is repeated before its answer; empty when it may be."""
    text = re.sub(r",? yes or no$", "", ASKER.sub("", text))
    asks = _is_statement(text) or (len(text) <= _LONGEST and re.fullmatch(_QUESTION, text))
    return doubt(text) or ("" if asks and not _negates(text) else "it asks")


def doubt(text: str) -> str:
    """Return what makes a clause one of doubt; empty when nothing does."""
    words = WORDS.findall(text)
    found = next((word for word in words if word in DOUBTS), "") or next((part for part in DOUBT_PARTS if part in text), "")
    found = found or next((word for word in words if _ADVERB.fullmatch(word) and word not in SURE_ADVERBS), "")
    if not found and (match := DOUBT_TURNS.search(text)):
        found = match[0]
    return f"it is not sure: {found!r}" if found else ""


def _rewritten(text: str, rules: Iterable[tuple[re.Pattern[str], str]]) -> str:
    """Return a clause after the first rule that fits it."""
    for pattern, instead in rules:
        if pattern.search(text):
            return pattern.sub(instead, text, count=1)
    return text


def _are_statements(clauses: list[str]) -> bool:
    return all(_is_statement(clause) and not re.fullmatch(_STATE, clause) for clause in clauses)


def _is_statement(text: str) -> bool:
    form = UNSPACED if _HAN_KANA_HANGUL.search(text) else _STATEMENT
    return len(text) <= _LONGEST and any(re.fullmatch(form, said) for said in (text, text.removesuffix(" here")))


def _negates(text: str) -> bool:
    words = WORDS.findall(text)
    return any(word in NEGATIONS or word.endswith("n't") or any(part in word for part in NEGATION_PARTS) for word in words)
