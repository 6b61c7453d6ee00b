"""A command of a user's that runs beside this process: a training that takes hours, a server of what was trained.

    NAME.log      what it says, of every attempt
    NAME.pid      the shell that waits for it, and leads its processes
    NAME.status   how it ended; written aside and renamed by that shell, so that whoever asks later knows

No shell reads the words: what is filled in stays one word. Processes of a command lead a session of their own, so that Ctrl-C
at this one's terminal does not reach them; whoever is interrupted stops them. A process that is killed cannot, and leaves a
command that goes on to its end: the next one finds it by its files.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from soar.errors import ConfigError, SoarError
from soar.remote.wire import plain

_SHELL = (
    'echo $$ >"$0.pid.part" && mv "$0.pid.part" "$0.pid"; "$@"; echo $? >"$0.status.part" && mv "$0.status.part" "$0.status"'
)
_LOOKS_S = 0.2
_LAST_S = 10.0
_PLACE = re.compile(r"\{\{|\}\}|\{(\w*)\}")


def places_in(text: str) -> set[str]:
    """Return the names in braces in a text; braces that are doubled stand for themselves."""
    return {found[1] for found in _PLACE.finditer(text) if found[1] is not None}


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text in which names in braces are replaced."""
    return _PLACE.sub(lambda found: found[0][0] if found[1] is None else values[found[1]], text)


def words_of(command: str, values: Mapping[str, str]) -> list[str]:
    """Return the words of a command; what is filled in is never split."""
    return [filled(word, values) for word in shlex.split(command)]


def check_places(where: str, text: str, known: Sequence[str], needed: Sequence[str] = ()) -> None:
    """Refuse a text that has other names in braces than there are, or lacks one that it needs.

    Raises:
        ConfigError: So it is.
    """
    found = places_in(text)
    listed = ", ".join(f"{{{name}}}" for name in known)
    if wrong := sorted(found - set(known)):
        raise ConfigError(f"{where}: there is no {{{wrong[0]}}}; there are: {listed}. Braces of its own are doubled: {{{{ }}}}")
    if missing := [name for name in needed if name not in found]:
        raise ConfigError(f"{where}: {{{missing[0]}}} is missing; there are: {listed}")


class Command:
    """One command, by its files.

    Args:
        place: Path of its files, without their endings.
    """

    def __init__(self, place: Path) -> None:
        self._place = place.absolute()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it says."""
        return self._place.with_name(f"{self._place.name}.log")

    @property
    def status(self) -> int | None:
        """How it ended, None when it has not."""
        try:
            return int(self._file("status").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    @property
    def running(self) -> bool:
        """Whether it runs, whoever began it."""
        if self._process is not None and self._process.poll() is None:
            return True
        return self.status is None and self._leader() is not None

    def begin(self, words: Sequence[str]) -> None:
        """Begin it anew.

        Raises:
            SoarError: It cannot be begun, or its log not be written.
        """
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            for name in ("status", "pid"):
                self._file(name).unlink(missing_ok=True)
            with self.log.open("ab") as log:
                log.write(f"$ {shlex.join(words)}\n".encode())
                log.flush()
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _SHELL, str(self._place), *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise SoarError(
                f"{words[0]} cannot be run, or {self.log} not be written: {error.strerror or error}. Correct the "
                "command in the preset, or free some space; then run the same command again"
            ) from error

    def wait(self, timeout_s: float, on_wait: Callable[[float], None]) -> int | None:
        """Return how it ended; None when it has not ended in time, or nobody knows how it did.

        Args:
            timeout_s: From when it was begun, by whoever that was.
            on_wait: Told from time to time for how long it has run [s].
        """
        while self.running:
            passed_s = self._runs_for_s()
            if passed_s > timeout_s:
                return None
            on_wait(passed_s)
            if self._process is None:
                time.sleep(_LOOKS_S)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_LOOKS_S)
        return self.status

    def stop(self) -> None:
        """End it with all its processes, if it runs; what ended by itself keeps its status."""
        leader = self._process.pid if self._process is not None and self._process.poll() is None else self._leader()
        if leader is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, number)
            end_s = time.monotonic() + _LAST_S
            while _group_lives(leader) and time.monotonic() < end_s:
                if self._process is not None:
                    self._process.poll()  # it is our child, and waits to be buried
                time.sleep(_LOOKS_S / 4)
        self._file("pid").unlink(missing_ok=True)

    def last_words(self, lines: int = 3) -> str:
        """Return the end of the log, for a message."""
        try:
            with self.log.open("rb") as log:
                found = deque((line.decode("utf-8", "replace").strip() for line in log if line.strip()), maxlen=lines)
        except OSError:
            return "nothing"
        said = [line for line in found if not line.startswith("$ ")]
        return plain(" / ".join(said), 500) or "nothing"

    def _file(self, name: str) -> Path:
        return self._place.with_name(f"{self._place.name}.{name}")

    def _runs_for_s(self) -> float:
        try:
            return max(0.0, time.time() - self._file("pid").stat().st_mtime)
        except OSError:
            return 0.0

    def _leader(self) -> int | None:
        """Return the shell that waits for the command, if it lives: a process of that number that knows this place."""
        try:
            number = int(self._file("pid").read_text(encoding="utf-8"))
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        return number if os.fsencode(str(self._place)) in words else None


def _group_lives(leader: int) -> bool:
    """Whether a process of this group lives; one that is dead and not buried does not."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = path.read_bytes().rpartition(b")")[2].split()[:3]
            if int(group) == leader and state != b"Z":
                return True
    return False
