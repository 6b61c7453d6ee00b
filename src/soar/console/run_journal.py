"""The journal of a run, read as it grows: each line once, and of what happens at every episode only what pages show.

A night's journal has hundreds of thousands of lines. What is rare is kept as it is; what comes with every episode is counted,
and the last of it is kept.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soar.console.sources import Source
from soar.episodes.schema import EpisodeRecord
from soar.untrusted import parse_json

ORDERED = "ordered"
"""Name of the journal's event about an order that a person gave on a page."""
_RARE: tuple[str, ...] = (
    "promotion",
    "on_trial",
    "deploy",
    "deployed",
    "training",
    "round_finished",
    "nothing_to_learn",
    "not_learned",
    "person_needed",
)
_RARE += ("orders", ORDERED, "recovered", "unrecoverable", "missing", "policy_refused", "refused", "undelivered", "phase")
SPENT = ("calls", "tokens", "untold")
_SUMS = {
    "proposal": ("asked", "random", "undecidable"),
    "asked": ("looks", "ended", "saved", *SPENT),
    "spent": ("looks", *SPENT),
}
_LOOKS = 20_000
_LAST = 400
_BLOCK = 2**22
_SOON_S = 300.0
"""An episode is stored so soon after its looks were journaled [s]."""


@dataclass(slots=True)
class RunJournal:
    """What a journal says so far.

    Attributes:
        rare: Events that do not come with every episode, oldest first; of each kind the last `_LAST`.
        faults: The last faults.
        counts: Events by name.
        sums: `asked`: questions about what is feasible, `undecidable` ones among them; `random`: tasks that were tried although
            none was feasible; `looks`: at frames in between; `ended`, `saved`: attempts that looks ended, and the steps
            that this saved; `calls`, `tokens` and `untold`: what calls to models cost (`soar.vlm.spending`).
        replaced: What was done instead of asking a model that was away, by model and by what was done: `times`, and `episodes`:
            in how many attempts at one.
        hours: Seconds of a fleet's robots by robot and phase.
        times: When the last events were, and their names.
        fault_kinds: Faults by kind.
        phases_s: Seconds of each phase of `soar improve`.
        devices_s: Of phases that have ended: of processors, `cpu`, their own seconds; of another device the clock's.
        looks: Of the last episodes, by robot and number.
        read: Bytes that were read.
        file: Device and inode of the file.
    """

    rare: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)
    faults: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LAST))
    counts: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    replaced: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    hours: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    times: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_LOOKS))
    fault_kinds: Counter[str] = field(default_factory=Counter)
    phases_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    devices_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    looks: OrderedDict[tuple[str, int], dict[str, Any]] = field(default_factory=OrderedDict)
    read: int = 0
    file: tuple[int, int] = (0, 0)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a rare kind, oldest first."""
        return list(self.rare.get(name, ()))


class RunJournals:
    """The journals of several runs. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, RunJournal] = {}

    def of(self, source: Source) -> RunJournal | None:
        """Return what a run's journal says now; None for a store."""
        if source.run is None:
            return None
        with self._lock:
            self._catch_up(source.name, source.run / "events.jsonl")
            return self._of[source.name]

    def looks(self, source: Source, record: EpisodeRecord) -> list[tuple[int, float]]:
        """Return what the judge thought on the way through an episode: step and probability; nothing where nobody looked."""
        journal = self.of(source)
        number = record.id.rpartition("-")[2]
        if journal is None or not number.isdecimal():
            return []
        event = journal.looks.get((record.provenance.robot, int(number)), {})
        if abs(event.get("time_s", 0.0) - record.created_s) > _SOON_S:
            return []  # another round's episode of this number
        pairs = zip(event.get("steps", ()), event.get("probabilities", ()), strict=False)
        return [(int(step), float(p)) for step, p in pairs]

    def _catch_up(self, name: str, path: Path) -> None:
        """Read what was appended; another file of the same name is read from its beginning."""
        journal = self._of.setdefault(name, RunJournal())
        with contextlib.suppress(OSError), path.open("rb") as file:
            status = os.fstat(file.fileno())
            which = (status.st_dev, status.st_ino)
            if which != journal.file or status.st_size < journal.read:
                journal = self._of[name] = RunJournal(file=which)
            file.seek(journal.read)
            rest = b""
            while block := file.read(_BLOCK):
                lines = (rest + block).split(b"\n")
                rest = lines.pop()  # it may not be whole
                for line in lines:
                    _hear(journal, line)
            journal.read = file.tell() - len(rest)


def _hear(journal: RunJournal, line: bytes) -> None:
    try:
        event = parse_json(line)
        name, time_s = str(event["event"]), float(event["time_s"])
    except (ValueError, KeyError, TypeError):
        return  # a line that a crash has torn
    journal.counts[name] += 1
    journal.times.append((time_s, name))
    try:
        if name in _RARE:
            journal.rare.setdefault(name, deque(maxlen=_LAST)).append(event)
        if name == "fault":
            journal.faults.append(event)
            journal.fault_kinds[str(event.get("fault") or event.get("kind"))] += 1
        else:
            _count(journal, name, event)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # somebody else wrote into this journal


def _count(journal: RunJournal, name: str, event: dict[str, Any]) -> None:
    """Add up what was asked, and how long things took."""
    if name in _SUMS:
        for what in _SUMS[name]:
            journal.sums[what] += int(event.get(what, 0))
        journal.sums["asked"] += int(event.get("feasible", 0))
        if times := int(event.get("fallbacks", 0)):  # a fleet's robot tells how often, and not of which model
            whose = f"models of {event.get('robot', 'a robot')}", "told in its own journal"
            journal.replaced.setdefault(whose, Counter()).update(times=times, episodes=1)
    elif name == "fallback":
        replaced = journal.replaced.setdefault((str(event["model"]), str(event["instead"])), Counter())
        replaced.update(times=int(event["times"]), episodes=1)
    elif name == "phase":
        journal.phases_s[str(event["name"])] += float(event["seconds"])
        if "cpu_seconds" in event:
            journal.devices_s["cpu"] += float(event["cpu_seconds"])
        if (device := str(event.get("device", "cpu"))) != "cpu":
            journal.devices_s[device] += float(event["seconds"])
    elif name == "phases":
        for robot, phases in event["robots"].items():
            for phase, seconds in phases.items():
                journal.hours[str(robot), str(phase)] += float(seconds)
    elif name == "looks":
        journal.sums["looks"] += len(event["steps"])
        journal.sums["ended"] += event.get("ended") is True
        journal.sums["saved"] += int(event.get("saved", 0))
        journal.looks[str(event["robot"]), int(event["index"])] = event
        if len(journal.looks) > _LOOKS:
            journal.looks.popitem(last=False)
