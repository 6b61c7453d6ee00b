"""What autonomous collection looked like, and how good the success detector was in it (paper §D)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.evaluation.statistics import Rate

PAPER: dict[str, Any] = {
    "who": "the paper's VLM, 546 episodes",
    "episodes": 546,
    "accuracy": "78.87 %",
    "precision": "0.63",
    "recall": "1.0",
}


def judged(records: Iterable[EpisodeRecord]) -> dict[str, int]:
    """Return how the detector's verdicts compare with the simulator's: tp, fp, fn, tn; undecided counts as no."""
    counts = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
    for record in records:
        if record.simulator_success is not None:
            said, true = record.success is True, record.simulator_success
            counts[("t" if said == true else "f") + ("p" if said else "n")] += 1
    return counts


def detector_rows(store: Path, who: str) -> list[dict[str, Any]]:
    """Return accuracy, precision and recall of the verdicts in a store, by scene and over all, beside the paper's."""
    records = EpisodeStore(store).episodes("simulator_success IS NOT NULL")
    scenes = sorted({record.scene for record in records})
    rows = [{"who": who, "scene": scene, **_score(r for r in records if r.scene == scene)} for scene in scenes]
    return [*rows, {"who": who, "scene": "all", **_score(records)}, {**PAPER, "scene": "all"}]


def _score(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    counts = judged(records)
    tp, fp, fn, tn = (counts[name] for name in ("tp", "fp", "fn", "tn"))
    return {
        "episodes": tp + fp + fn + tn,
        "accuracy": str(Rate(successes=tp + tn, trials=tp + fp + fn + tn)),
        "precision": str(Rate(successes=tp, trials=tp + fp)),
        "recall": str(Rate(successes=tp, trials=tp + fn)),
    }


def collection_rows(store: Path) -> list[dict[str, Any]]:
    """Return how often each task of each scene was attempted, judged a success, and done in truth."""
    records = EpisodeStore(store).episodes()
    rows = []
    for scene, task in sorted({(record.scene, record.instruction) for record in records}):
        own = [record for record in records if (record.scene, record.instruction) == (scene, task)]
        rows.append(
            {
                "scene": scene,
                "task": task,
                "attempts": len(own),
                "judged a success": str(Rate(successes=sum(record.success is True for record in own), trials=len(own))),
                "success in truth": str(Rate(successes=sum(r.simulator_success is True for r in own), trials=len(own))),
            }
        )
    return rows
