"""The journal of a run: what happened, one JSON object a line, appended and never rewritten.

    {"schema": 1, "time_s": 1718000000.0, "event": "fault", "kind": "motor", …}

Several processes may append to one file: lines are written whole, under a lock, and fsynced. A crash can leave a torn last
line; the next append ends it, and readers skip it with a warning. An append that fails leaves nothing.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from soar.errors import SoarError
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
SCHEMA = 1


class Journal:
    """Appends events to a file.

    Args:
        path: Usually `events.jsonl` in the run's folder; made, with its folder, by the first event.
        clock: Seconds since the Unix epoch.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock

    def append(self, event: str, **fields: Any) -> None:
        """Append one event; its fields must be JSON-able.

        Raises:
            SoarError: The file cannot be written.
        """
        self.append_all([(event, fields)])

    def append_all(self, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Append events, each with its name and its fields, and wait for the disk once.

        Raises:
            SoarError: The file cannot be written; none of them is in it.
        """
        head = {"schema": SCHEMA, "time_s": self._clock()}
        lines = b"".join(json.dumps({**head, "event": event, **fields}).encode() + b"\n" for event, fields in events)
        if not lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = file.seek(0, os.SEEK_END)
                if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                    lines = b"\n" + lines
                try:
                    left = memoryview(lines)
                    while left:
                        left = left[os.write(file.fileno(), left) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise SoarError(
                f"cannot write the journal {self.path}: {error.strerror or error}. Free some space or choose a run folder that "
                "you may write to, then run the same command again."
            ) from error


def read_journal(path: Path, event: str | None = None) -> list[dict[str, Any]]:
    """Return the events of a journal, oldest first; a missing file has none.

    Args:
        path: The journal's file.
        event: Return only the events of this name.

    Raises:
        SoarError: The file cannot be read, or a newer version of SOAR wrote it.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SoarError(
            f"cannot read the journal {path}: {error.strerror or error}. Restore the file, or name another run"
        ) from error
    events = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = parse_json(line)
        except ValueError:
            log.warning("%s: line %d is torn (a crash while it was written); skipped", path, number)
            continue
        if not isinstance(entry, dict) or "schema" not in entry:
            log.warning("%s: line %d is no event; skipped", path, number)
            continue
        if entry["schema"] != SCHEMA:
            raise SoarError(f"{path}: line {number} is not an event of schema {SCHEMA}; read it with the version that wrote it")
        if not isinstance(entry.get("event"), str) or not isinstance(entry.get("time_s"), int | float):
            log.warning("%s: line %d is no event; skipped", path, number)
            continue
        if event is None or entry["event"] == event:
            events.append(entry)
    return events
