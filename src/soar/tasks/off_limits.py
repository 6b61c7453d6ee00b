"""Tasks that a person has set off limits, in a file of the run; what is in it counts from the next episode on.

    RUN/off_limits.json    {"schema": 1, "tasks": ["open the drawer"]}

The console writes it, sessions read it before each episode, and a fleet's coordinator passes it on with every beat. When it
cannot be read, what was off limits stays so (`soar.watched_file`).
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from soar.files import write_json
from soar.watched_file import WatchedFile

FILE = "off_limits.json"
_SCHEMA = 1


class OffLimits:
    """What is off limits in a run.

    Args:
        folder: Of the run; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._file = WatchedFile(folder / FILE, _read, frozenset[str](), "what no robot may attempt")

    def now(self) -> frozenset[str]:
        """Return the instructions that may not be attempted; the file is read when it has changed.

        Raises:
            SoarError: It cannot be read, and never was.
        """
        return self._file.now()

    def alone(self) -> AbstractContextManager[None]:
        """Let nobody else change what is off limits within.

        Raises:
            SoarError: One may not write into the folder.
        """
        return self._file.alone()

    def write(self, tasks: Collection[str]) -> None:
        """Let these tasks be off limits, and no others.

        Raises:
            SoarError: The file cannot be written.
        """
        write_json(self._file.path, {"schema": _SCHEMA, "tasks": sorted(tasks)})


def _read(said: Any) -> frozenset[str]:
    tasks = said["tasks"]
    # A text is a list of letters, too, and none of them a task.
    if said["schema"] != _SCHEMA or not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
        raise ValueError(f"its schema is not {_SCHEMA}, its tasks are no list, or a task is no text")
    return frozenset(tasks)
