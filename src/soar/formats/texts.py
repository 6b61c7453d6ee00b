"""Texts of foreign files: instructions and verdicts. What is unknown stays unknown, and what is no text is refused.

Texts are UTF-8. A byte-order mark, padding by NUL and white space around a text are dropped. A null, and the words
that programs write for it (`None`, `null`, `nan`), are no text. A NUL inside a text, or bytes that are not UTF-8, are refused.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soar.errors import FormatError

Spoken = tuple[tuple[int, str], ...]
"""Instructions with the step at which each begins."""
_AROUND = "\ufeff\u200b\u2060\0"
_NOTHING = {"none", "null", "nan"}
_BYTES_LITERAL = re.compile(r"b(['\"]).*\1", re.DOTALL)
_VERDICTS = {"true": True, "false": False}
_log = logging.getLogger(__name__)


def read_text(path: Path) -> str:
    """Return the content of a text file, without a byte-order mark.

    Raises:
        FileNotFoundError: There is none.
        FormatError: It cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 ({error}); save it in that encoding") from error
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error


def text_of(value: Any, place: str) -> str:
    """Return a text as it was meant; empty where there is none.

    Args:
        value: A text, its bytes in UTF-8, or a null of any kind.
        place: File and place, for messages.

    Raises:
        FormatError: It is something else, is not UTF-8, or holds a NUL.
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"{place}: the text {value[:80]!r} is not UTF-8 ({error}); repair the text") from error
    if not isinstance(value, str):
        raise FormatError(f"{place}: a text is expected, there is {value!r}")
    text = _trimmed(value)
    if _BYTES_LITERAL.fullmatch(text):
        # What Python's str() makes of bytes, as some converters write it.
        try:
            return text_of(ast.literal_eval(text), place)
        except (SyntaxError, ValueError):
            return text
    if "\0" in text:
        raise FormatError(f"{place}: the text {text[:80]!r} holds a NUL; is it UTF-16, or binary? Write it in UTF-8")
    return "" if text.lower() in _NOTHING else text


def spoken(texts: Sequence[str]) -> Spoken:
    """Return the instructions of an episode from those of its steps; a step without one goes on with the one before."""
    found: list[tuple[int, str]] = []
    for step, text in enumerate(texts):
        if text and (not found or text != found[-1][1]):
            # Whatever comes before the first instruction was done for it.
            found.append((step if found else 0, text))
    return tuple(found)


def verdict_of(value: Any, place: str) -> bool | None:
    """Return whether something succeeded, None where that is unknown: a null, nothing, NaN, a negative number.

    Of several values, those of an episode's steps, the last one counts. Where an earlier one says success and the last one does
    not, and where it is a fraction, as a probability is, there is no verdict, and that is said.

    Raises:
        FormatError: It is neither true nor false nor unknown.
    """
    verdicts = [_verdict(one, place) for one in _values(value)]
    last = verdicts[-1] if verdicts else None
    if isinstance(last, float):
        _log.warning("%s is %.4g, neither 0 nor 1: no verdict", place, last)
        return None
    if True in verdicts and last is not True:
        _log.warning(
            "%s is true at step %d and not at the last, %d: no verdict", place, verdicts.index(True), len(verdicts) - 1
        )
        return None
    return last


def folder_verdict(name: str) -> bool | None:
    """Return the verdict that the name of a folder or a split is, as released data has them."""
    return {"success": True, "failure": False}.get(name)


def agreed_verdict(said: Mapping[str, bool | None], place: str) -> bool | None:
    """Return the verdict of several sources; none, and it is said, where they contradict one another.

    Args:
        said: What each of them says.
        place: File and place, for messages.
    """
    known = {source: verdict for source, verdict in said.items() if verdict is not None}
    if len(set(known.values())) > 1:
        words = ", ".join(f"{source} says {'success' if verdict else 'failure'}" for source, verdict in known.items())
        _log.warning("%s: %s: no verdict", place, words)
        return None
    return next(iter(known.values()), None)


def _values(value: Any) -> list[Any]:
    """Return the single values of whatever a file holds."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return [one for item in value for one in _values(item)] if isinstance(value, list | tuple) else [value]


def _verdict(value: Any, place: str) -> bool | float | None:
    """Return what a single value says; a number between 0 and 1 as it is."""
    if isinstance(value, bytes | str):
        word = text_of(value, place).lower()
        try:
            value = _VERDICTS[word] if word in _VERDICTS else float(word) if word else None
        except ValueError:
            value = word
    if value is None or (isinstance(value, int | float) and (np.isnan(value) or value < 0)):
        return None
    if not isinstance(value, int | float) or value > 1:
        raise FormatError(f"{place} must say True or False, or nothing; it says {value!r}")
    return bool(value) if value in (0, 1) else float(value)


def _trimmed(text: str) -> str:
    before = None
    while text != before:
        before, text = text, text.strip().strip(_AROUND)
    return text
