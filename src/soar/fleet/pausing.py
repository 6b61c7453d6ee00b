"""A robot that waits at home while a person has paused its run (`soar.run_orders`), and says so to whoever looks or waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from soar.collect.listeners import Listeners
from soar.errors import RobotFault
from soar.robots.base import Robot
from soar.robots.safety import SafetyError
from soar.run_orders import Order, Orders

log = logging.getLogger(__name__)
_AGAIN_S = 60.0
"""How often whoever waits for a robot that waits hears of it [s]."""


class Pausing:
    """Asked before each episode.

    Args:
        orders: Of the run.
        robot: The arm.
        name: Of the robot.
        listeners: Told `paused`, with `by`, again and again.
        on_pause: Called now and then with who has paused the run, and with "" when it goes on.

    Attributes:
        moved: Whether the arm has moved. Whoever begins a command that is paused may stand beside it: it goes home only from
            an attempt.
    """

    def __init__(self, orders: Orders, robot: Robot, name: str, listeners: Listeners, on_pause: Callable[[str], None]) -> None:
        self._orders, self._robot, self._name = orders, robot, name
        self._listeners, self._on_pause = listeners, on_pause
        self._said_s = -float("inf")
        self.moved = False

    def ends(self, stopping: Callable[[], bool]) -> bool:
        """Wait while the run is paused; return whether a person ends what is under way.

        Args:
            stopping: Whether to wait no longer.

        Raises:
            SoarError: The orders cannot be read, and never were.
        """
        return self._orders.wait(self._name, stopping=stopping, rest=self._rest, waiting=self._waiting).ends

    def _rest(self) -> None:
        if self.moved:
            go_home(self._robot, self._name)

    def _waiting(self, paused: Order | None) -> None:
        if paused is None:
            self._said_s = -float("inf")
            self._on_pause("")
            return
        self._listeners.tell("paused", by=paused.by)
        if time.monotonic() - self._said_s > _AGAIN_S:
            self._said_s = time.monotonic()
            self._on_pause(paused.by)


def go_home(robot: Robot, name: str) -> None:
    """Let an arm wait at home; one that cannot go there waits where it is, and its next attempt says what is wrong."""
    try:
        robot.home()
    except (RobotFault, SafetyError) as error:
        log.warning("%s waits where it is, since it cannot go home: %s", name, error)
