"""Labels by hindsight (DIAL): which of the known instructions was carried out in an episode, says a labeller.

Candidates are the instructions that the labeller was tuned on, and those that were commanded in the episode's scene. The
probability of a candidate is relative to the others: one of them is always done, unless `nothing` is a candidate, too.

Labels stand beside the verdicts of an episode, the surest first, each with its maker (`soar.datasets.relabelled`). Success is
not asked for: an attempt that failed at what was commanded may have done something else.

Shape suffixes: B episodes, T candidates.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from soar.baselines.labeller import Labeller
from soar.datasets.image_cache import StoredImages
from soar.datasets.relabelled import NOTHING, instruction_labels
from soar.episodes import EpisodeRecord, EpisodeStore
from soar.episodes.schema import INSTRUCTION, SIMULATOR
from soar.errors import ConfigError
from soar.evaluation.statistics import Rate
from soar.nn.text_encoder import split_words
from soar.types import Label

NOTHING_HAPPENED = "nothing happened"
"""The text of the candidate that is no task."""
QUESTION = "Which instruction was carried out?"
_BATCH = 256
_THRESHOLDS = (0.0, 0.25, 0.5, 0.75, 0.9)
_log = logging.getLogger(__name__)
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellingConfig:
    """How episodes are labelled.

    Attributes:
        top_k: Labels an episode; whoever trains on them may take fewer.
        nothing: Whether nothing may have happened.
        scene_tasks: Whether what was commanded in a scene is a candidate there, besides what the labeller was tuned on.
    """

    top_k: int = 1
    nothing: bool = False
    scene_tasks: bool = True

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise ConfigError(f"label-dial: top_k must be at least 1, got {self.top_k}")


def maker_of(labeller: Labeller, config: LabellingConfig) -> str:
    """Return who labels are by: the labeller, and what was among its candidates."""
    return labeller.id + ("+nothing" if config.nothing else "") + ("" if config.scene_tasks else "-scene")


def label_episodes(
    store: EpisodeStore,
    labeller: Labeller,
    config: LabellingConfig,
    *,
    where: str | None = None,
    report: Report | None = None,
) -> int:
    """Give each episode that the labeller has not labelled yet its labels; a repeated call goes on.

    Args:
        store: Gets the labels.
        labeller: Makes them.
        config: How.
        where: SQL that selects some of the episodes.
        report: Is told how far it is.

    Returns:
        How many episodes were labelled.

    Raises:
        ConfigError: No candidate is a task of one of the scenes.
        StoreError: The SQL is invalid, or the store cannot be written.
    """
    maker = maker_of(labeller, config)
    selected = store.episodes(where)
    scenes = {record.scene for record in selected}
    # Probabilities are relative to the other candidates, which do not depend on what is selected.
    all_of_scenes = [record for record in (store.episodes() if where else selected) if record.scene in scenes]
    candidates = candidates_by_scene(labeller, all_of_scenes, config)
    most = {scene: min(config.top_k, len(texts)) for scene, texts in candidates.items()}
    todo = [record for record in selected if len(instruction_labels(record, maker)) < most[record.scene]]
    done = 0
    for scene in candidates:
        own = [record for record in todo if record.scene == scene]
        for start in range(0, len(own), _BATCH):
            batch = own[start : start + _BATCH]
            labels = labels_of(store, labeller, config, batch, candidates[scene])
            there = [len(instruction_labels(record, maker)) for record in batch]
            store.add_labels({record.id: new[n:] for record, new, n in zip(batch, labels, there, strict=True)})
            done += len(batch)
            if report:
                report(done, len(todo))
    return done


def candidates_by_scene(
    labeller: Labeller, records: Sequence[EpisodeRecord], config: LabellingConfig
) -> dict[str, tuple[str, ...]]:
    """Return what could have been done in each scene.

    Raises:
        ConfigError: Nothing that was commanded in a scene is among it.
    """
    commanded: dict[str, set[str]] = defaultdict(set)
    for record in records:
        # A scene where nothing was commanded has the labeller's own instructions.
        commanded[record.scene] |= {record.instruction} if record.instruction.strip() else set()
    found = {}
    for scene, tasks in commanded.items():
        texts = set(labeller.texts) | (tasks if config.scene_tasks else set())
        if tasks and not tasks & texts:
            raise ConfigError(
                f"scene {scene!r}: none of its tasks ({', '.join(sorted(tasks))}) is among the {len(labeller.texts)} "
                "instructions that the labeller was tuned on, so that every label would be wrong. Add the scene's tasks to the "
                "candidates (leave out --no-scene-tasks), or tune a labeller on demonstrations of them."
            )
        known = {word for text in labeller.texts for word in split_words(text)}
        unknown = sorted({word for task in tasks for word in split_words(task)} - known)
        if unknown:
            _log.warning(
                "scene %s: the labeller was tuned without the words %s: what it says of these tasks is a guess",
                scene,
                ", ".join(unknown),
            )
        found[scene] = (*sorted(texts), *((NOTHING_HAPPENED,) if config.nothing else ()))
    return found


def labels_of(
    store: EpisodeStore,
    labeller: Labeller,
    config: LabellingConfig,
    records: Sequence[EpisodeRecord],
    candidates: Sequence[str],
) -> list[list[Label]]:
    """Return the labels of some episodes, the surest first."""
    network = labeller.network.config.network
    if network.camera != store.camera:
        store = EpisodeStore(store.uri, version=store.version, camera=network.camera)
    first = np.array([record.first_row for record in records], np.int64)
    last = first + np.array([record.length for record in records], np.int64)
    images = StoredImages(store, np.concatenate([first, last]), cache_bytes=0, fitter=network.fitter)
    rows = np.arange(len(records))
    probability_BT = labeller.network.probabilities(images[rows], images[rows + len(records)], candidates)
    source, time_s = f"{INSTRUCTION}{maker_of(labeller, config)}", time.time()
    return [
        [
            Label(
                success=None,
                probability=float(probability_T[index]),
                source=source,
                question=QUESTION,
                answer=NOTHING if candidates[index] == NOTHING_HAPPENED else candidates[index],
                time_s=time_s,
            )
            for index in np.argsort(-probability_T, kind="stable")[: config.top_k]
        ]
        for probability_T in probability_BT
    ]


def label_quality(records: Iterable[EpisodeRecord], maker: str) -> list[dict[str, Any]]:
    """Return how good a maker's first labels are, by the least probability of those that are kept.

    `as commanded` is the share that says what was commanded, `true` the share that is true at the last frame, as far as that is
    known: of what was commanded the simulator's verdict says it, of other tasks what the collector wrote down. `kept truth` is
    the share of the episodes which did anything that are kept under a true label; it is empty where the store does not know.
    """
    labelled = [(record, found[0]) for record in records if (found := instruction_labels(record, maker))]
    rows = []
    done = {record.id: _done(record) for record, _ in labelled}
    # Stores that were collected before collectors wrote down what was done do not know it.
    knows = any(any(label.source == f"{INSTRUCTION}{SIMULATOR}" for label in record.labels) for record, _ in labelled)
    for threshold in _THRESHOLDS:
        kept = [(r, one) for r, one in labelled if one.answer != NOTHING and (one.probability or 0.0) >= threshold]
        truths = [_true(record, label.answer, done[record.id], knows) for record, label in kept]
        known = [truth for truth in truths if truth is not None]
        useful = sum(bool(done[record.id]) for record, _ in labelled)
        rows.append(
            {
                "maker": maker,
                "probability at least": threshold,
                "episodes": len(labelled),
                "kept": len(kept),
                "as commanded": str(Rate(successes=sum(r.instruction == one.answer for r, one in kept), trials=len(kept))),
                "true": str(Rate(successes=sum(known), trials=len(known))),
                "truth unknown": len(kept) - len(known),
                "kept truth": str(Rate(successes=sum(known), trials=useful)) if knows else "",
            }
        )
    return rows


def _done(record: EpisodeRecord) -> set[str]:
    found = {label.answer for label in record.labels if label.source == f"{INSTRUCTION}{SIMULATOR}"}
    return found | ({record.instruction} if record.simulator_success else set())


def _true(record: EpisodeRecord, answer: str, done: set[str], knows: bool) -> bool | None:
    """Return whether an instruction was carried out at the end of an episode, None where nobody knows."""
    if answer in done:
        return True
    if answer == record.instruction:
        return None if record.simulator_success is None else False
    return False if knows else None
