"""Is a store sound? What is found is named; what is repaired is only what is broken.

| finding | repair |
|---|---|
| steps that belong to no episode: a writer died, or is at work now | they are deleted |
| an episode whose steps are not whole, or whose frames are no JPEGs, or of other cameras | it is deleted, with its steps |
| a length that the steps, which are whole, contradict | it is corrected |
| a verdict that does not follow from the labels | it is derived again |
| two episodes with one id | the later one is deleted |

Repairs make new versions, as every write does; versions from before stay readable. Nobody may write meanwhile: the steps of an
append that is under way have no episode yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from soar.episodes import extra_frames, schema, tables
from soar.episodes import jpeg as frames
from soar.episodes.store_errors import explaining
from soar.types import Label

Kind = Literal["orphaned steps", "broken episode", "wrong length", "wrong verdict", "duplicate id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: See the module's table.
        episode: Id of the episode, or what the steps call it.
        detail: What is wrong with it.
        attempt: What joins the episode to its steps.
    """

    kind: Kind
    episode: str
    detail: str
    attempt: int


def examine(uri: str, *, check_frames: bool = False) -> list[Finding]:
    """Return what is wrong with the store at `uri`.

    Args:
        uri: Folder of the store.
        check_frames: Read every frame's header, which means to read the whole store.

    Raises:
        StoreError: There is no store, or its tables cannot be read at all.
    """
    steps, episodes = _open(uri)
    with explaining("read", uri):
        found = _columns(steps)
        names = ["id", "attempt", "length", "success", "probability", "simulator_success", "label_count", "labels", "cameras"]
        rows = episodes.scanner(columns=[name for name in names if name in episodes.schema.names], with_row_id=True).to_table()
        cameras = {row["attempt"]: row.get("cameras") or [] for row in rows.to_pylist()}
        bad_frames = _bad_frames(steps, cameras) if check_frames else {}
    findings: list[Finding] = []
    seen: set[str] = set()
    owned: set[int] = set()
    for row in sorted(rows.to_pylist(), key=lambda row: int(row["_rowid"])):
        id, attempt = row["id"], row["attempt"]
        owned.add(attempt)
        numbers, actionless = found.get(attempt, (np.empty(0, np.int64), np.empty(0, np.int64)))
        # Whole: steps 0 to the last, each once, of which only the last has no action.
        whole = len(numbers) > 1 and np.array_equal(np.sort(numbers), np.arange(len(numbers)))
        whole = whole and actionless.tolist() == [len(numbers) - 1]
        problem: tuple[Kind, str] | None = None
        if id in seen:
            problem = ("duplicate id", "an earlier episode has this id")
        elif not whole:
            problem = ("broken episode", f"{len(numbers)} of its {row['length'] + 1} steps are there, or some are there twice")
        elif attempt in bad_frames:
            problem = ("broken episode", bad_frames[attempt])
        elif len(numbers) != row["length"] + 1:
            problem = ("wrong length", f"it is said to have {row['length']} actions and has {len(numbers) - 1}")
        elif _verdict(row) != {name: row[name] for name in _verdict(row)}:
            problem = ("wrong verdict", "success, probability or the number of labels do not follow from the labels")
        if problem is None or problem[0] != "broken episode":
            # A broken episode does not take the id from a whole one that was appended later.
            seen.add(id)
        if problem:
            findings.append(Finding(kind=problem[0], episode=id, detail=problem[1], attempt=attempt))
    for attempt in sorted(found.keys() - owned):
        detail = f"{len(found[attempt][0])} steps belong to no episode"
        findings.append(Finding(kind="orphaned steps", episode="", detail=detail, attempt=attempt))
    return findings


def repair(uri: str, findings: Sequence[Finding]) -> None:
    """Repair what `examine` found, see the module's table.

    Raises:
        StoreError: The store cannot be written.
    """
    steps, episodes = _open(uri)
    with explaining("repair", uri):
        for finding in findings:
            this = f"attempt = {finding.attempt}"
            if finding.kind in ("broken episode", "duplicate id"):
                episodes.delete(this)
            if finding.kind in ("broken episode", "duplicate id", "orphaned steps"):
                steps.delete(this)
                continue
            (row,) = episodes.to_table(filter=this).to_pylist()
            row |= schema.label_columns([Label(**label) for label in row["labels"]])
            row["length"] = steps.count_rows(this) - 1
            change = pa.Table.from_pylist([row], episodes.schema)
            episodes.merge_insert("attempt").when_matched_update_all().execute(change)
            episodes.checkout_latest()


def _open(uri: str) -> tuple[Any, Any]:
    tables.check_exist(uri)
    return tables.open_table(uri, "steps", None), tables.open_table(uri, "episodes", None)


def _columns(steps: Any) -> dict[int, tuple[Any, Any]]:
    """Return, by attempt, the numbers of its steps and of those without action."""
    table = steps.scanner(columns={"attempt": "attempt", "step": "step", "idle": "action is null"}).to_table()
    if not len(table):
        return {}
    attempts, numbers = np.asarray(table["attempt"], np.int64), np.asarray(table["step"], np.int64)
    idle = np.asarray(table["idle"])
    order = np.argsort(attempts, kind="stable")
    unique, starts = np.unique(attempts[order], return_index=True)
    parts = np.split(order, starts[1:])
    return {int(attempt): (numbers[part], numbers[part][idle[part]]) for attempt, part in zip(unique, parts, strict=True)}


def _bad_frames(steps: Any, cameras: Mapping[int, Sequence[str]]) -> dict[int, str]:
    """Return what is wrong with a frame, by attempt; `cameras` are the further ones that the episodes name."""
    bad: dict[int, str] = {}
    columns = [name for name in ("attempt", "step", "frame", extra_frames.COLUMN) if name in steps.schema.names]
    for batch in steps.to_batches(columns=columns, batch_size=512):
        for row in batch.to_pylist():
            further = row.get(extra_frames.COLUMN)
            if frames.size(row["frame"] or b"") is None:
                bad[row["attempt"]] = f"the frame of step {row['step']} is not a JPEG"
            elif not extra_frames.is_of(further, cameras.get(row["attempt"], [])):
                named = ", ".join(cameras.get(row["attempt"], [])) or "none"
                bad[row["attempt"]] = f"the frames of further cameras at step {row['step']} are not those of {named}"
            elif any(frames.size(part["frame"] or b"") is None for part in further or ()):
                bad[row["attempt"]] = f"a frame of a further camera at step {row['step']} is not a JPEG"
    return bad


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    columns = schema.label_columns([Label(**label) for label in row["labels"]])
    return {name: columns[name] for name in ("success", "probability", "simulator_success", "label_count")}
