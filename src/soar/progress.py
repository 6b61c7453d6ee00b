"""How long work says how far it is: to whoever waits for it, and to a file for whoever looks."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Protocol

from soar.files import refresh_json

FILE = Path("live", "progress.json")
"""Where a run says how far it is, in its folder."""
_EVERY_S = 0.5


class Progress(Protocol):
    """What long work calls as it goes on; the command line draws bars, the library knows nothing of them."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` of a phase are done."""
        ...


class ProgressFile:
    """Reports on, and keeps what was said last in a file: phase, done, total, note, time_s, and begun_s with done_then.

    A file that cannot be written is done without: nothing waits for whoever looks.

    Args:
        run: Folder of the run.
        report: Who else hears.
    """

    def __init__(self, run: Path, report: Progress) -> None:
        self._path, self._report = run / FILE, report
        self._phase, self._begun_s, self._done_then, self._written_s = "", 0.0, 0, 0.0

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` of a phase are done."""
        self._report(phase, done, total, note)
        now_s = time.time()
        if phase != self._phase:
            # What an earlier call had finished took no time of this one.
            self._phase, self._begun_s, self._done_then, self._written_s = phase, now_s, done, 0.0
        if done < total and now_s - self._written_s < _EVERY_S:
            return
        self._written_s = now_s
        said = {"phase": phase, "done": done, "total": total, "note": note, "time_s": now_s}
        with contextlib.suppress(OSError):
            refresh_json(self._path, said | {"begun_s": self._begun_s, "done_then": self._done_then})
