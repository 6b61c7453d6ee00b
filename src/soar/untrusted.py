"""What others wrote, taken without harm: JSON and YAML of any shape, texts that go to a terminal.

A parser that works by recursion ends where Python's stack ends, with an error that is no `ValueError`; a few aliases of YAML
can stand for more values than there is memory. Here both are a `ValueError` that says so, as is whatever else a parser raises.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 64
"""Lists and mappings within one another."""
_HALF = re.compile("\\\\u[dD][89a-fA-F]|[\ud800-\udfff]")
"""Halves of characters, of which two are one."""
_MOST_YAML = 1_000_000
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and newline: a terminal takes them for commands. The last ones turn the order of letters around."""


def parse_json(text: str | bytes) -> Any:
    """Return the value in a JSON text; half a character in it (a lone surrogate), which can be written nowhere, is a `?`.

    So is, in the name of a file, each byte that is no UTF-8.

    Raises:
        ValueError: It is not JSON, not in UTF-8, or nested more than `DEEPEST` deep.
    """
    raw = isinstance(text, str) and not text.isascii()  # such a text may hold halves as they are
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    if text.count("[") + text.count("{") > DEEPEST:
        _check_depth(value, None)
    if (raw or "\\u" in text) and _HALF.search(text):
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def parse_yaml(text: str) -> Any:
    """Return the value in a YAML text.

    Raises:
        ValueError: It is not YAML, nested more than `DEEPEST` deep, or stands for more than a million values.
    """
    import yaml  # `soar --help` prints texts, and reads no YAML

    try:
        value = yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from error
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, OverflowError) as error:
        # So the parser says that a date, a number or a tag is none.
        raise ValueError(f"not valid YAML: {error or type(error).__name__}") from error
    _check_depth(value, _MOST_YAML)
    return value


def printable(text: str) -> str:
    """Return a text in which what a terminal would obey is shown instead, such as `\\x1b`; newlines and tabs stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _check_depth(value: Any, most: int | None) -> None:
    """Refuse what is nested too deeply, or larger than `most`; counts what an alias stands for each time."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list | tuple | set):
                inner += one
            if most is not None and count + len(inner) > most:
                raise ValueError(f"it stands for more than {most} values")
        count += len(inner)
        level = [one for one in inner if isinstance(one, dict | list | tuple | set)]
        if not level:
            return
    raise ValueError(_too_deep())


def _too_deep() -> str:
    return f"it is nested more than {DEEPEST} deep"
