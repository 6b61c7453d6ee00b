"""What the base's autonomous collection looked like, and how good the success detector was in it (paper §D)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.evaluation.detector_metrics import judge, score
from soar.evaluation.statistics import Rate
from soar.tasks.questions import task_finder

PAPER: dict[str, Any] = {
    "who": "the paper's VLM",
    "scene": "all",
    "episodes": 546,
    "accuracy": "78.87 %",
    "precision": "0.63",
    "recall": "1.0",
}
ATTEMPTS_A_ROW, ROWS = 4, 8
BASE = "round = 0"
"""What the base collected; later rounds are their policies'."""


def detector_rows(store: Path) -> list[dict[str, Any]]:
    """Return accuracy, precision and recall of the verdicts in a store, by scene and over all, beside the paper's."""
    episodes = EpisodeStore(store)
    scenes = {scene: f"{BASE} AND scene = '{scene}'" for scene in sorted({one.scene for one in episodes.episodes(BASE)})}
    rows = []
    for scene, where in [*scenes.items(), ("all", BASE)]:
        found = score(judge(episodes, "simulator", task_of=task_finder(None), where=where))
        rates = {name: str(getattr(found, name)) for name in ("accuracy", "precision", "recall")}
        rows.append({"who": "as collected", "scene": scene, "episodes": found.accuracy.trials, **rates})
    return [*rows, PAPER]


def collection_rows(store: Path) -> list[dict[str, Any]]:
    """Return how often each task of each scene was attempted, judged a success, and done in truth."""
    records = EpisodeStore(store).episodes(BASE)
    rows = []
    for scene, task in sorted({(record.scene, record.instruction) for record in records}):
        own = [record for record in records if (record.scene, record.instruction) == (scene, task)]
        rows.append({"scene": scene, "task": task, "attempts": len(own), **_successes(own)})
    return rows


def attempt_rows(store: Path) -> list[dict[str, Any]]:
    """Return how often attempts succeed by how many their robot had made before them, over all scenes.

    Without resets a table ends where its robot can do nothing with it: what succeeds changes the table, what fails leaves it.
    """
    groups: dict[int, list[EpisodeRecord]] = {}
    for record in EpisodeStore(store).episodes(BASE):
        before = int(record.id.rsplit("-", 1)[1])  # see `soar.collect.collector`
        groups.setdefault(min(before // ATTEMPTS_A_ROW, ROWS - 1), []).append(record)
    rows = []
    for number, own in sorted(groups.items()):
        first = number * ATTEMPTS_A_ROW
        before_them = f"{first} and more" if number == ROWS - 1 else f"{first}-{first + ATTEMPTS_A_ROW - 1}"
        rows.append({"attempts before": before_them, **_successes(own)})
    return rows


def _successes(records: Sequence[EpisodeRecord]) -> dict[str, str | int]:
    judged = sum(record.success is True for record in records)
    true = sum(record.achieved for record in records)
    return {
        "judged a success": str(Rate(successes=judged, trials=len(records))),
        "success in truth": str(Rate(successes=true, trials=len(records))),
        "done before": sum(record.simulator_success is True for record in records) - true,
    }
