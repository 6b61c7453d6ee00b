r"""How a command ends when it is not its own end: Ctrl-C, SIGTERM, a reader that has gone, a disk or a memory that is full.

    SIGINT, SIGTERM ─► importing?  ─► yes: one line and out at once; with a robot open, again when the import is done
                                   └─► no:  KeyboardInterrupt, through the work (which keeps what is finished) to `ending`

An exception in the middle of an import would come out as anything: a library that is missing, a module that is half made. One
that is raised where nobody can catch it (a finaliser, a callback from C) is raised again a moment later.

Whatever happens, workcells that are open are closed: the arm is left safe. A signal that is ignored when the command begins,
as in a shell's background, stays ignored. Ctrl-\ (SIGQUIT) stops every arm that is open (`soar.robots.stopping`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from soar.cli import RESUME, STOPPED

_AGAIN_S = 0.05
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_came: list[int] = []
"""Signals that came to the command that runs."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: like Ctrl-C for all that is under way."""


def ending(work: Callable[[], int], *, own_process: bool, last_words: str = RESUME) -> int:
    """Do the work, and return the status that the process is to exit with.

    Args:
        work: Returns that status when it ends by itself.
        own_process: Whether the process is there for this work alone, so that it may be ended from within.
        last_words: What is said when a signal ends it.
    """
    came = _came
    came.clear()
    with _signals_raise(came, own_process, last_words):
        try:
            status = work()
            sys.stdout.flush()
            return status
        except KeyboardInterrupt as error:
            return _interrupted(came[-1] if came else _number(error), last_words)
        except BaseException as error:
            # Rich makes a SystemExit of it.
            if isinstance(error, BrokenPipeError | SystemExit) and not came and _reader_has_gone():
                return 128 + signal.SIGPIPE
            if came and isinstance(error, Exception):
                return _interrupted(came[-1], last_words)  # some library made another exception of it
            if isinstance(error, MemoryError | OSError) and (why := _no_room(error)):
                sys.stderr.write(f"error: {why}\n")
                return 2
            raise
        finally:
            if own_process:
                _close_workcells()


def stopped(error: KeyboardInterrupt) -> SystemExit:
    """Say that a server has ended, and return what ends its command: its status."""
    _say(STOPPED)
    return SystemExit(128 + _number(error))


def _number(error: KeyboardInterrupt) -> int:
    return signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT


def interrupted() -> bool:
    """Whether a signal came: what is raised then may be what some library made of it, and is no message for anybody."""
    return bool(_came)


def _interrupted(number: int, last_words: str) -> int:
    _say(last_words)
    return 128 + number


def _say(words: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"\n{words}\n")
        sys.stderr.flush()


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more; what is left in its buffer is then forgotten."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(output, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # Python flushes once more at its end, and would complain
    return True


def _no_room(error: MemoryError | OSError) -> str:
    """Return what cannot be held or written, nothing where room is not what is missing."""
    if isinstance(error, MemoryError):
        return "not enough memory; is a size in a flag or in a file far too large?"
    try:
        sys.stdout.flush()
    except OSError as full:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return f"what the command says cannot be written: {full.strerror}"
    return f"{f'{error.filename}: ' if error.filename else ''}{error.strerror}" if error.errno in _FULL else ""


def _close_workcells() -> None:
    """Leave every arm safe that is still open; nothing interrupts that."""
    close_all = getattr(sys.modules.get("soar.robots.workcell"), "close_all", None)
    if close_all is None:
        return
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    close_all()


def _anything_open() -> bool:
    return bool(getattr(sys.modules.get("soar.robots.workcell"), "anything_open", lambda: False)())


@contextlib.contextmanager
def _signals_raise(came: list[int], own_process: bool, last_words: str) -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `KeyboardInterrupt` within, and remember their numbers in `came`."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if own_process and _importing(frame):
            if not _anything_open():
                os._exit(_interrupted(number, last_words))
            _again(number)
            return
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def unraisable(problem: Any) -> None:
        if isinstance(problem.exc_value, KeyboardInterrupt):
            _again(signal.SIGTERM if isinstance(problem.exc_value, Terminated) else signal.SIGINT)
        else:
            hook(problem)

    def stop(_number: int, _frame: FrameType | None) -> None:
        stop_here = getattr(sys.modules.get("soar.robots.stopping"), "stop_here", None)
        if stop_here is None or not stop_here():
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # there is no arm: what the key does elsewhere
            os.kill(os.getpid(), signal.SIGQUIT)
            return
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("\nstopped: no motion begins any more\n")

    before = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGQUIT)}
    hook = sys.unraisablehook
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop if number == signal.SIGQUIT else interrupt)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            # Nothing is left to be interrupted in a process of our own; a signal then ends it without a word.
            ignored = handler is signal.SIG_IGN
            signal.signal(number, signal.SIG_DFL if own_process and not ignored else handler)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported in this frame or around it."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _again(number: int) -> None:
    """Send a signal to this process again in a moment."""
    timer = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()
