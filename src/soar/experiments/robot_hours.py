"""Success against the time that robots spent practising: what an hour of a robot is worth to each method.

Variants that are alike but for `first_episodes` are one method at several times; without, it has all of them. The first
episodes are those that each robot made first. An hour is one of actions, 0.2 s each; the way home and the setting of tables are
not counted. What a method begins with, at zero hours, is the untrained variant that is told the same; a method that begins with
nothing has no such point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.experiments.config import Experiment, Variant
from soar.types import STEP_S


def first_episodes(store: EpisodeStore, scene: str, count: int) -> list[EpisodeRecord]:
    """Return the episodes of a scene that its robots made first, as many of each robot as of any other."""
    records = store.episodes(f"round = 0 AND scene = {quoted(scene)}")
    return sorted(records, key=lambda record: (_number(record), record.id))[:count]


def _number(record: EpisodeRecord) -> int:
    return int(record.id.rsplit("-", 1)[1])  # see `soar.collect.collector`


def hour_rows(experiment: Experiment, rows: Sequence[Mapping[str, Any]], run: Path) -> list[dict[str, Any]]:
    """Return the rows of a results file with `method` and `hours` of the robot, those of bases once for each method.

    Args:
        experiment: Whose variants they are.
        rows: With `variant` and `scene`.
        run: Folder of its run.
    """
    store = EpisodeStore(run / "episodes")
    found = []
    methods = {method_of(name, variant): variant for name, variant in experiment.variants.items() if variant.data != "none"}
    for row in rows:
        variant = experiment.variants[row["variant"]]
        if variant.data != "none":
            records = first_episodes(store, row["scene"], variant.first_episodes or experiment.episodes)
            hours = sum(record.length for record in records) * STEP_S / 3600
            found.append({**row, "method": method_of(row["variant"], variant), "hours": round(hours, 3)})
        elif variant.data == "none":
            begun = [
                method
                for method, one in methods.items()
                if one.conditioning == variant.conditioning and one.learner == "imitation" and not one.from_scratch
            ]
            found += [{**row, "method": method, "hours": 0.0} for method in begun]
    return found


def method_of(name: str, variant: Variant) -> str:
    """Return what a variant such as `dial 125` is called without its episodes."""
    return name.rpartition(" ")[0] if variant.first_episodes else name
