"""Episodes on robots' disks, on their way to the store: they count as collected as long as they come.

A robot that brings nothing for `PATIENCE_S` keeps nobody from working: that is written down (`undelivered`), and what it has
counts no more, until some of it comes. Where that cannot be written down the disk is full, and perhaps nobody's episodes can
come: they go on counting, so that robots do not make more and more of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from soar.errors import SoarError
from soar.event_log import Journal
from soar.fleet.status import SILENT, STOPPED, RobotStatus
from soar.fleet.supervision import Supervisor

log = logging.getLogger(__name__)
PATIENCE_S = 120.0
"""So long nothing may come of a robot that has something [s]."""


@dataclass(slots=True)
class _Seen:
    """What a robot had and had brought, and since when nothing came."""

    waiting: int
    stored: int
    since_s: float
    late: bool = False


class Underway:
    """Counts what is on its way.

    Args:
        supervisor: Knows what robots have on their disks.
        stored: Episodes of each robot in the store.
        journal: Of the run.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        stored: Mapping[str, int],
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor, self._stored, self._journal, self._clock = supervisor, stored, journal, clock
        self._seen: dict[str, _Seen] = {}

    def count(self) -> int:
        """Return how many episodes robots have on their disks that are expected to come."""
        return sum(robot.waiting for robot in self._supervisor.status() if self._comes(robot))

    def _comes(self, robot: RobotStatus) -> bool:
        if robot.phase in (SILENT, STOPPED) or not robot.waiting:
            self._seen.pop(robot.name, None)
            return False
        now_s, stored = self._clock(), self._stored[robot.name]
        seen = self._seen.setdefault(robot.name, _Seen(robot.waiting, stored, now_s))
        if stored > seen.stored or robot.waiting < seen.waiting:  # what is of an earlier round is not counted as stored
            seen.since_s, seen.late = now_s, False
        seen.waiting, seen.stored = robot.waiting, stored
        if not seen.late and now_s - seen.since_s > PATIENCE_S:
            seen.since_s = now_s
            seen.late = self._told(robot)
        return not seen.late

    def _told(self, robot: RobotStatus) -> bool:
        log.warning(
            "%s has %d episodes on its disk, and brought none for %g s: its log says why. They stay there, and others collect "
            "what is missing meanwhile",
            robot.name,
            robot.waiting,
            PATIENCE_S,
        )
        try:
            self._journal.append("undelivered", robot=robot.name, waiting=robot.waiting)
        except SoarError as error:
            log.warning("%s", error)
            return False
        return True
