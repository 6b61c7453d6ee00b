"""Success against the time that robots spent practising: what an hour of a robot is worth to each method.

Variants that are alike but for `first_episodes` are one method at several times; without, it has all of them. The first
episodes are those that each robot made first. An hour is one of actions, 0.2 s each; the way home and the setting of tables are
not counted. What a method begins with, at zero hours, is the untrained variant that is told the same; a method that begins with
nothing has no such point.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.experiments.config import Experiment, Variant
from soar.scenes import load_scene
from soar.types import STEP_S


def first_episodes(store: EpisodeStore, scene: str, count: int | None) -> list[EpisodeRecord]:
    """Return the episodes of a scene that its robots made first, as many of each robot as of any other; None for all."""
    records = store.episodes(f"round = 0 AND scene = {quoted(scene)}")
    return sorted(records, key=lambda record: (_number(record), record.id))[:count]


def _number(record: EpisodeRecord) -> int:
    return int(record.id.rsplit("-", 1)[1])  # see `soar.collect.collector`


def hour_rows(experiment: Experiment, rows: Sequence[Mapping[str, Any]], run: Path) -> list[dict[str, Any]]:
    """Return the rows of a results file with `hours` of the robot and the `methods` of which they are a point.

    Args:
        experiment: Whose variants they are.
        rows: With `variant` and `scene`.
        run: Folder of its run.
    """
    store = EpisodeStore(run / "episodes")
    found = []
    variants = experiment.variants
    methods = {method_of(name, variant): variant for name, variant in variants.items() if variant.data == "autonomous"}
    names = [load_scene(scene).name for scene in experiment.scenes]

    records = functools.cache(functools.partial(first_episodes, store))  # a store is read in seconds, and each row asks

    def steps_of(variant: Variant, scene: str) -> int:
        """Return the actions of a robot that a variant has learned from."""
        if variant.acts:
            return max(steps_of(variants[one], scene) for one in (variant.acts, variant.critic))
        if variant.data != "autonomous":
            return 0
        scenes = names if variant.pooled else [scene]
        return sum(record.length for one in scenes for record in records(one, variant.first_episodes))

    for row in rows:
        variant = variants[row["variant"]]
        if variant.data != "none" or variant.acts:
            hours = steps_of(variant, row["scene"]) * STEP_S / 3600
            found.append({**row, "methods": [method_of(row["variant"], variant)], "hours": round(hours, 3)})
        else:
            begun = [
                method
                for method, one in methods.items()
                if one.conditioning == variant.conditioning and one.learner == "imitation" and not one.from_scratch
            ]
            if begun:
                found.append({**row, "methods": begun, "hours": 0.0})
    return found


def method_of(name: str, variant: Variant) -> str:
    """Return what a variant such as `dial 125` is called without its episodes."""
    return name.rpartition(" ")[0] if variant.first_episodes else name
