r"""A stop that always works: from another process (`soar robot stop`), or by Ctrl-\ in the terminal of what drives an arm.

    FOLDER/NUMBER.json       one a workcell that is open; locked by its process, freed when that ends, however it ends
    FOLDER/NUMBER.stop       somebody asked for a stop
    FOLDER/NUMBER.stopped    its process says: no motion is under way, and none begins any more

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

from soar.errors import RobotFault, SoarError

log = logging.getLogger(__name__)
_LISTENS_S = 0.02
_switches: weakref.WeakSet[StopSwitch] = weakref.WeakSet()


class StopSwitch:
    """The stop of one workcell that is open.

    Args:
        name: Of the workcell.
        halt: Called when it is stopped, in any thread: what a driver does in several motions ends after the one under way.
    """

    def __init__(self, name: str, halt: Callable[[], None] | None = None) -> None:
        self._halt = halt
        self._lock, self._pressed, self._released = threading.Lock(), False, threading.Event()
        self._moving = ""
        self._path = folder() / f"{uuid.uuid4().hex}.json"
        unnamed = self._path.with_suffix(".new")
        self._handle = os.open(unnamed, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        who = {"name": name, "pid": os.getpid(), "command": shlex.join(sys.argv)}
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
        if self._halt is not None:
            self._halt()

    @contextlib.contextmanager
    def motion(self, name: str) -> Iterator[None]:
        """A motion is under way within.

        Raises:
            RobotFault: `unrecoverable`: it was stopped.
        """
        with self._lock:
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

    def _listen(self) -> None:
        asked, told = self._path.with_suffix(".stop"), self._path.with_suffix(".stopped")
        while not self._released.wait(_LISTENS_S):
            if not self._pressed and asked.exists():
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
    for path in sorted(folder().glob("*.json")):
        who = _open_by(path)
        if who is not None and name in (None, who["name"]):
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
    """Return where the stops of this user's workcells are.

    Raises:
        SoarError: It belongs to somebody else, or cannot be made.
    """
    above = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    path = Path(above) / f"soar-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if path.lstat().st_uid != os.getuid() or path.is_symlink():
            raise SoarError(f"{path} belongs to somebody else; name another folder in XDG_RUNTIME_DIR")
    except OSError as error:
        raise SoarError(f"cannot write {path}: {error.strerror}. Name another folder in XDG_RUNTIME_DIR") from error
    return path


def _open_by(path: Path) -> dict[str, object] | None:
    """Return who has a workcell open; None, and the file is removed, when its process has ended."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who: dict[str, object] = json.loads(os.pread(handle, 65536, 0))
        return who
    else:
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(handle)
