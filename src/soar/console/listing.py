"""The list of a store's episodes: which ones somebody asked for, a page of them, and what there is to choose from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc

from soar.episodes.browsing import Browser
from soar.episodes.filters import quoted
from soar.errors import ConfigError

VERDICTS = {"success": "success", "failure": "NOT success", "undecided": "success IS NULL"}
PAGE = 48
_CHOICES = 200
_LONGEST = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What somebody asks for; empty texts ask for nothing.

    Attributes:
        task: The instruction.
        robot: Its name.
        policy: Its id.
        verdict: One of `VERDICTS`.
        least: Least probability of success that the verdict came with.
        most: Greatest.
        since: First day or time, such as 2026-11-29 or 2026-11-29T08:30, in this computer's time zone.
        until: Last day, whole, or time.
        where: SQL, as in `soar data --where`.
        order: `newest` or `oldest` first.
        page: From 1.
    """

    task: str = ""
    robot: str = ""
    policy: str = ""
    verdict: str = ""
    least: str = ""
    most: str = ""
    since: str = ""
    until: str = ""
    where: str = ""
    order: str = "newest"
    page: int = 1

    def sql(self) -> str | None:
        """Return the filter, None for all episodes.

        Raises:
            ConfigError: A number, day or verdict is none.
        """
        parts = [f"{name} = {quoted(text)}" for name, text in self._named() if text]
        if self.verdict:
            if self.verdict not in VERDICTS:
                raise ConfigError(f"verdict {self.verdict!r}: choose one of {', '.join(VERDICTS)}")
            parts.append(VERDICTS[self.verdict])
        for text, sign in ((self.least, ">="), (self.most, "<=")):
            if text:
                parts.append(f"probability {sign} {_number(text)!r}")
        if self.since:
            parts.append(f"created_s >= {_seconds(self.since, end=False)!r}")
        if self.until:
            parts.append(f"created_s < {_seconds(self.until, end=True)!r}")
        if self.where.strip():
            parts.append(f"({self.where}\n)")
        return " AND ".join(parts) or None

    def query(self, **changes: object) -> str:
        """Return it as the query of an address, without what is as by default."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | changes
        return urlencode(
            {name: value for name, value in values.items() if value not in ("", None) and value != _DEFAULTS[name]}
        )

    def _named(self) -> list[tuple[str, str]]:
        return [("instruction", self.task), ("robot", self.robot), ("policy", self.policy)]


_DEFAULTS = {field.name: field.default for field in fields(Filters)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of a list.

    Attributes:
        rows: Its episodes, as `Browser.table` has them.
        count: How many match.
        page: Its number, from 1.
        pages: How many there are.
        total: Episodes of the store.
        choices: Tasks, robots and policies that there are, most frequent first.
    """

    rows: list[dict[str, Any]]
    count: int
    page: int
    pages: int
    total: int
    choices: dict[str, list[str]]


def parsed(query: Mapping[str, str]) -> Filters:
    """Return the filters in the query of an address; what is not known is left out."""
    said = {name: text[:_LONGEST] for name, text in query.items() if name in _DEFAULTS and name != "page"}
    page = query.get("page", "1")
    return Filters(**said, page=int(page) if page.isdecimal() and 0 < len(page) < 8 else 1)


def matching(browser: Browser, filters: Filters) -> pa.Table:
    """Return the episodes that somebody asks for, as `Browser.table` does.

    Raises:
        ConfigError: A filter is invalid.
        StoreError: The SQL is invalid, or the store cannot be read.
    """
    if filters.where.strip():
        _check_words(filters.where)
        browser.check(filters.where)  # a bracket too many would reach into the other filters
    return browser.table(filters.sql())


def listing(browser: Browser, filters: Filters, size: int = PAGE) -> Listing:
    """Return a page.

    Raises:
        ConfigError: A filter is invalid.
        StoreError: The SQL is invalid, or the store cannot be read.
    """
    everything, found = browser.table(), matching(browser, filters)
    pages = max(1, math.ceil(len(found) / size))
    page = min(max(1, filters.page), pages)
    begin = (page - 1) * size
    if filters.order == "oldest":
        rows = found.slice(begin, size).to_pylist()
    else:
        end = len(found) - begin
        rows = found.slice(max(0, end - size), min(size, end)).to_pylist()[::-1]
    return Listing(
        rows=rows,
        count=len(found),
        page=page,
        pages=pages,
        total=len(everything),
        choices={name: _most(everything[column]) for name, column in _COLUMNS.items()},
    )


def _check_words(where: str) -> None:
    """Refuse SQL that may take any amount of memory or time: pages are open to people who may only look."""
    plain = re.sub(r"'(?:[^']|'')*'", "''", where)
    if odd := re.search(r"--|/\*|[$\\]|\w'", plain):
        raise ConfigError(f"{odd[0]!r} has no place in a filter here; `soar data` on the store takes all of SQL")
    called = {name.lower() for name in re.findall(r"""(\w+|"[^"]*"|`[^`]*`)\s*\(""", plain)}
    if unknown := sorted(called - _FUNCTIONS - _WORDS):
        raise ConfigError(
            f"{unknown[0]}(…) has no place in a filter here: use {', '.join(sorted(_FUNCTIONS))}; `soar data` on the store "
            "takes all of SQL"
        )


_FUNCTIONS = frozenset(["abs", "array_contains", "array_has", "cast", "coalesce", "contains", "lower", "round", "upper"])
_WORDS = frozenset(["and", "between", "case", "else", "ilike", "in", "is", "like", "not", "or", "then", "when"])
_COLUMNS = {"task": "instruction", "robot": "robot", "policy": "policy"}


def _most(column: pa.ChunkedArray) -> list[str]:
    counts = pc.value_counts(column).to_pylist()
    counts.sort(key=lambda one: -int(one["counts"]))
    return [one["values"] for one in counts if one["values"]][:_CHOICES]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ConfigError(f"{text[:40]!r} is no probability: it lies between 0 and 1")
    return value


def _seconds(text: str, *, end: bool) -> float:
    try:
        seconds = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"{text[:40]!r} is no day or time: write 2026-11-29 or 2026-11-29T08:30") from error
    return seconds + (86_400 if end and len(text) <= 10 else 0)
