r"""A stop that always works: from another process (`soar robot stop`), or by Ctrl-\ in the terminal of what drives an arm.

    FOLDER/NUMBER.json       one a workcell that is open; locked by its process, freed when that ends, however it ends
    FOLDER/NUMBER.stop       somebody asked for a stop
    FOLDER/NUMBER.stopped    its process says: no motion is under way, and none begins any more

Terminals differ in where such a folder is (a desktop has XDG_RUNTIME_DIR, a cron job or a shell in a container has none), so
that who asks for a stop looks in all of them. Whoever drives a device is known from there, too: nobody else may open it.

Every motion asks first (`StopSwitch.motion`), so that none begins after a stop, and a step of 0.2 s at most is under way. What
waits for a model, a disk or a page does not matter: a thread of its own listens. A stopped workcell stays so until it is opened
again, and its driver's `close`, which might move the arm, is not called: the arm holds its position.

A motion that the robot's own controller does by itself (going home) cannot be called back from here. The power switch can.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shlex
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from soar.errors import ConfigError, RobotFault, SoarError
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
_LISTENS_S = 0.02
_UNKNOWN = "unknown"
_switches: weakref.WeakSet[StopSwitch] = weakref.WeakSet()


class StopSwitch:
    """The stop of one workcell, made before its driver is opened, which may move the arm.

    Args:
        name: Of the workcell.
        device: What it drives, where that is known: two that drive one arm would be a collision. Empty: not known.

    Raises:
        ConfigError: Another workcell that is open, of this user on this computer, drives that device.
        SoarError: There is no folder for it.
    """

    def __init__(self, name: str, *, device: str = "") -> None:
        self._halt: Callable[[], None] = lambda: None
        self._lock, self._pressed, self._released = threading.Lock(), False, threading.Event()
        self._moving = ""
        self._path = folder() / f"{uuid.uuid4().hex}.json"
        with _one_at_a_time(folder()):
            if device:
                _refuse_second(name, device)
            unnamed = self._path.with_suffix(".new")
            self._handle = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            who = {"name": name, "pid": os.getpid(), "command": shlex.join(sys.argv), "device": device}
            os.write(self._handle, json.dumps(who).encode())
            unnamed.rename(self._path)
        self._thread = threading.Thread(target=self._listen, name=f"stop of {name}", daemon=True)
        self._thread.start()
        _switches.add(self)

    @property
    def pressed(self) -> bool:
        """Whether it was stopped."""
        return self._pressed

    def press(self) -> None:
        """Let no motion begin any more."""
        self._pressed = True
        try:
            self._halt()
        except Exception:
            log.exception("the driver's own halt() failed; no motion begins all the same")

    def halts(self, halt: Callable[[], None]) -> None:
        """Call this when it is stopped, in any thread: what a driver does in several motions ends after the one under way."""
        self._halt = halt
        if self._pressed:
            self.press()

    @contextlib.contextmanager
    def motion(self, name: str) -> Iterator[None]:
        """A motion is under way within.

        Raises:
            RobotFault: `unrecoverable`: it was stopped.
        """
        with self._lock:
            if self._asked():
                self.press()
            if self._pressed:
                raise RobotFault("unrecoverable", "it was stopped. Look at the arm, and run the same command again to go on")
            self._moving = name
        try:
            yield
        finally:
            self._moving = ""

    def release(self) -> None:
        """The workcell is closed: nobody needs to stop it any more."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        _switches.discard(self)
        for path in (self._path, self._path.with_suffix(".stop"), self._path.with_suffix(".stopped")):
            path.unlink(missing_ok=True)
        os.close(self._handle)

    def _asked(self) -> bool:
        return not self._pressed and self._path.with_suffix(".stop").exists()

    def _listen(self) -> None:
        told = self._path.with_suffix(".stopped")
        while not self._released.wait(_LISTENS_S):
            if self._asked():
                self.press()
            if self._pressed:
                with self._lock:
                    still = not self._moving
                if still:
                    told.touch()
                    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What became of one workcell that was asked to stop.

    Attributes:
        name: Of the workcell.
        pid: Of its process.
        command: That runs there.
        still: Whether nothing moves any more; False: a motion did not end in time.
    """

    name: str
    pid: int
    command: str
    still: bool


def stop(name: str | None = None, wait_s: float = 5.0) -> list[Stopped]:
    """Stop every workcell that any process of this user has open, or those of one name.

    Args:
        name: Of a workcell; None for all.
        wait_s: How long a motion that is under way may take to end.

    Returns:
        What became of each.
    """
    found = []
    for path, who in _all_open():
        if name is None or who["name"] in (name, _UNKNOWN):
            path.with_suffix(".stop").touch()
            found.append((path, who))
    deadline_s = time.monotonic() + wait_s
    stopped = []
    for path, who in found:
        while not (still := path.with_suffix(".stopped").exists() or not path.exists()) and time.monotonic() < deadline_s:
            time.sleep(_LISTENS_S)
        stopped.append(Stopped(name=str(who["name"]), pid=int(str(who["pid"])), command=str(who["command"]), still=still))
    return stopped


def stop_here() -> bool:
    """Stop every workcell that this process has open; returns whether there is one."""
    switches = list(_switches)
    for switch in switches:
        switch.press()
    return bool(switches)


def folder() -> Path:
    """Return where the stops of this process's workcells are.

    Raises:
        SoarError: It belongs to somebody else, or cannot be made.
    """
    path = _folders()[0]
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if not _is_ours(path):
            raise SoarError(f"{path} belongs to somebody else; name another folder in XDG_RUNTIME_DIR")
    except OSError as error:
        raise SoarError(f"cannot write {path}: {error.strerror}. Name another folder in XDG_RUNTIME_DIR") from error
    return path


def _folders() -> list[Path]:
    """Return where processes of this user may have their stops, whatever their environment; this one's first."""
    above = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), f"/run/user/{os.getuid()}", "/tmp"]
    return [Path(one) / f"soar-{os.getuid()}" for one in dict.fromkeys(above) if one]


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid() and not path.is_symlink()
    except OSError:
        return False


def _all_open() -> list[tuple[Path, dict[str, object]]]:
    """Return the file of every workcell that a process of this user has open, and what it says."""
    paths = (path for one in _folders() if _is_ours(one) for path in sorted(one.glob("*.json")))
    return [(path, who) for path in paths if (who := _open_by(path)) is not None]


def _refuse_second(name: str, device: str) -> None:
    for _, who in _all_open():
        if who.get("device") == device:
            raise ConfigError(
                f"{name}: {device} is driven by process {who['pid']} ({who['command']}), and two would move one arm. Nothing "
                "has moved. Wait until that one ends, end it by Ctrl-C, or stop it: soar robot stop"
            )


@contextlib.contextmanager
def _one_at_a_time(where: Path) -> Iterator[None]:
    """Let no two processes open a workcell at one moment."""
    handle = os.open(where / "opening.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _open_by(path: Path) -> dict[str, object] | None:
    """Return who has a workcell open; None, and the file is removed, when its process has ended."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _said(os.pread(handle, 65536, 0))
    else:
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(handle)


def _said(data: bytes) -> dict[str, object]:
    """Return what a workcell's file says. One that is damaged must keep nobody from stopping it, nor the others."""
    unknown: dict[str, object] = {"name": _UNKNOWN, "pid": 0, "command": "its file is damaged", "device": ""}
    try:
        said = parse_json(data)
    except ValueError:
        return unknown
    whole = isinstance(said, dict) and all(type(said.get(key)) is type(value) for key, value in unknown.items())
    return said if whole else unknown
