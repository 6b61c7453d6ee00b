"""Robots as they are now, from the files that they leave (`soar.collect.live`), for any number of pages.

A page asks for what is newer than what it has, and is answered when there is something, or after `PATIENCE_S` (a long poll).
So a page behind a thin link gets fewer pictures and never an old one, and a page that nobody looks at asks for nothing. Files
are read once for all pages. With many pages each is answered less often (`_PER_PAGE_S`): robots come first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar.collect.live import FOLDER, SCHEMA
from soar.console.pictures import embeddable
from soar.console.sources import Source
from soar.untrusted import parse_json

STALE_S = 15.0
"""After so long without a word a robot counts as gone [s]."""
FORGOTTEN_S = 86_400.0
"""Older files are shown no more [s]."""
PATIENCE_S = 20.0
_LOOK_S = 0.2
_PER_PAGE_S = 0.01
_MOST = 64
_MOST_BYTES = 2**22
_TEXTS = ("robot", "phase", "instruction", "camera", "subgoal")
_LISTS = ("attempts", "faults", "answers")
_LONGEST = 500


class Live:
    """What the robots of one source do.

    Args:
        source: The run.
        clock: Seconds since the Unix epoch.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        self._source, self._clock = source, clock
        self._read: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._looked_s, self.pages = -float("inf"), 0
        self._robots: list[dict[str, Any]] = []

    def robots(self) -> list[dict[str, Any]]:
        """Return the robots by name: what they said last, `version` of it, `key` of the robot, and `age_s`."""
        now_s = self._clock()
        if not 0 <= now_s - self._looked_s < _LOOK_S:
            self._looked_s = now_s
            found = [(path, said) for path in self._files() if (said := self._said(path)) is not None]
            self._robots = sorted((said | {"key": path.stem} for path, said in found), key=lambda said: str(said["robot"]))
        aged = [robot | {"age_s": max(0.0, now_s - robot["time_s"])} for robot in self._robots]
        return [robot | {"gone": robot["age_s"] > STALE_S} for robot in aged if robot["age_s"] < FORGOTTEN_S][:_MOST]

    async def newer(self, versions: dict[str, int]) -> list[dict[str, Any]]:
        """Return the robots that have said something new, soon after they did; nothing after `PATIENCE_S`.

        Args:
            versions: What the page has, by key.
        """
        self.pages += 1
        try:
            await asyncio.sleep(min(2.0, _LOOK_S + self.pages * _PER_PAGE_S))
            deadline_s = time.monotonic() + PATIENCE_S
            while True:
                # Small files on this computer: reading them takes less time than a thread would.
                new = [robot for robot in self.robots() if versions.get(robot["key"]) != robot["version"]]
                if new or time.monotonic() > deadline_s:
                    return new
                await asyncio.sleep(_LOOK_S)
        finally:
            self.pages -= 1

    def _files(self) -> list[Path]:
        run = self._source.run
        if run is None:
            return []
        # Robots of a fleet that stand here have their files in their spools.
        files = [*(run / FOLDER).glob("*.json"), *(run / "spool").glob(f"*/{FOLDER}/*.json")]
        return [path for path in files if path.name != "progress.json" and not path.name.startswith(".")][: 4 * _MOST]

    def _said(self, path: Path) -> dict[str, Any] | None:
        """Return what is in a file, read only when it has changed; None for what is no robot's."""
        try:
            status = path.stat()
            before = self._read.get(path)
            if before is not None and before[0] == status.st_mtime_ns:
                return before[1]
            if status.st_size > _MOST_BYTES:
                return None
            said = parse_json(path.read_bytes())
            if said["schema"] != SCHEMA or not isinstance(said["time_s"], int | float):
                return None
            if not all(isinstance(said[name], str) for name in _TEXTS) or not all(isinstance(said[n], list) for n in _LISTS):
                return None
            said |= {name: embeddable(said[name]) for name in ("camera", "subgoal")}
            said |= {name: [_plain(one) for one in said[name] if isinstance(one, dict)] for name in _LISTS}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        said["version"] = status.st_mtime_ns // 1000  # JavaScript's numbers have fewer digits
        self._read[path] = (status.st_mtime_ns, said)
        return dict(said)


def _plain(said: dict[str, Any]) -> dict[str, Any]:
    """Return what a robot says of one thing, as a page can show it whatever it is."""
    as_it_is = (bool, int, float, type(None))
    return {name: value if isinstance(value, as_it_is) else str(value)[:_LONGEST] for name, value in said.items()}
