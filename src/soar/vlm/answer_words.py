"""The words of answers, from answer_words.yaml beside this module, which says what each list is for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files

import yaml

_LISTS = yaml.safe_load(files("soar.vlm").joinpath("answer_words.yaml").read_text(encoding="utf-8"))


def _words(*names: str) -> frozenset[str]:
    return frozenset(word.replace("_", " ") for name in names for word in _LISTS[name].split())


def _either(patterns: list[str]) -> str:
    """Return one pattern of several, in which capitals stand for what they name."""
    return _named("|".join(f"(?:{pattern})" for pattern in patterns))


def _named(pattern: str) -> str:
    return pattern.replace("WORD", WORD).replace("PICTURE", _LISTS["picture"]).replace("GIVEN", _LISTS["given"])


def _any_of(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


WORD = r"(?:[^\W\d_]+(?:['-][^\W\d_]+)*)"
"""Any word, as a pattern."""


def _rewritings(name: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(_named(str(pattern))), str(instead)) for pattern, instead in _LISTS[name])


SIDES: dict[str, bool] = {word: means for name, means in (("yes", True), ("no", False)) for word in _LISTS[name].split()}
"""The words that mean yes or no, when they stand as an answer."""
SIDE = rf"(?:{_any_of(SIDES)})(?![\w'-])"
"""One of them, as a pattern."""
OPENERS = rf"(?:(?:{_any_of(_words('openers'))}) )*"
"""What may stand before a yes or no, as a pattern."""
CONCLUDER = rf"(?:{_either(_LISTS['concluders'])})(?: |(?<=[\u3040-\u30ff\u3400-\u9fff]) ?)"
"""What leads from an explanation to a yes or no behind it, as a pattern."""
STARTER = rf"(?:{_any_of(_words('starters'))})\b"
"""What an explanation begins with that follows a yes or no without a comma, as a pattern."""
LABELS = "|".join(_LISTS["labels"].split())
"""What an answer is called before it is given, as a pattern."""
LABEL = re.compile(
    rf"(?:{CONCLUDER})?{OPENERS}(?:(?:{_any_of(_words('label_words'))})(?: |(?<='))?)*(?:{LABELS})"
    rf"(?: ?(?:{_either(_LISTS['label_ends'])}))*(?![\w'-])"
)
"""The same as a heading, or as the beginning of a sentence."""
HEADING = re.compile(rf"(?:(?:my|the|short|brief|detailed) )?(?:{_any_of(_words('headings'))})(?: process)?")
"""What an explanation is called."""
AFFIRMED = {
    means: re.compile(_either([*_LISTS["affirmed"], *_LISTS[f"affirmed_{name}"]]))
    for name, means in (("yes", True), ("no", False))
}
"""Clauses that add nothing to a yes (True) or a no (False)."""
IN_PICTURE = re.compile(_either(_LISTS["in_picture"]))
"""The picture, where it only says where."""
CONNECTIVES, DETERMINERS, PREPOSITIONS, VERBS, ADVERBS, COLOURS, STATES = (
    _any_of(_words(name)) for name in ("connectives", "determiners", "prepositions", "verbs", "adverbs", "colours", "states")
)
"""Of explanations, as patterns; as are the following."""
PLACES = _either(_LISTS["places"])
"""What a place begins with, up to its noun."""
STATEMENTS: tuple[str, ...] = tuple(text.replace("EXISTS", f"(?:{_LISTS['exists']})") for text in _LISTS["statements"])
"""Explanations of other forms, in which PLACE and WORD stand for what they name."""
UNSPACED = _either(_LISTS["unspaced"])
"""Explanations in writing without spaces."""
SURE_ADVERBS = _words("adverbs", "openers")
"""Adverbs that are none of doubt."""
NEGATED, REWRITTEN = _rewritings("negated"), _rewritings("rewritten")
"""What a no may negate in its explanation, and words that would be taken for a yes or no; each with what it becomes."""
SEEN = _rewritings("seen")
"""What is said to be seen, as what is there."""
NEGATIONS = _words("negations")
"""Words beside which a yes cannot be believed, nor a no, when they are not in what is `NEGATED`."""
NEGATION_PARTS: tuple[str, ...] = tuple(_LISTS["negation_parts"].split())
"""The same in writing without spaces."""
DOUBTS = _words("contrasts", "guesses", "seeing", "speakers")
"""Words beside which no explanation is believed."""
DOUBT_PARTS: tuple[str, ...] = tuple(_LISTS["doubt_parts"])
"""The same in writing without spaces."""
DOUBT_TURNS = re.compile(_either(_LISTS["doubt_turns"]))
"""The same, of several words."""
NOWHERE = re.compile(_either(_LISTS["nowhere"]))
"""A thing that is not in the picture at all."""
ASKER = re.compile(rf"^(?:{_any_of(_LISTS['askers'])}), ")
"""What stands before a question that is repeated."""
PROMPT = re.compile(_either(_LISTS["prompts"]))
"""The prompt, repeated."""
OFFER = re.compile(_either(_LISTS["offers"]))
"""An offer at the end."""
NO_PICTURE = re.compile(_either(_LISTS["no_picture"]))
"""A model that says that it was shown nothing."""
