"""The words of yes, no, doubt and negation, from answer_words.yaml beside this module, which says what each list is for."""

from __future__ import annotations

import re
from importlib.resources import files

import yaml

_LISTS = yaml.safe_load(files("soar.vlm").joinpath("answer_words.yaml").read_text(encoding="utf-8"))


def _pattern(name: str) -> re.Pattern[str]:
    text = "|".join(f"(?:{pattern})" for pattern in _LISTS[name])
    return re.compile(text.replace("PICTURE", _LISTS["picture"]).replace("GIVEN", _LISTS["given"]))


SIDES: dict[str, bool] = {word: means for name, means in (("yes", True), ("no", False)) for word in _LISTS[name].split()}
"""The words that mean yes or no, when they stand as an answer."""
NEGATIONS = frozenset(_LISTS["negations"].split())
"""Words after which a yes cannot be believed, nor a no that is not the first word."""
NEGATION_PARTS: tuple[str, ...] = tuple(_LISTS["negation_parts"].split())
"""The same in writing without spaces."""
DOUBTS = frozenset(f"{_LISTS['contrasts']} {_LISTS['guesses']}".split())
"""Words beside which nothing is decided."""
DOUBT_PARTS: tuple[str, ...] = tuple(_LISTS["guess_parts"])
"""The same in writing without spaces."""
DOUBT = _pattern("doubts")
"""Turns of phrase beside which nothing is decided."""
LABELS = "|".join(_LISTS["labels"].split())
"""What an answer is called before it is given, as a pattern."""
NO_PICTURE = _pattern("no_picture")
"""A model that says that it was shown nothing."""
