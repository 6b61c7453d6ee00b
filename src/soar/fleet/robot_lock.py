"""One process of a computer drives a robot: a lock of the operating system, which goes with its process, however that ends.

TMP/soar-robots-UID/ROBOT.lock    locked (flock) by the process that drives it, whose number it holds
TMP/soar-robots-UID/place         names this computer, where its system does not say which start of which computer it is

Whoever holds the lock of a place knows that nobody else drives the robot from there. A place is one file since one start of one
computer. When somebody has removed the file while it is locked, the new one is another place; so is a copy elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from soar.errors import ConfigError

_TRIES, _ASKING_S = 5, 0.02
_OPENED = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextlib.contextmanager
def robot_lock(robot: str) -> Iterator[str]:
    """Hold the robot's lock on this computer, within; yields what names its place, nothing where there are no locks.

    Raises:
        ConfigError: Another process of this computer drives the robot.
    """
    path = lock_file(robot)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, _OPENED, 0o600)
    try:
        try:
            _lock(handle)
            while not _is_at(path, handle):  # somebody has removed it meanwhile, and others look at what is there
                handle, before = os.open(path, _OPENED, 0o600), handle
                os.close(before)
                _lock(handle)
        except BlockingIOError:
            who = os.pread(handle, 40, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"robot {robot!r} is driven by another process of this computer (process {who}). Stop that one first"
            ) from None
        except OSError:
            yield ""
            return
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield _place(path.parent, handle)
    finally:
        os.close(handle)


def robot_process(robot: str) -> int | None:
    """Return the process of this computer that drives a robot; None when none does."""
    try:
        handle = os.open(lock_file(robot), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # for a moment: `_lock` tries again
        return None
    except BlockingIOError:
        text = os.pread(handle, 40, 0).decode(errors="replace").strip()
        return int(text) if text.isdecimal() else None
    except OSError:
        return None
    finally:
        os.close(handle)


def lock_file(robot: str, temporary: Path | None = None) -> Path:
    """Return a robot's lock below a computer's folder for temporary files, this one's by default."""
    return (temporary or Path(tempfile.gettempdir())) / f"soar-robots-{os.getuid()}" / f"{robot}.lock"


def _lock(handle: int) -> None:
    """Lock a file, or raise `BlockingIOError`; whoever only asks (`robot_process`) is gone in a moment."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_ASKING_S)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(path: Path, handle: int) -> bool:
    """Whether an open file is the one of that name still."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _place(folder: Path, handle: int) -> str:
    """Return what names a locked file among those of all computers; no other has its number while somebody holds it open."""
    try:
        start = _BOOT.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        start = _drawn(folder)
    status = os.fstat(handle)
    return f"{start}-{status.st_dev:x}-{status.st_ino:x}"


def _drawn(folder: Path) -> str:
    """Return what names a folder of locks, drawn once."""
    path = folder / "place"
    with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
        file.write(uuid.uuid4().hex)
    return path.read_text(encoding="utf-8")
