"""What a fleet's run came to, from its store and its journal: how much, how well, and where the hours went.

A robot's hours begin when it is heard of first, and hold everything: work, rests, waiting for a person, silence. A call for a
person is one intervention. The hours are those that the coordinator journaled (`soar.fleet.telemetry.PhaseTimes`).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation.statistics import Rate
from soar.event_log import read_journal
from soar.fleet.status import NOT_STARTED
from soar.prometheus import BOUNDS_S, Histogram, merged
from soar.types import STEP_S

_PIECES = 10
_WORK = "collecting"


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotHours:
    """What one robot did, or all of them.

    Attributes:
        robot: Its name.
        hours: Since it was heard of first, as far as they were journaled.
        episodes: Stored.
        judged: Judged successes among them; an episode without a verdict is no success.
        faults: Attempts that ended with one.
        calls: For a person.
        an_hour: Episodes a robot-hour; None without hours.
        calls_a_day: Calls for a person in 24 robot-hours; None without hours.
    """

    robot: str
    hours: float
    episodes: int
    judged: Rate
    faults: int
    calls: int
    an_hour: float | None
    calls_a_day: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Episodes that followed each other, or those of one policy.

    Attributes:
        name: When the first was stored, or the policy's id.
        judged: Judged successes among them.
    """

    name: str
    judged: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """What a run came to.

    Attributes:
        robots: By name; the last is all together.
        over_time: The episodes in up to ten equal parts, oldest first.
        policies: The policies, oldest first.
        lost_s: Seconds of all robots by what they did instead of collecting, most first [s].
        faults: By kind, most first.
        deployed: What was decided about new policies, oldest first.
        waits: How long robots waited for models behind servers, by kind (`soar.prometheus.Histogram.plain`).
        fallbacks: Answers that robots did without.
        ended: Attempts that looks ended, since success was seen.
        saved: Robot-hours that these did not take.
    """

    robots: tuple[RobotHours, ...]
    over_time: tuple[Piece, ...]
    policies: tuple[Piece, ...]
    lost_s: dict[str, float]
    faults: dict[str, int]
    deployed: tuple[str, ...]
    waits: dict[str, list[float]]
    fallbacks: int
    ended: int
    saved: float

    def tables(self) -> list[str]:
        """Return the report as texts, one a question."""
        everything = sum(robot.hours for robot in self.robots[:-1]) * 3600
        texts = [
            _table(
                ("robot", "hours", "episodes", "an hour", "judged", "faults", "calls", "calls a day"),
                [
                    (
                        r.robot,
                        f"{r.hours:.2f}",
                        r.episodes,
                        _number(r.an_hour),
                        r.judged,
                        r.faults,
                        r.calls,
                        _number(r.calls_a_day),
                    )
                    for r in self.robots
                ],
            ),
            _table(("since", "judged successes"), [(piece.name, piece.judged) for piece in self.over_time]),
            _table(("policy", "judged successes"), [(piece.name, piece.judged) for piece in self.policies]),
            _table(
                ("time lost by", "hours", "share"),
                [(cause, f"{s / 3600:.2f}", f"{s / everything:.1%}") for cause, s in self.lost_s.items()],
            ),
            _table(("fault", "attempts"), self.faults.items()),
            _table(("server", "answers", "half within", "99 % within"), [_waited(*one) for one in self.waits.items()]),
            f"{self.fallbacks} answers of models that were away, replaced as their files say" if self.fallbacks else "",
            f"{self.saved:.2f} robot-hours saved, by {self.ended} attempts that ended when success was seen"
            if self.ended
            else "",
            "\n".join(self.deployed),
        ]
        return [text for text in texts if text]


def fleet_report(run: Path) -> FleetReport:
    """Return what a fleet's run came to.

    Raises:
        ConfigError: There is no run.
        StoreError: Its store cannot be read.
        SoarError: Its journal cannot be read.
    """
    events = read_journal(run / "events.jsonl")
    if not events or not (run / "episodes").exists():
        raise ConfigError(f"{run}: there is no fleet's run; `soar fleet up FILE --run {run}` makes one")
    records = sorted(EpisodeStore(run / "episodes").episodes(), key=lambda record: record.created_s)
    seconds: Counter[tuple[str, str]] = Counter()
    faults: Counter[tuple[str, str]] = Counter()
    calls: Counter[str] = Counter()
    waits: dict[str, list[Histogram]] = {}
    fallbacks = ended = saved = 0
    for event in events:
        if event["event"] == "phases":
            for robot, phases in event["robots"].items():
                seconds.update({(robot, phase): s for phase, s in phases.items() if phase != NOT_STARTED})
        elif event["event"] == "fault":
            faults[str(event.get("robot", "")), str(event.get("fault") or event.get("kind"))] += 1
        elif event["event"] == "person_needed":
            calls[event["robot"]] += 1
        elif event["event"] == "asked":
            fallbacks += event.get("fallbacks", 0)  # journals of earlier versions do not say
            ended, saved = ended + event.get("ended", 0), saved + event.get("saved", 0)
            for kind, said in event.get("waits", {}).items():
                waits.setdefault(kind, []).append(Histogram.read(said))
    names = sorted({r.provenance.robot for r in records} | {robot for robot, _ in (*seconds, *faults)} | set(calls))
    lost, kinds = Counter[str](), Counter[str]()
    for (_, phase), s in seconds.items():
        if phase != _WORK:
            lost[phase] += s
    for (_, kind), count in faults.items():
        kinds[kind] += count

    def row(name: str, robots: Sequence[str]) -> RobotHours:
        mine = [record for record in records if record.provenance.robot in robots]
        hours = sum(s for (robot, _), s in seconds.items() if robot in robots) / 3600
        called = sum(calls[robot] for robot in robots)
        return RobotHours(
            robot=name,
            hours=hours,
            episodes=len(mine),
            judged=_judged(mine),
            faults=sum(count for (robot, _), count in faults.items() if robot in robots),
            calls=called,
            an_hour=len(mine) / hours if hours else None,
            calls_a_day=called / hours * 24 if hours else None,
        )

    size = max(1, math.ceil(len(records) / _PIECES))
    pieces = [records[begin : begin + size] for begin in range(0, len(records), size)]
    policies = dict.fromkeys(record.provenance.policy for record in records)
    return FleetReport(
        robots=(*(row(name, [name]) for name in names), row("all", names)),
        over_time=tuple(Piece(name=_when(piece[0].created_s), judged=_judged(piece)) for piece in pieces),
        policies=tuple(Piece(name=p, judged=_judged([r for r in records if r.provenance.policy == p])) for p in policies),
        lost_s=dict(lost.most_common()),
        faults=dict(kinds.most_common()),
        deployed=tuple(f"{event['done']}: {event['sentence']}" for event in events if event["event"] == "deployed"),
        waits={kind: merged(each).plain() for kind, each in sorted(waits.items())},
        fallbacks=fallbacks,
        ended=ended,
        saved=saved * STEP_S / 3600,
    )


def _judged(records: Sequence[EpisodeRecord]) -> Rate:
    return Rate(successes=sum(record.success is True for record in records), trials=len(records))


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _waited(kind: str, said: list[float]) -> tuple[str, int, str, str]:
    """Return how many answers of a kind of server there were, and how long half of them, and nearly all, took at most."""
    waits = Histogram.read(said)
    half, most = (f"{s:g} s" if math.isfinite(s) else f"over {BOUNDS_S[-1]:g} s" for s in (waits.below(0.5), waits.below(0.99)))
    return kind, sum(waits.counts), half, most


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return aligned columns; nothing without rows."""
    lines = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    if len(lines) == 1:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
