"""What a store holds, counted without decoding an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore


def dataset_statistics(store: EpisodeStore, where: str | None = None) -> dict[str, Any]:
    """Count the episodes that match an SQL filter (see `EpisodeStore.episodes`), see `statistics_of`.

    Raises:
        StoreError: The SQL is invalid.
    """
    return statistics_of(store.episodes(where))


def statistics_of(records: Sequence[EpisodeRecord]) -> dict[str, Any]:
    """Count some episodes.

    Returns:
        A JSON-able mapping. `total`, and each entry of `by_task`, `by_scene`, `by_policy` and `by_robot` (in order of first
        appearance): `attempts`, `labelled` (episodes with a verdict), `successes`, `failures`, `steps` (actions). `table6` is
        their row of the paper's Table 6.
    """
    total = _count(records)
    # A vision-language model proposes the task of every autonomous episode, and of no demonstration.
    autonomous = sum(bool(record.provenance.vlm) for record in records)
    return {
        "total": total,
        "by_task": _group(records, lambda record: record.instruction),
        "by_scene": _group(records, lambda record: record.scene),
        "by_policy": _group(records, lambda record: record.provenance.policy),
        "by_robot": _group(records, lambda record: record.provenance.robot),
        "table6": {
            "trajectories": len(records),
            "environments": len({record.scene for record in records}),
            "language": bool(records) and all(record.instruction for record in records),
            "failed_trajectories": total["failures"] > 0,
            "autonomous_share": autonomous / len(records) if records else 0.0,
        },
    }


def _group(records: Iterable[EpisodeRecord], key: Callable[[EpisodeRecord], str]) -> dict[str, dict[str, int]]:
    groups: dict[str, list[EpisodeRecord]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return {name: _count(members) for name, members in groups.items()}


def _count(records: Iterable[EpisodeRecord]) -> dict[str, int]:
    verdicts = [(record.success, record.length) for record in records]
    return {
        "attempts": len(verdicts),
        "labelled": sum(success is not None for success, _ in verdicts),
        "successes": sum(success is True for success, _ in verdicts),
        "failures": sum(success is False for success, _ in verdicts),
        "steps": sum(length for _, length in verdicts),
    }
