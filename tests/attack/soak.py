"""`make soak`: all attacks at full size, in pieces, and an hour of collection beside them.

    python -m tests.attack.soak --results results/reliability.json [--minutes 60] [--pieces 20] [--only killing shell]

Each piece of each attack is added to the rows of the file as soon as it is done, so that an interrupted call goes on where it
was. `make tables` draws the file in docs/reliability.md. Every column but `what` and `count` should be 0; the exit status says
whether it is.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soar.evaluation.results import write_results
from soar.files import write_json

from .killing import make_lab, start
from .tally import Tally

PARTS = ("killing", "writers", "floods", "network", "fuzzing", "shell")
"""Modules with a function `soak(folder, scale, seed)` that returns rows; a scale of 1 is all of it."""
COMMAND = "make soak"
_EVERY_S = 10.0
_GROWTH = 1.1
"""How much more memory a collection may have in the last third than in the middle one."""


class Collection(threading.Thread):
    """Collects all the time, and watches the memory and the threads of the process that does."""

    def __init__(self, folder: Path, minutes: float) -> None:
        super().__init__(daemon=True)
        self._minutes = minutes
        self._lab = make_lab(folder / "hour", "collect")
        self._process = start(self._lab, self._lab.words())
        self._over = threading.Event()
        self.samples: list[tuple[int, int]] = []

    def run(self) -> None:
        """Sample until the time is over or the command has ended."""
        while len(self.samples) * _EVERY_S < self._minutes * 60 and self._process.exitcode is None:
            if self._over.wait(_EVERY_S):
                return
            self.samples.append(_memory_and_threads(self._process.pid or 0))

    def kill(self) -> None:
        """End it, when the soak is interrupted."""
        self._over.set()
        self._process.kill()
        self._process.join()

    def row(self) -> Tally:
        """Stop it with Ctrl-C, and return what was seen."""
        self._over.set()
        self.join()
        tally = Tally(what="minutes of collection with flat memory", count=round(len(self.samples) * _EVERY_S / 60))
        tally.unclear += self._process.exitcode is not None
        with contextlib.suppress(ProcessLookupError):  # it has ended, which is unclear
            os.kill(self._process.pid or 0, signal.SIGINT)
        self._process.join()
        tally.unclear += self._process.exitcode != 130
        third = len(self.samples) // 3
        if third:
            middle, last = (self.samples[third : 2 * third], self.samples[2 * third :])
            for column in (0, 1):
                before, after = (statistics.median(sample[column] for sample in part) for part in (middle, last))
                tally.unclear += after > _GROWTH * before
                print(f"collection: {('bytes', 'threads')[column]} {before:.0f}, in the last third {after:.0f}", flush=True)  # noqa: T201
        return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is left; return 1 when anything went wrong, ever."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("results/reliability.json"))
    parser.add_argument("--minutes", type=float, default=60.0, help="of collection beside the attacks")
    parser.add_argument("--pieces", type=int, default=20, help="that each attack is done in")
    parser.add_argument("--scale", type=float, default=1.0, help="of all of it; 1 for 200 kills, 10,000 requests, …")
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS)
    flags = parser.parse_args(arguments)
    progress = flags.results.with_suffix(".progress.json")
    done: Counter[str] = Counter(_read(progress))
    rows = {row["what"]: Tally(**row) for row in _read(flags.results).get("rows", [])} if done else {}

    def add(tally: Tally) -> None:
        rows.setdefault(tally.what, Tally(what=tally.what)).add(tally)
        print(tally.row(), flush=True)  # noqa: T201

    def write() -> None:
        write_results(flags.results, COMMAND, [row.row() for row in rows.values()])
        write_json(progress, done)

    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        beside = None if done["collection"] or not flags.minutes else Collection(Path(name), flags.minutes)
        interrupted = contextlib.ExitStack()
        if beside is not None:
            beside.start()
            interrupted.callback(beside.kill)
        with interrupted:
            for piece in range(flags.pieces):
                for part in flags.only:
                    if done[part] > piece:
                        continue
                    folder = Path(name) / f"{part}-{piece}"
                    folder.mkdir()
                    module = importlib.import_module(f"tests.attack.{part}")
                    for tally in module.soak(folder, flags.scale / flags.pieces, piece):
                        add(tally)
                    done[part] += 1
                    write()
            interrupted.pop_all()
        if beside is not None:
            beside.join()
            add(beside.row())
            done["collection"] += 1
            write()
    if all(done[part] >= flags.pieces for part in PARTS):  # else another call, with other parts, goes on
        progress.unlink(missing_ok=True)
    bad = {what: row.bad for what, row in rows.items() if row.bad}
    print(f"{len(rows)} rows in {flags.results}; {bad or 'all zero'}", flush=True)  # noqa: T201
    return int(bool(bad))


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return values


def _memory_and_threads(pid: int) -> tuple[int, int]:
    try:
        said = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(said["VmRSS"].split()[0]) * 1024, int(said["Threads"])
    except (OSError, KeyError):
        return 0, 0


if __name__ == "__main__":
    sys.exit(main())
