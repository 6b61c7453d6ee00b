"""A run's folder says what it was begun with, and who works in it now.

    RUN/config.yaml    what the run is: written once everything was found valid, compared by every later call
    RUN/.lock          locked (flock) by the command that works there, with its host, process and words; freed when it ends,
                       however it ends

One run is one robot in front of one scene, with one kind of models and one seed: its counts mean nothing otherwise. How much is
collected, by how many robots and in how many processes may differ from call to call.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from soar.configuration import differences, read_yaml
from soar.errors import ConfigError, SoarError
from soar.files import write_text

CONFIG, LOCK = "config.yaml", ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaim:
    """What a command asks of a run's folder.

    Attributes:
        folder: Of the run.
        command: What makes the run, such as `soar collect`; another command's run is refused.
        changeable: Dotted names of what may differ from call to call.
        defaults: What counts where a folder's configuration lacks a name, because it was written before that existed.
    """

    folder: Path
    command: str
    changeable: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def check(self, config: Mapping[str, Any] | None = None) -> None:
        """Refuse a folder that cannot be used; makes nothing.

        Args:
            config: What the run is, plain values, nested; None: only whether somebody else works there.

        Raises:
            ConfigError: The folder holds another run: the message names the differences, and what may change. Or another
                command works there: the message says which.
            SoarError: The folder cannot be written.
        """
        # Unlike Path.exists, no exception where nothing may be looked at.
        above = next(path for path in (self.folder, *self.folder.absolute().parents) if os.path.exists(path))
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise _cannot_be_written(self.folder, "Not a directory" if not above.is_dir() else "Permission denied")
        try:
            handle = os.open(self.folder / LOCK, os.O_RDWR)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise _cannot_be_written(self.folder, error.strerror) from error
        else:
            try:
                _lock(self.folder, handle)
            finally:
                os.close(handle)
        if config is not None:
            self._compare(self._plain(config))

    @contextmanager
    def hold(self, config: Mapping[str, Any]) -> Iterator[None]:
        """Write what the run is, and be the only command that works in its folder, within.

        Raises:
            ConfigError: See `check`.
            SoarError: The folder cannot be written.
        """
        with only_here(self.folder):
            mine = self._plain(config)
            self._compare(mine)
            write_text(self.folder / CONFIG, yaml.safe_dump(mine, sort_keys=False, allow_unicode=True))
            yield

    def _plain(self, config: Mapping[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = {"command": self.command} | json.loads(json.dumps(config, default=str))
        return plain

    def _compare(self, mine: Mapping[str, Any]) -> None:
        path = self.folder / CONFIG
        if not path.exists():
            return
        theirs = read_yaml(path)
        if (other := theirs.get("command", self.command)) != self.command:
            raise ConfigError(
                f"{self.folder} holds a run of `{other}`, and this is `{self.command}`: name another folder with --run."
            )
        fields = differences(theirs, mine, defaults=self.defaults, ignoring=[*self.changeable, "command"])
        if fields:
            raise ConfigError(
                f"{self.folder} holds a run with another configuration: {', '.join(fields)}. "
                "Use the same flags to resume it, or name another folder with --run. "
                f"Only {', '.join(self.changeable) or 'nothing'} may change."
            )


@contextmanager
def only_here(folder: Path, flag: str = "--run", file: str = "") -> Iterator[None]:
    """Be the only command that works in a folder, within; the folder is made when it is missing.

    Args:
        folder: Where.
        flag: Names another one, for messages.
        file: Name of the one file in it that is worked on; others may work on others.

    Raises:
        ConfigError: Another command works there: the message says which.
        SoarError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / (f".{file}.lock" if file else LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _cannot_be_written(folder, error.strerror, flag) from error
    try:
        _lock(folder / file, handle, flag)
        who = {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(sys.argv)}
        os.ftruncate(handle, 0)
        os.pwrite(handle, (json.dumps(who) + "\n").encode(), 0)
        yield
    finally:
        os.close(handle)


def who_works_in(folder: Path) -> str:
    """Return in words which command works in a folder now, without touching its lock; empty if none does."""
    try:
        with (folder / LOCK).open("rb") as file:
            inode, by = os.fstat(file.fileno()).st_ino, _by(file.read(65536))
        host = json.loads((folder / LOCK).read_text(encoding="utf-8"))["host"]
        if host != socket.gethostname():
            return f"{by}, unless it has ended: only that computer knows"
        # KIND ADVISORY WRITE PID MAJOR:MINOR:INODE BEGIN END, after a number
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    held = any("FLOCK" in lock and "->" not in lock and lock[-3].endswith(f":{inode}") for lock in locks)
    return by if held else ""


def _by(said: bytes) -> str:
    """Return in words who wrote a lock's file."""
    try:
        who = json.loads(said)
        return f"process {who['pid']} on {who['host']} ({who['command']})"
    except (ValueError, KeyError, TypeError):
        return "another process"  # it has just begun


def _cannot_be_written(folder: Path, why: str | None, flag: str = "--run") -> SoarError:
    return SoarError(f"cannot write {folder}: {why}. Name a folder that you may write to with {flag}.")


def _lock(folder: Path, handle: int, flag: str = "--run") -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        by = _by(os.pread(handle, 65536, 0))
        raise ConfigError(
            f"{folder} is in use by {by}. Wait until it has ended, stop it, or name another one with {flag}."
        ) from None
    except OSError:
        return  # a file system without locks: nobody can be kept out
