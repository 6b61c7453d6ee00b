"""A small JSON file in which somebody says something while others work: read when it has changed, and never half believed.

A file that is not there says nothing. When one cannot be read, what it said last holds; whoever has never read it does not
begin. So is what is no file, or one of more than a megabyte: reading it might never end.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from soar.errors import SoarError
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
T = TypeVar("T")
_LONGEST = 2**20


class WatchedFile(Generic[T]):
    """What a file says.

    Args:
        path: Of the file; it need not be there.
        read: Makes what it says of its JSON value; raises ValueError, KeyError or TypeError where that is none.
        nothing: What a missing file says.
        about: What it says, for messages: `what no robot may attempt`.
    """

    def __init__(self, path: Path, read: Callable[[Any], T], nothing: T, about: str) -> None:
        self.path, self._make, self._nothing, self._about = path, read, nothing, about
        self._read: tuple[int, ...] | None = None
        self._damaged: tuple[int, ...] | None = None
        self._said = nothing

    def now(self) -> T:
        """Return what the file says now.

        Raises:
            SoarError: It cannot be read, and never was.
        """
        mark = None
        try:
            mark = _mark(status := self.path.stat())
            if mark != self._read:
                self._said = self._make(parse_json(self._text(status)))
                self._read = mark
        except FileNotFoundError:
            self._said, self._read = self._nothing, None
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            if self._read is None:
                raise SoarError(
                    f"{self.path}: cannot be read ({error}). It says {self._about}: mend it, or delete it"
                ) from error
            if mark is None or mark != self._damaged:  # it is asked for again and again
                self._damaged = mark
                log.warning("%s: cannot be read (%s); what it said of %s holds", self.path, error, self._about)
        return self._said

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else change what it says within: consoles may be several.

        Raises:
            SoarError: One may not write beside it.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = self.path.with_name(f".{self.path.name}.lock").open("ab")
        except OSError as error:
            raise SoarError(
                f"{self.path}: cannot be written: {error.strerror}. Give orders where you may write into the run's folder"
            ) from error
        with lock:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _text(self, status: os.stat_result) -> str:
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
            raise ValueError(f"it is no file of at most {_LONGEST} bytes")
        with self.path.open("rb") as file:
            return file.read(_LONGEST).decode()


def _mark(status: os.stat_result) -> tuple[int, ...]:
    """Return what differs when a file has changed; one that replaces it within a tick of the clock may have its inode."""
    return status.st_mtime_ns, status.st_ino, status.st_size
