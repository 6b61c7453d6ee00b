"""What the page about a run says: how far it is, how well it goes, what was decided, and what it took so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from soar.collect.preset import load_collection
from soar.configuration import names, read_yaml
from soar.console.run_journal import SPENT, RunJournal
from soar.console.run_plan import name_in
from soar.console.sources import Source
from soar.errors import SoarError
from soar.evaluation.practice import ACHIEVED
from soar.evaluation.statistics import Rate
from soar.progress import FILE
from soar.run_folder import RunFolder
from soar.tasks.selection import UCBSelector
from soar.types import STEP_S
from soar.untrusted import parse_json

THRESHOLD = 0.5
"""Of a judge of whom nothing else is known."""
_PIECES = 10
_DAY_S = 86_400.0
_MOST_TASKS = 60
_FRESH_S = 120.0
_CHANGES = ("fault", "promotion", "deployed", "person_needed", "ordered", "round_finished")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is known of one task.

    Attributes:
        task: The instruction.
        judged: Judged successes among its attempts; what could not be judged is none.
        undecided: Attempts that could not be judged.
        true: True ones, as far as a simulator says so, without those done before they began; None elsewhere.
        ucb: Its score in equation 1, were all tasks feasible: the next attempt goes to the greatest.
        pieces: The same in up to ten equal parts, oldest first.
    """

    task: str
    judged: Rate
    undecided: int
    true: Rate | None
    ucb: float
    pieces: tuple[tuple[str, Rate], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """How far the phase is that goes on now.

    Attributes:
        name: Of the phase.
        done: So much of it.
        total: Of so much.
        note: In words.
        left_s: Until its end, if it goes on as since its beginning; None: nobody can tell yet.
        said_s: When that was said.
        fresh: Whether that was just now.
    """

    name: str
    done: int
    total: int
    note: str
    left_s: float | None
    said_s: float
    fresh: bool


def phase_of(source: Source, clock: Callable[[], float] = time.time) -> Phase | None:
    """Return how far a run is; None when it does not say so."""
    if source.run is None:
        return None
    try:
        said = parse_json((source.run / FILE).read_text(encoding="utf-8"))
        done, total, time_s = int(said["done"]), int(said["total"]), float(said["time_s"])
        passed_s, new = time_s - float(said["begun_s"]), done - int(said["done_then"])
        left_s = passed_s / new * (total - done) if new > 0 and passed_s > 0 else None
        name, note = str(said["phase"]), str(said["note"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Phase(name=name, done=done, total=total, note=note, left_s=left_s, said_s=time_s, fresh=clock() - time_s < _FRESH_S)


def settings_of(source: Source) -> list[tuple[str, str]]:
    """Return what a run is, as its folder says."""
    if source.run is None:
        return []
    try:
        config = read_yaml(source.run / "config.yaml")
    except SoarError:
        return []
    names = ("command", "workcell", "scene", "seed", "models", "collector", "evaluate", "learner", "fleet")
    return [(name, _in_words(config[name])) for name in names if config.get(name) not in (None, "", {})]


def threshold_of(source: Source) -> float:
    """Return the least probability that counts as success in a run, as its folder says; `THRESHOLD` where nobody knows."""
    if source.run is None:
        return THRESHOLD
    try:
        config = read_yaml(source.run / "config.yaml")
        if "preset" in config:
            return float(config["preset"]["improvement"]["collection"]["threshold"])
        if "fleet" in config and config["fleet"]["preset"] in names("presets"):  # a run from elsewhere leads to no other file
            recipe = load_collection(config["fleet"]["preset"], config["fleet"]["set"])
            return recipe.improvement.collection.threshold
        return float(config["settings"]["collection"]["threshold"])
    except (SoarError, KeyError, TypeError, ValueError):
        return THRESHOLD


def tasks_of(table: pa.Table) -> list[TaskFacts]:
    """Return what is known of each task of `attempts_of`, most attempts first."""
    encoded = pc.fill_null(table["instruction"], "").combine_chunks().dictionary_encode()
    task_E, names = np.asarray(encoded.indices, np.int64), encoded.dictionary.to_pylist()
    counts = np.bincount(task_E, minlength=len(names))
    scores = UCBSelector().scores(names, dict(zip(names, counts.tolist(), strict=True)))
    most = np.argsort(-counts, kind="stable")[:_MOST_TASKS]
    columns = _columns(table)
    return [_facts(names[number], columns, np.flatnonzero(task_E == number), scores[names[number]]) for number in most]


def all_tasks_of(table: pa.Table) -> TaskFacts:
    """Return what is known of all tasks of `attempts_of` together, which have no score."""
    return _facts("all tasks", _columns(table), np.arange(len(table)), math.nan)


def pieces_of(table: pa.Table) -> tuple[tuple[str, Rate], ...]:
    """Return judged success in up to ten equal parts of the episodes, oldest first."""
    return _pieces(_verdicts(table["success"]), np.asarray(table["created_s"], np.float64))


def policies_of(table: pa.Table) -> list[tuple[str, Rate]]:
    """Return judged success by policy, in the order in which they came."""
    encoded = pc.fill_null(table["policy"], "").combine_chunks().dictionary_encode()
    policy_E, success_E = np.asarray(encoded.indices, np.int64), _verdicts(table["success"])
    return [(name or "unknown", _rate(success_E[policy_E == n])) for n, name in enumerate(encoded.dictionary.to_pylist())]


def cost_of(table: pa.Table | None, journal: RunJournal | None) -> list[tuple[str, str]]:
    """Return what a run took so far, in words; what nobody wrote down is unknown."""
    steps = 0 if table is None else int(pc.sum(table["length"]).as_py() or 0)
    rows = [("robots in motion", f"{steps * STEP_S / 3600:.2f} h ({steps} steps of {STEP_S:g} s)")]
    if journal is None:
        return rows
    if journal.hours:
        total, work = sum(journal.hours.values()), sum(s for (_, phase), s in journal.hours.items() if phase == "collecting")
        rows.append(("robot-hours", f"{total / 3600:.2f} h, {work / 3600:.2f} h of them collecting"))
    if journal.sums["ended"]:
        hours = journal.sums["saved"] * STEP_S / 3600
        rows.append(("robot-hours saved", f"{hours:.2f} h, by {journal.sums['ended']} attempts that looks ended"))
    judged = 0 if table is None else len(table)
    asked, looks = journal.sums["asked"], journal.sums["looks"]
    rows.append(
        (
            "questions to the VLM",
            f"{asked + looks + judged} ({asked} what is feasible, {looks} on the way, {judged} at the end)",
        )
    )
    rows.append(("tokens", _tokens(*(journal.sums[name] for name in SPENT))))
    if journal.phases_s:
        rows.append(("computer", f"{sum(journal.phases_s.values()) / 3600:.2f} h by the clock, in all phases"))
    for device, seconds in sorted(journal.devices_s.items()):
        name = "CPU-hours" if device == "cpu" else f"GPU-hours ({device})"
        rows.append((name, f"{seconds / 3600:.2f}, of phases that have ended"))
    return rows


def _tokens(calls: int, tokens: int, untold: int) -> str:
    if calls == untold:
        return "unknown: none of the models reports them"
    unknown = f"; {untold:,} more told none" if untold else ""
    return f"{tokens:,} in {calls - untold:,} calls{unknown}, prompts included, as the models say"


def changes_of(table: pa.Table | None, journal: RunJournal | None, now_s: float) -> list[tuple[str, str, str]]:
    """Return what happened in the last 24 hours and in the 24 hours before: name, now, before."""
    rows = []
    if table is not None:
        created_E, success_E = np.asarray(table["created_s"], np.float64), _verdicts(table["success"])
        parts = [success_E[(created_E > now_s - (n + 1) * _DAY_S) & (created_E <= now_s - n * _DAY_S)] for n in range(2)]
        rows.append(("episodes", *(str(len(part)) for part in parts)))
        rows.append(("judged successes", *(str(_rate(part)) for part in parts)))
    if journal is not None:
        times = np.array([time_s for time_s, _ in journal.times]) if journal.times else np.empty(0)
        names = np.array([name for _, name in journal.times], object)
        for change in _CHANGES:
            days = [(times > now_s - (n + 1) * _DAY_S) & (times <= now_s - n * _DAY_S) & (names == change) for n in range(2)]
            if any(day.any() for day in days):
                rows.append((change.replace("_", " "), *(str(int(day.sum())) for day in days)))
    return [(name, now, before) for name, now, before in rows]


def lineage_of(source: Source, table: pa.Table | None, journal: RunJournal | None) -> list[dict[str, Any]]:
    """Return the policies of a run, oldest first: their parents, the versions of the data, the episodes that they made."""
    if source.run is None:
        return []
    run = RunFolder(source.run)
    made = dict(policies_of(table)) if table is not None else {}
    promoted = {int(e["candidate"]) for e in journal.events("promotion") if e.get("promote")} if journal else set()
    judged = {int(e["candidate"]) for e in journal.events("promotion")} if journal else set()
    trial = {int(e["candidate"]) for e in journal.events("on_trial")} if journal else set()
    nodes = []
    for folder in sorted((run.path / "policies").glob("[0-9]*")):
        if not folder.name.isdecimal() or (lineage := _lineage(folder)) is None:
            continue
        number = int(folder.name)
        state = "never deployed" if number in judged else "not decided"
        if number in promoted or number == 0:
            state = "deployed" if number == run.deployed() else "deployed before"
        id, on_trial = name_in(run, number), number in trial - judged
        data = [f"{name} {'.'.join(str(v) for v in versions.values())}" for name, versions in lineage.get("data", {}).items()]
        about = {"number": number, "id": id, "parent": str(lineage.get("parent", "")), "data": data, "made": made.get(id)}
        nodes.append(about | {"state": "on trial" if on_trial else state})
    return nodes


def _lineage(folder: Path) -> dict[str, Any] | None:
    try:
        lineage = parse_json((folder / "lineage.json").read_text(encoding="utf-8"))
        return lineage if isinstance(lineage, dict) and isinstance(lineage.get("data", {}), dict) else None
    except (OSError, ValueError):
        return None


class _Columns(NamedTuple):
    """Of E episodes: the verdict, the truth, and when they were stored."""

    success_E: NDArray[np.int8]
    simulated_E: NDArray[np.int8]
    created_E: NDArray[np.float64]


def _columns(table: pa.Table) -> _Columns:
    created_E = np.asarray(table["created_s"], np.float64)
    return _Columns(_verdicts(table["success"]), _verdicts(table[ACHIEVED]), created_E)


def _facts(task: str, columns: _Columns, mine: NDArray[np.int64], ucb: float) -> TaskFacts:
    success_E, simulated_E = columns.success_E[mine], columns.simulated_E[mine]
    known = simulated_E[simulated_E >= 0]
    return TaskFacts(
        task=task,
        judged=_rate(success_E),
        undecided=int((success_E < 0).sum()),
        true=_rate(known) if len(known) else None,
        ucb=ucb,
        pieces=_pieces(success_E, columns.created_E[mine]),
    )


def _verdicts(column: pa.ChunkedArray) -> NDArray[np.int8]:
    """Return 1 for yes, 0 for no, -1 for nothing."""
    return np.asarray(pc.fill_null(column.cast(pa.int8()), -1), np.int8)


def _rate(verdicts: NDArray[np.int8]) -> Rate:
    return Rate(successes=int((verdicts == 1).sum()), trials=len(verdicts))


def _pieces(success_E: NDArray[np.int8], created_E: NDArray[np.float64]) -> tuple[tuple[str, Rate], ...]:
    order = np.argsort(created_E, kind="stable")
    size = max(1, math.ceil(len(order) / _PIECES))
    parts = [order[begin : begin + size] for begin in range(0, len(order), size)]
    return tuple((time.strftime("%m-%d %H:%M", time.localtime(created_E[p[0]])), _rate(success_E[p])) for p in parts)


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_words(inner)}" for name, inner in value.items() if inner not in (None, "", {}))[:600]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_in_words(inner) for inner in value)[:600]
    return str(value)[:600]
