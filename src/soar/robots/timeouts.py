"""A driver that hangs is a fault, not the end of the night: its calls run in a thread of their own and are waited for.

    caller ── observe() ──► one thread a robot ──► driver
           ◄── result, or RobotFault("connection", "observe: no answer in 5 s")

Never two calls at once. When a call was given up, the driver is still in it; the next call waits for it to come back, for as
long as it may take itself, and fails in the same way when it does not. An action that was given up is never sent again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from soar.errors import ConfigError, RobotFault

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a driver's calls may take [s].

    Attributes:
        open: To be made.
        observe: To look.
        act: To execute one action, which itself takes 0.2 s.
        home: To go home, and to set a table or a start.
        recover: To reboot.
        other: To say how it is, to judge, to close.
    """

    open: float = 60.0
    observe: float = 5.0
    act: float = 5.0
    home: float = 60.0
    recover: float = 120.0
    other: float = 30.0

    def __post_init__(self) -> None:
        for name in ("open", "observe", "act", "home", "recover", "other"):
            if not 0 < getattr(self, name) <= threading.TIMEOUT_MAX:
                raise ConfigError(f"timeouts.{name} must be a positive number of seconds, got {getattr(self, name)}")

    def of(self, call: str) -> float:
        """Return the time for a call of that name [s]."""
        match call:
            case "open" | "observe" | "act" | "home" | "recover":
                return float(getattr(self, call))
            case "reset_for" | "set_table":
                return self.home
            case "reboot":
                return self.recover
            case _:
                return self.other


class CallThread:
    """Runs one call after another in a daemon thread, each with a time limit.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._outstanding: tuple[str, Future[Any]] | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, call: str, function: Callable[[], T], timeout_s: float) -> T:
        """Return what a call returns, or raise what it raises.

        Args:
            call: Its name, for messages.
            function: The call.
            timeout_s: How long it may take.

        Raises:
            RobotFault: `connection`: it did not come back, or an earlier one did not.
        """
        with self._lock:
            if self._outstanding is not None:
                before, hanging = self._outstanding
                if not _finished(hanging, timeout_s):
                    raise RobotFault("connection", f"{call}: {before} has not come back yet, for {timeout_s:g} s more")
                self._outstanding = None
            future: Future[T] = Future()
            self._calls.put((future, function))
            if not _finished(future, timeout_s):
                self._outstanding = call, future
                raise RobotFault("connection", f"{call}: no answer in {timeout_s:g} s")
        return future.result()

    def end(self) -> None:
        """Let the thread end after the calls that it has."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            future, function = item
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
                future.set_exception(error)


def _finished(future: Future[Any], timeout_s: float) -> bool:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return done.wait(timeout_s)
