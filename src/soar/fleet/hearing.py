"""What robots say that happened: journaled once each, however often a beat whose answer was lost is said again.

beat ─► events that are new ─► journal, in one write ─► deployments: faults of a policy that is tried
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from soar.event_log import Journal, read_journal
from soar.fleet.calling import keep_picture
from soar.fleet.deploying import Deployments
from soar.fleet.deployment import Tally
from soar.fleet.telemetry import read_asked

_SAID = ("fault", "person", "refused", "policy", "policy_refused", "asked")
"""Events of robots that are journaled under their own names."""


class Hearing:
    """Hears robots. Safe to use from several threads.

    Args:
        journal: Of the run; what it says that a coordinator before this one heard is taken up.
        deployments: Are told of faults, and of policies that a robot cannot use.

    Raises:
        SoarError: The journal cannot be read.
    """

    def __init__(self, journal: Journal, deployments: Deployments) -> None:
        self._journal, self._deployments = journal, deployments
        self._locks = defaultdict[str, threading.Lock](threading.Lock)
        self._last = defaultdict[str, tuple[int, int]](lambda: (0, 0))
        for event in read_journal(journal.path):
            robot, epoch = event.get("robot"), event.get("epoch")
            if isinstance(robot, str) and isinstance(epoch, int) and (number := _number(event)) is not None:
                self._last[robot] = max(self._last[robot], (epoch, number))

    def __call__(self, robot: str, epoch: int, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take note of events, all or none of them.

        Args:
            robot: Who says them; one of the fleet's.
            epoch: Its own, which is the newest.
            events: As `soar.fleet.link.Link.event` makes them.

        Returns:
            Those that are new.

        Raises:
            SoarError: The journal cannot be written: they are to be said again.
        """
        if not events:
            return []
        with self._locks[robot]:  # the same events, said again, wait until these count
            heard = self._last[robot]
            new = [event for event in events if (number := _number(event)) is None or (epoch, number) > heard]
            self._journal.append_all([one for event in new if (one := self._journaled(robot, epoch, event)) is not None])
            self._last[robot] = max([heard, *((epoch, number) for event in new if (number := _number(event)) is not None)])
        for event in new:
            if event.get("kind") == "fault":
                self._deployments.count(str(event.get("policy", "")), str(event.get("scene", ""))[:300], Tally(faults=1))
        return new

    def _journaled(self, robot: str, epoch: int, event: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return what is written down of an event; None for an episode, which is journaled once it is stored."""
        kind = str(event.get("kind"))[:40]
        if kind == "policy_refused":  # first: it may be told twice, and not be forgotten
            self._deployments.refused(robot, str(event.get("version")), str(event.get("detail"))[:300])
        keep_picture(self._journal, robot, event.pop("picture", None))
        asked = read_asked(event) if kind == "asked" else {}
        event.update(asked)
        name = kind if kind in _SAID else f"robot_{kind}"
        return None if kind == "episode" else (name, _plain(event) | asked | {"robot": robot, "epoch": epoch})


def _number(event: Mapping[str, Any]) -> int | None:
    number = event.get("number")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a robot's event is written down: short texts and numbers under plain names."""
    kept = {name: value for name, value in list(event.items())[:20] if isinstance(value, str | int | float | bool | None)}
    names = {name: value[:500] if isinstance(value, str) else value for name, value in kept.items()}
    ours = ("time_s", "event", "schema", "robot", "epoch")
    return {f"robot_{name}" if name in ours else name: value for name, value in names.items()}
