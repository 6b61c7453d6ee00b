"""Progress bars with the time that is left; on a log (no terminal) one line now and then instead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column

from soar.progress import Progress as ProgressReport
from soar.untrusted import printable

_LOG_EVERY_S = 20.0


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        note = printable(note)
        if phase not in self._tasks:
            # What an earlier call had finished takes no time now: the clock starts here.
            self._tasks[phase] = self._progress.add_task(phase, total=total, note=note, completed=done)
        self._progress.update(self._tasks[phase], completed=done, total=total, note=note)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, float] = {}

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done < total and now - self._last.get(phase, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        self._last[phase] = now
        line = f"{phase}: {done}/{total} {printable(note)}".rstrip()
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def _whole() -> Column:
    return Column(no_wrap=True)


@contextmanager
def progress_bars(console: Console | None = None, *, talking: bool = False) -> Iterator[ProgressReport]:
    """Yield the function that long work reports to; the bars stand as long as the context.

    Args:
        console: Where they stand; standard error by default.
        talking: Somebody is asked at the terminal meanwhile: lines, which leave the questions where they are.
    """
    console = console or Console(stderr=True)
    if talking or not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}", table_column=_whole()),
        BarColumn(bar_width=16, table_column=_whole()),
        MofNCompleteColumn(table_column=_whole()),
        TimeElapsedColumn(table_column=_whole()),
        TextColumn("left", table_column=_whole()),
        TimeRemainingColumn(table_column=_whole()),
        # What is long is cut, and nothing before it.
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, refresh_per_second=4, expand=True) as progress:
        yield _Bars(progress)
