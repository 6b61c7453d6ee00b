"""A user's driver, as the rest of SOAR meets it: its exceptions are faults with its words, and its calls have time limits.

    SafeRobot ──► Driver ──► [one thread] ──► the object that `MODULE:NAME` made

A simulator needs no time limits and is called directly, in the thread that opened it; a machine that can hang is called in a
thread of its own (`soar.robots.timeouts`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from soar.errors import ConfigError, RobotFault, SoarError
from soar.references import protocol_members
from soar.robots.base import Health, Robot
from soar.robots.timeouts import CallThread, Timeouts
from soar.types import Action, Observation

log = logging.getLogger(__name__)
_REQUIRED = sorted(protocol_members(Robot))


class Driver:
    """A `Robot` around the object that a user's function makes.

    Args:
        make: Makes it.
        where: Whose it is, for messages.
        timeouts: How long its calls may take; None: it is called directly.

    Raises:
        ConfigError: It cannot be made, or is no robot.
    """

    def __init__(self, make: Callable[[], Any], *, where: str, timeouts: Timeouts | None = None) -> None:
        self._where, self._timeouts = where, timeouts
        self._thread = CallThread(where) if timeouts is not None else None
        self._closed = False
        try:
            self._robot: Any = self._run("open", make)
        except RobotFault as fault:
            raise ConfigError(f"{where}: its driver cannot be opened: {fault.detail}") from fault
        missing = [name for name in _REQUIRED if not callable(getattr(self._robot, name, None))]
        if missing:
            raise ConfigError(
                f"{where}: its driver made a {type(self._robot).__name__}, which lacks {', '.join(missing)}: a robot has "
                f"{', '.join(_REQUIRED)} (soar.robots.base.Robot); soar.testing.check_robot tries them"
            )

    def observe(self) -> Observation:
        """Return what the robot perceives now."""
        observation: Observation = self._call("observe")
        return observation

    def act(self, action: Action) -> Action | None:
        """Execute one action (7,); returns what the driver returns."""
        executed: Action | None = self._call("act", action)
        return executed

    def home(self) -> None:
        """Go to the pose from which every episode starts."""
        self._call("home")

    def health(self) -> Health:
        """Say whether the robot works; never raises."""
        try:
            health = self._call("health")
        except RobotFault as fault:
            return Health(ok=False, fault=fault.kind, detail=fault.detail)
        if not isinstance(health, Health):
            return Health(ok=False, fault="driver", detail=f"health() returned a {type(health).__name__}, not a Health")
        return health

    def recover(self) -> None:
        """Reboot what failed and go home."""
        self._call("recover")

    def ability(self, name: str) -> Callable[..., Any] | None:
        """Return what the driver can do besides under this name, None when it cannot."""
        if not callable(getattr(self._robot, name, None)):
            return None
        return lambda *arguments: self._call(name, *arguments)

    def halt(self) -> None:
        """Tell the driver, if it wants to know, that it was stopped; from any thread, and at once."""
        if callable(halt := getattr(self._robot, "halt", None)):
            halt()

    def abandon(self) -> None:
        """Let go without calling the driver's own `close`, which might move the arm."""
        self._closed = True
        if self._thread is not None:
            self._thread.end()

    def close(self) -> None:
        """Call the driver's own `close`, if it has one; what that raises is logged. Safe to call again."""
        if self._closed:
            return
        self._closed = True
        try:
            if self.ability("close") is not None:
                self._call("close")
        except RobotFault as fault:
            log.error("%s: its driver did not close: %s. Look at the arm.", self._where, fault.detail)
        finally:
            if self._thread is not None:
                self._thread.end()

    def _call(self, name: str, *arguments: Any) -> Any:
        return self._run(name, lambda: getattr(self._robot, name)(*arguments))

    def _run(self, name: str, function: Callable[[], Any]) -> Any:
        with as_fault(name):
            if self._thread is None or self._timeouts is None:
                return function()
            return self._thread.run(name, function, self._timeouts.of(name))


@contextmanager
def as_fault(call: str) -> Iterator[None]:
    """Turn what a driver raises into a `RobotFault`: `connection` for an `OSError` (timeouts included), else `driver`.

    What SOAR raises itself, Ctrl-C and the end of the process pass.
    """
    try:
        yield
    except SoarError:
        raise
    except OSError as error:
        raise RobotFault("connection", f"{call}: {error or type(error).__name__}") from error
    except Exception as error:
        raise RobotFault("driver", f"{call}: {type(error).__name__}: {error}") from error
