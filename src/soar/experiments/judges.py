"""Which judge tells success best: those that the model that ships can be, on the same attempts, by the simulator's truth.

The base collects in six scenes, at tables that nobody tidies, and no look ends an attempt: all judges see whole films. Who is
best on these attempts was chosen on them, so the best is measured again on as many others.

    RUN/episodes      all attempts; those of the second kind have runs named NAME-again-SCENE
    RUN/events.jsonl  the journal
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soar.base_models import default_weights
from soar.collect.early_success import EarlySuccessConfig
from soar.collect.models import Models
from soar.episodes.filters import quoted
from soar.episodes.store import EpisodeStore
from soar.evaluation.detector_metrics import Judgement, judge
from soar.evaluation.judge_comparison import caption, comparison_rows
from soar.evaluation.results import write_results
from soar.fleet.collection import collect
from soar.improve.preset import load_preset
from soar.robots.workcell import SIMULATED
from soar.tasks import SuccessDetector
from soar.tasks.questions import task_finder
from soar.types import Image
from soar.vlm.base import Answer
from soar.vlm.loading import load_vlm

Progress = Callable[[str, int, int, str], None]
EPISODES, ROBOTS = 40, 8
"""Attempts in each scene, and robots that make them."""
SEEDS = {"": 7, "-again": 8}
"""Of the attempts that are chosen on, and of those after; the figures' collections have 0."""
SCENES = ("scene1", "scene2", "scene4", "scene6", "scene7", "scene9")
JUDGES = (
    "last",
    "last/let-go",
    "changed",
    "changed/let-go",
    "twice:21",
    "twice:21/let-go",
    "looks:21",
    "looks:21/let-go",
    "rise:21",
    "rise:21/let-go",
    "last+twice:21",
    "last+last@soar.experiments.judges:Mirrored",
)
THRESHOLD = 0.5


class Mirrored:
    """The model that ships, shown a picture in a mirror; it has never seen a robot that stands on the other side."""

    def __init__(self) -> None:
        self._vlm = load_vlm(str(default_weights("vqa")))

    @property
    def id(self) -> str:
        """The model's, mirrored."""
        return f"{self._vlm.id} in a mirror"

    def check(self) -> None:
        """Nothing can be wrong once it is there."""

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i."""
        return self._vlm.answer([np.ascontiguousarray(image[:, ::-1]) for image in images], questions)


def compare_judges(
    *,
    models: Models,
    preset: str,
    run: Path,
    results: Path,
    episodes: int = EPISODES,
    scenes: Sequence[str] = (),
    judges: Sequence[str] = JUDGES,
    workers: int = 2,
    command: str = "soar reproduce judges",
    report: Progress,
) -> list[dict[str, Any]]:
    """Collect what is missing, judge it, write the results files, and return the rows of the first.

    Beside NAME.json stands NAME-again.json: the first judge and the best of the others, on attempts that none was chosen on.

    Args:
        models: Whose attempts they are, and the model that judges.
        preset: Of the collection.
        run: Folder of the run.
        results: The results file.
        episodes: In each scene.
        scenes: `SCENES` by default.
        judges: What they see, see `soar.tasks.views`; the first one is what others are compared with.
        workers: Processes that simulate.
        command: What the results file says regenerates it.
        report: Progress: (what, done, in all, note).
    """
    begun = load_preset(preset).improvement.collection
    config = dataclasses.replace(
        begun,
        episodes=episodes,
        robots=ROBOTS,
        rollout=dataclasses.replace(begun.rollout, early_success=EarlySuccessConfig()),
    )
    for again, seed in SEEDS.items():
        for scene in scenes or SCENES:
            collect(
                models,
                workcell=SIMULATED + scene,
                store=run / "episodes",
                journal=run / "events.jsonl",
                run=f"{run.name}{again}-{scene}",
                round=0,
                seed=seed,
                config=config,
                workers=workers,
                on_episode=functools.partial(_report_episode, report, f"attempts{again} in {scene}"),
            )
    store, vlm = EpisodeStore(run / "episodes"), load_vlm(models.vlm)
    table: list[dict[str, Any]] = []
    best: tuple[str, ...] = ()
    for again in SEEDS:
        runs = ", ".join(quoted(f"{run.name}{again}-{scene}") for scene in scenes or SCENES)
        judged = {}
        for sees in best or judges:
            detector = SuccessDetector(vlm, THRESHOLD, sees=sees)
            detector.check()
            heard = functools.partial(_report_judged, report, f"judged{again} by {sees}")
            where = f"run IN ({runs})"
            judged[sees] = judge(store, "simulator", detector, task_of=task_finder(None), where=where, on_progress=heard)
        rows = comparison_rows(judged)
        write_results(results.with_stem(results.stem + again), command, rows, caption(judged, "simulator", THRESHOLD))
        if not again:
            table, best = rows, (judges[0], best_of(judged))
    return table


def best_of(judged: Mapping[str, Sequence[Judgement]]) -> str:
    """Return the judge after the first that is right most often, of equal ones that with the fewest questions."""

    def merit(sees: str) -> tuple[int, int]:
        said = judged[sees]
        return sum((one.success is True) is one.truth for one in said), -sum(one.questions for one in said)

    return max(list(judged)[1:], key=merit)


def _report_episode(report: Progress, what: str, done: int, total: int, last: Mapping[str, Any]) -> None:
    report(what, done, total, str(last.get("instruction", "")))


def _report_judged(report: Progress, what: str, done: int, total: int) -> None:
    report(what, done, total, "")
