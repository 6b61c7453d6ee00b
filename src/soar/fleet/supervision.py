"""How each robot of a fleet is, what it is told, and when a person is called.

    starting ─► collecting ─► paused | resting | full | away ─► collecting …
                     │ a fault that nothing recovers, or too many faults
                     ▼
                  waiting      one message to a person, no motion, until that person releases the robot
                  silent       nothing was heard of it for `SILENT_S`
                  stopped

Time is counted for each state, so that a report can say where a robot's hours went.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soar.errors import SoarError, UnknownNameError
from soar.fleet.config import FaultBudget, Rest
from soar.fleet.status import NOT_STARTED, SILENT, STOPPED, WAITING, RobotStatus
from soar.prometheus import Histogram, merged

log = logging.getLogger(__name__)
SILENT_S = 10.0
"""After so long without a word a robot counts as silent [s]."""
_CANNOT = (SoarError, OSError, RuntimeError)
"""What telling somebody may end with: a disk, files, threads that are used up. It is tried again."""
_WORKING = ("collecting",)
_PHASES = ("starting", "collecting", "paused", "resting", "full", "away", "waiting", "stopped")


@dataclass(slots=True)
class _Orders:
    """What one robot is told, and why."""

    paused: bool = False
    stopped: bool = False
    held: str = ""
    called: bool = True
    told: bool = True
    released: int = 0
    lost: bool = False
    rest_until_s: float | None = None
    last: deque[bool] = field(default_factory=deque)


class Supervisor:
    """Hears of all robots and tells them what to do. Safe to use from several threads.

    Args:
        robots: Their names.
        faults: When a robot waits for a person.
        rest: When a robot rests.
        call: Called with a robot's name and what a person should know, once for each time that one is needed.
        lost: Called with the name of a robot, once for each time that nothing is heard of it for `lost_s`, also at the start.
        lost_s: See there [s].
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        robots: Iterable[str],
        *,
        faults: FaultBudget,
        rest: Rest,
        call: Callable[[str, str], None] = lambda robot, why: None,
        lost: Callable[[str], None] = lambda robot: None,
        lost_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._faults, self._rest, self._call, self._clock = faults, rest, call, clock
        self._lost, self._lost_s = lost, lost_s
        self._lock = threading.RLock()
        now_s = clock()
        self._robots = {name: RobotStatus(name=name, since_s=now_s, counted_s=now_s) for name in robots}
        self._orders = {name: _Orders(last=deque(maxlen=faults.of)) for name in self._robots}
        self._all_stopped = self._enough = False

    def now_s(self) -> float:
        """Return the time by the clock of all that is kept here [s]."""
        return self._clock()

    def hear(self, robot: str, beat: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of what a robot says, and return what it is told: `do` and `released`.

        Args:
            robot: Its name.
            beat: `phase`, `scene`, `instruction`, `detail`, `policy`, and `events`: a list of what happened.

        Raises:
            UnknownNameError: The fleet has no such robot.
        """
        with self._lock:
            status, orders = self._of(robot)
            now_s = self._clock()
            phase = beat.get("phase")
            self._enter(status, phase if phase in _PHASES else "starting", now_s)
            status.heard_s, orders.lost = now_s, False
            for name in ("scene", "instruction", "policy", "detail"):
                setattr(status, name, str(beat.get(name, ""))[:300])
            status.waiting = int(beat.get("waiting", 0))
            for event in beat.get("events", ()):
                self._note(status, orders, event)
            if orders.held:
                self._enter(status, WAITING, now_s)
                status.detail = orders.held
            if self._rest.after_h and orders.rest_until_s is None and status.worked_s >= self._rest.after_h * 3600:
                orders.rest_until_s, status.worked_s = now_s + self._rest.for_min * 60, 0.0
            if orders.rest_until_s is not None and now_s >= orders.rest_until_s:
                orders.rest_until_s = None
            told = {"do": self._told(orders), "released": orders.released}
        if beat.get("events"):
            self._call_persons()
        return told

    def remember(self, events: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
        """Take up what a coordinator before this one told robots and persons, as the journal has it, oldest first.

        Returns:
            The robots that wait for a person whose message was perhaps not sent, and why they wait.
        """
        with self._lock:
            for event in events:
                kind, robots = event.get("event"), event.get("robots")
                if kind in ("person_needed", "person_told") and (orders := self._orders.get(str(event.get("robot")))):
                    if kind == "person_needed":
                        orders.held = str(event.get("detail")) or "a person was called"
                    orders.told = kind == "person_told"
                elif kind == "orders":
                    # Who stopped all ended that run; whoever begins it again wants it to go on.
                    some = [name for name in robots if name in self._robots] if isinstance(robots, list) else []
                    if event.get("do") == "resume" and (some or robots == "all"):
                        self._for(some, _go)
                    elif event.get("do") == "pause" and (some or robots == "all"):
                        self._for(some, _pause)
                    elif event.get("do") == "stop" and some:
                        self._for(some, _stop)
            for name, orders in self._orders.items():
                self._robots[name].detail = orders.held
            return [(name, orders.held) for name, orders in self._orders.items() if orders.held and not orders.told]

    def standing(self) -> list[str]:
        """Return the robots that somebody has to let go on."""
        with self._lock:
            return [name for name, orders in self._orders.items() if orders.held or orders.paused or orders.stopped]

    def found(self, robot: str, detail: str) -> None:
        """Take note of what is known of a robot that has not been heard of."""
        with self._lock:
            status, _ = self._of(robot)
            if status.heard_s is None:
                status.detail = detail

    def tick(self) -> None:
        """Notice who has not been heard of, and call persons who could not be called when that was needed."""
        with self._lock:
            now_s, gone = self._clock(), []
            for status in self._robots.values():
                orders = self._orders[status.name]
                silent = status.heard_s is not None and now_s - status.heard_s > SILENT_S
                if silent and status.phase not in (STOPPED, SILENT):
                    self._enter(status, SILENT, now_s)
                    status.detail, status.instruction = "nothing was heard of it; its process or its network is away", ""
                elif status.phase != NOT_STARTED:
                    self._enter(status, status.phase, now_s)
                last_s = status.since_s if status.heard_s is None else status.heard_s
                away = status.phase in (SILENT, NOT_STARTED) and now_s - last_s > self._lost_s
                if away and not orders.lost and not orders.stopped:
                    orders.lost = True
                    gone.append(status.name)
        for name in gone:
            try:
                self._lost(name)
            except _CANNOT as error:
                self._orders[name].lost = False
                log.warning("that %s is not heard of cannot be told: %s", name, error)
        self._call_persons()

    def status(self) -> list[RobotStatus]:
        """Return how the robots are."""
        self.tick()
        with self._lock:
            return list(self._robots.values())

    def hold(self, robot: str, why: str) -> None:
        """Let a robot wait for a person, who is called.

        Raises:
            UnknownNameError: The fleet has no such robot.
        """
        with self._lock:
            self._hold(*self._of(robot), why)
        self._call_persons()

    def pause(self, robots: Sequence[str] = ()) -> None:
        """Let robots, or all of them, pause after the episode that they are at."""
        self._for(robots, _pause)

    def resume(self, robots: Sequence[str] = ()) -> None:
        """Let robots, or all of them, go on; also those that wait for a person, or were stopped."""
        self._for(robots, _go)
        if not robots:
            self._all_stopped = False

    def stop(self, robots: Sequence[str] = ()) -> None:
        """Let robots, or all of them, stop at once and end their processes."""
        self._for(robots, _stop)
        if not robots:
            self._all_stopped = True

    def enough(self, enough: bool) -> None:
        """Whether all that was to be collected is there: robots pause."""
        self._enough = enough

    def waiting(self) -> int:
        """Return how many episodes robots have on their disks, of those that are heard of."""
        with self._lock:
            return sum(status.waiting for status in self._robots.values() if status.phase not in (SILENT, STOPPED))

    def wanted(self, robot: str) -> bool:
        """Whether a robot's process is to run."""
        with self._lock:
            _, orders = self._of(robot)
            return not (orders.stopped or self._all_stopped)

    @property
    def all_stopped(self) -> bool:
        """Whether the whole fleet was told to stop."""
        return self._all_stopped

    def _hold(self, status: RobotStatus, orders: _Orders, why: str) -> None:
        if not orders.held:
            orders.held, orders.called = why, False
            status.calls += 1

    def _call_persons(self) -> None:
        """Call persons, which waits for the disk, while robots are heard; one who cannot be called is at the next tick."""
        with self._lock:
            due = {name: orders.held for name, orders in self._orders.items() if orders.held and not orders.called}
            for name in due:
                self._orders[name].called = True
        for name, why in due.items():
            try:
                self._call(name, why)
            except _CANNOT as error:
                self._orders[name].called = False
                log.warning("that %s waits for a person cannot be told: %s", name, error)

    def _told(self, orders: _Orders) -> str:
        if orders.stopped or self._all_stopped:
            return "stop"
        if orders.held:
            return "hold"
        if orders.rest_until_s is not None:
            return "rest"
        return "pause" if orders.paused or self._enough else "go"

    def _note(self, status: RobotStatus, orders: _Orders, event: Mapping[str, Any]) -> None:
        kind = event.get("kind")
        if kind == "episode":
            status.episodes += 1
            status.successes += event.get("success") is True
            orders.last.append(False)
        elif kind == "fault":
            fault = str(event.get("fault", "unknown"))[:40]
            status.faults[fault] = status.faults.get(fault, 0) + 1
            orders.last.append(True)
            if sum(orders.last) > self._faults.most:
                detail = str(event.get("detail", ""))[:300]
                many = f"{sum(orders.last)} of its last {len(orders.last)}"
                self._hold(status, orders, f"{many} attempts ended with a fault: {detail}")
        elif kind == "person":
            self._hold(status, orders, str(event.get("detail", ""))[:300] or "a person is needed")
        elif kind == "asked":
            status.fallbacks += int(event.get("fallbacks", 0))
            for model, said in event.get("waits", {}).items():
                status.waits[model] = merged([Histogram.read(one) for one in (said, status.waits.get(model)) if one]).plain()

    def _enter(self, status: RobotStatus, phase: str, now_s: float) -> None:
        """Count the time since the last word, and take note of a new phase."""
        passed_s, status.counted_s = now_s - status.counted_s, now_s
        status.seconds[status.phase] = status.seconds.get(status.phase, 0.0) + passed_s
        if status.phase in _WORKING:
            status.worked_s += passed_s
        if phase != status.phase:
            status.phase, status.since_s = phase, now_s

    def _of(self, robot: str) -> tuple[RobotStatus, _Orders]:
        if robot not in self._robots:
            raise UnknownNameError("robot", robot, self._robots, "The fleet's file lists them.")
        return self._robots[robot], self._orders[robot]

    def _for(self, robots: Sequence[str], change: Callable[[_Orders], None]) -> None:
        with self._lock:
            for orders in [self._of(robot)[1] for robot in robots or self._robots]:
                change(orders)


def _go(orders: _Orders) -> None:
    orders.paused = orders.stopped = False
    orders.rest_until_s = None
    if orders.held:
        orders.held = ""
        orders.released += 1
        orders.last.clear()


def _pause(orders: _Orders) -> None:
    orders.paused = True


def _stop(orders: _Orders) -> None:
    orders.stopped = True
