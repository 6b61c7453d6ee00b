"""Tasks that a person has set off limits, in a file of the run; what is in it counts from the next episode on.

    RUN/off_limits.json    {"schema": 1, "tasks": ["open the drawer"]}

The console writes it, sessions read it before each episode, and a fleet's coordinator passes it on with every beat. When it
cannot be read, what was off limits stays so; whoever has never read it does not begin.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from soar.errors import SoarError
from soar.files import write_json
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
FILE = "off_limits.json"
_SCHEMA = 1


class OffLimits:
    """What is off limits in a run.

    Args:
        folder: Of the run; it need not be there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read: tuple[int, int] | None = None
        self._tasks: frozenset[str] = frozenset()

    def now(self) -> frozenset[str]:
        """Return the instructions that may not be attempted; the file is read when it has changed.

        Raises:
            SoarError: It cannot be read, and never was.
        """
        try:
            status = self._path.stat()
            if (status.st_mtime_ns, status.st_ino) != self._read:
                said = parse_json(self._path.read_text(encoding="utf-8"))
                if said["schema"] != _SCHEMA or not all(isinstance(task, str) for task in said["tasks"]):
                    raise ValueError(f"its schema is not {_SCHEMA}, or a task is no text")
                self._tasks, self._read = frozenset(said["tasks"]), (status.st_mtime_ns, status.st_ino)
        except FileNotFoundError:
            self._tasks, self._read = frozenset(), None
        except (OSError, ValueError, KeyError, TypeError) as error:
            if self._read is None:
                raise SoarError(
                    f"{self._path}: cannot be read ({error}). It says what no robot may attempt: mend it, or delete it"
                ) from error
            log.warning("%s: cannot be read (%s); %d tasks stay off limits", self._path, error, len(self._tasks))
        return self._tasks

    def write(self, tasks: Collection[str]) -> None:
        """Let these tasks be off limits, and no others.

        Raises:
            SoarError: The file cannot be written.
        """
        write_json(self._path, {"schema": _SCHEMA, "tasks": sorted(tasks)})
