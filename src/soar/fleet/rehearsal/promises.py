"""What must be true after a rehearsal, and is counted: each number of `broken` is to be 0.

An arm's own word counts for who moved it (`RUN/motions.txt`), a robot's own journal for which episodes there were, what came
out of the telephone for who was called. Between the moment when a person is called and the moment when the robot stands still
two beats may pass: so long a step that it makes is not counted.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soar.episodes.integrity import examine
from soar.episodes.store import EpisodeStore
from soar.errors import StoreError
from soar.event_log import read_journal
from soar.fleet.episode_bytes import unpack_episodes
from soar.fleet.link import BEAT_S

_STANDS_S = 2 * BEAT_S
_MANY = 1000
_HALF = ("broken episode", "wrong length", "wrong verdict")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One promise.

    Attributes:
        what: In words, as a table has it.
        broken: How often it was broken.
        of: Of how many.
        examples: Some that broke it.
    """

    what: str
    broken: int
    of: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Motion:
    """What an arm said: whose it is, the process that moved it, and from when to when [s, monotonic]."""

    robot: str
    pid: int
    begins_s: float
    ends_s: float


def read_motions(path: Path) -> list[Motion]:
    """Return what the arms said; a torn last line is passed over."""
    motions = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            robot, pid, begins, ends = line.split()
            motions.append(Motion(robot, int(pid), int(begins) / 1e9, int(ends) / 1e9))
    return motions


def check_promises(
    run: Path,
    spools: Sequence[Path],
    *,
    motions: Sequence[Motion],
    messages: Sequence[Mapping[str, Any]],
    states: Sequence[Mapping[str, Any]],
    clock_offset_s: float,
) -> list[Promise]:
    """Return what became of each promise.

    Args:
        run: Folder of the rehearsed run, in which nobody works any more.
        spools: Of all robots, on all their computers.
        motions: Of all arms.
        messages: That persons got.
        states: How the robots were at the end, as the coordinator said.
        clock_offset_s: Of the journal's clock against that of the motions [s].
    """
    journal = read_journal(run / "events.jsonl")
    return [
        *_episodes(run, spools, journal),
        _one_driver(motions),
        _epochs(journal),
        _working(states),
        *_persons(journal, messages, motions, clock_offset_s),
    ]


def _episodes(run: Path, spools: Sequence[Path], journal: Sequence[Mapping[str, Any]]) -> Iterable[Promise]:
    made = {str(event["id"]) for spool in spools for event in read_journal(spool / "events.jsonl", "episode")}
    told = {str(event["id"]) for event in journal if event["event"] == "episode"}
    records = EpisodeStore(run / "episodes").episodes()
    stored = {record.id for record in records}
    waiting = {id for spool in spools for path in spool.glob("*.episode") for id in _ids(path)}
    refused = {id for spool in spools for path in spool.glob("refused/*.episode") for id in _ids(path)}
    findings = examine(str(run / "episodes"), check_frames=True)
    lost = (made | told) - stored - waiting - refused
    yield _promise("episodes that a robot had made, lost", lost, len(made | told))
    yield _promise("episodes that wait for delivery at the end", waiting - stored, len(stored))
    yield _promise("episodes that the coordinator refused", refused, len(stored))
    twice = [finding.episode for finding in findings if finding.kind == "duplicate id"]
    seeds = Counter((record.provenance.robot, record.provenance.seed) for record in records)
    twice += [f"{robot} seed {seed}" for (robot, seed), count in seeds.items() if count > 1]
    yield _promise("episodes stored twice", twice, len(stored))
    half = [f"{finding.episode}: {finding.detail}" for finding in findings if finding.kind in _HALF]
    yield _promise("episodes half there", half, len(stored))


def _ids(path: Path) -> list[str]:
    try:
        return [episode.id for episode in unpack_episodes(path.read_bytes(), most=_MANY)]
    except StoreError:
        return [f"damaged {path}"]


def _one_driver(motions: Sequence[Motion]) -> Promise:
    """A process that another one has followed never moves the arm again, nor do two of them at once."""
    bad, of = [], defaultdict[str, list[Motion]](list)
    for motion in motions:
        of[motion.robot].append(motion)
    for robot, mine in of.items():
        mine.sort(key=lambda motion: motion.begins_s)
        last, gone = mine[0], set[int]()
        for motion in mine[1:]:
            follows = motion.pid != last.pid
            if motion.pid in gone or (follows and motion.begins_s < last.ends_s):
                bad.append(f"{robot}: process {motion.pid} at {motion.begins_s:.3f} s, after process {last.pid}")
            if follows and motion.pid not in gone:
                gone.add(last.pid)
                last = motion
            elif not follows:
                last = motion
    return _promise("steps with two drivers", bad, len(motions))


def _epochs(journal: Sequence[Mapping[str, Any]]) -> Promise:
    given = Counter((event["robot"], event["epoch"]) for event in journal if event["event"] == "epoch")
    return _promise("epochs given twice", [f"{key}" for key, count in given.items() if count > 1], len(given))


def _working(states: Sequence[Mapping[str, Any]]) -> Promise:
    bad = [
        f"{state['name']}: {state['phase']} {state['detail']}"
        for state in states
        if state["phase"] not in ("collecting", "paused", "resting") and not (state["phase"] == "waiting" and state["detail"])
    ]
    return _promise("robots that neither work nor wait with a reason", bad, len(states))


def _persons(
    journal: Sequence[Mapping[str, Any]],
    messages: Sequence[Mapping[str, Any]],
    motions: Sequence[Motion],
    clock_offset_s: float,
) -> Iterable[Promise]:
    """A person is called once for each time that a robot waits, and it stands still until that person agrees."""
    calls: list[tuple[str, float, float]] = []
    open_s: dict[str, float] = {}
    again = []
    for event in journal:
        if event["event"] == "person_needed":
            robot = str(event["robot"])
            if robot in open_s:
                again.append(f"{robot}: {event['detail']}")
            open_s.setdefault(robot, float(event["time_s"]))
        elif event["event"] == "orders" and event["do"] == "resume":
            for robot in list(open_s) if event["robots"] == "all" else event["robots"]:
                if robot in open_s:
                    calls.append((robot, open_s.pop(robot), float(event["time_s"])))
    calls += [(robot, since_s, float("inf")) for robot, since_s in open_s.items()]
    needed = Counter(robot for robot, _, _ in calls)
    said = Counter(robot for robot in needed for message in messages if f"robot {robot} waits" in str(message["text"]))
    wrong = [f"{robot}: {said[robot]} messages for {count} calls" for robot, count in needed.items() if said[robot] != count]
    yield _promise("persons called not once", again + wrong, len(calls))
    moved = [
        f"{motion.robot}: moved {motion.begins_s + clock_offset_s - since_s:.1f} s after a person was called"
        for robot, since_s, until_s in calls
        for motion in motions
        if motion.robot == robot and since_s + _STANDS_S < motion.begins_s + clock_offset_s < until_s
    ]
    yield _promise("steps while a robot waits for a person", moved, len(calls))


def _promise(what: str, broken: Iterable[str], of: int) -> Promise:
    all = sorted(broken)
    return Promise(what=what, broken=len(all), of=of, examples=tuple(all[:3]))
