"""What a console shows: runs and stores, by the names that they have in its addresses. Nothing is written into them here."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from soar.episodes import tables
from soar.episodes.browsing import Browser
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, StoreError, UnknownNameError
from soar.event_log import Journal

_MARKS = ("events.jsonl", "config.yaml", "episodes", "live")
"""One of these makes a folder a run's."""


@dataclass(slots=True, kw_only=True)
class Source:
    """A run, or a store without one.

    Attributes:
        name: In addresses: letters, digits, dashes, dots and underscores.
        title: As it was named.
        run: Folder of the run; None for a store.
        uri: Of the store.
    """

    name: str
    title: str
    run: Path | None
    uri: str
    _browser: Browser | None = None
    _store: EpisodeStore | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def browser(self) -> Browser | None:
        """What reads its episodes; None while a run has none.

        Raises:
            StoreError: The store cannot be read.
        """
        with self._lock:
            if self._browser is None and (self.run is None or tables.complete(self.uri)):
                self._browser = Browser(self.uri)
            return self._browser

    @contextmanager
    def writing(self) -> Iterator[EpisodeStore]:
        """The store, to write labels into it; one thread at a time.

        Raises:
            StoreError: It cannot be opened.
        """
        with self._writing:
            if self._store is None:
                self._store = EpisodeStore(self.uri)
            yield self._store

    @property
    def writable(self) -> bool:
        """Whether labels can be written; a state that has a name is read-only."""
        browser = self.browser
        if browser is None or browser.pinned:
            return False
        return not tables.is_local(browser.uri) or os.access(tables.path(browser.uri, "episodes"), os.W_OK)

    @property
    def journal(self) -> Journal | None:
        """What happened; None for a store."""
        return None if self.run is None else Journal(self.run / "events.jsonl")


def open_sources(names: Sequence[str], *, wait: bool = False) -> dict[str, Source]:
    """Return runs and stores by their names in addresses.

    Args:
        names: Folders of runs, or stores as everywhere.
        wait: Whether a run may begin later: its folder need not be there.

    Raises:
        ConfigError: One is neither, or nothing is named.
        StoreError: A store cannot be read.
    """
    if not names:
        raise ConfigError("name a run or a store, such as runs/scene1")
    sources: dict[str, Source] = {}
    for given in names:
        source = _source(given, wait)
        source.name = _address(source, sources)
        sources[source.name] = source
    return sources


def chosen(sources: dict[str, Source], name: str) -> Source:
    """Return one of the sources.

    Raises:
        UnknownNameError: There is no such one.
    """
    if name not in sources:
        raise UnknownNameError("run or store", name, sources)
    return sources[name]


def episodes_of(source: Source) -> Browser:
    """Return what reads a source's episodes.

    Raises:
        StoreError: It has none yet, or they cannot be read.
    """
    if (browser := source.browser) is None:
        raise StoreError(f"{source.title} has no episodes yet; look again when a robot has finished one")
    return browser


def _source(given: str, wait: bool) -> Source:
    path = Path(given)
    local = "://" not in given
    if local and not Path(tables.path(given, "episodes")).is_dir() and any((path / mark).exists() for mark in _MARKS):
        return Source(name="", title=given, run=path, uri=str(path / "episodes"))
    if local and wait and not path.exists():
        return Source(name="", title=given, run=path, uri=str(path / "episodes"))
    if local and not path.exists() and "@" not in given:
        raise ConfigError(f"{given}: there is no such run or store; `soar improve` and `soar collect` make runs")
    if local and path.is_dir() and not tables.exist(given):
        raise ConfigError(f"{given} is neither a run (it has none of {', '.join(_MARKS)}) nor a store of episodes")
    source = Source(name="", title=given, run=None, uri=given)
    assert source.browser is not None  # says what is wrong with it
    return source


def _address(source: Source, taken: dict[str, Source]) -> str:
    parts = [part for part in re.split(r"[/\\]+", tables.location(source.title)) if part not in ("", ".", "..")]
    last = "-".join(parts[-2:] if source.run is None and parts[-1:] == ["episodes"] else parts[-1:])
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-")[:60] or "run"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name
