"""Training the variants of an experiment, each with each seed, in worker processes; and what DIAL needs before: its labels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from soar.baselines.config import load_recipe
from soar.baselines.dial import LabellingConfig, label_episodes, maker_of
from soar.baselines.labeller import Labeller
from soar.baselines.labeller_training import train_labeller
from soar.baselines.robofume import RoboFuMELearner
from soar.configuration import validate
from soar.episodes.filters import quoted
from soar.episodes.store import EpisodeStore
from soar.experiments.config import DIAL, LABELS, NOTHING, Variant
from soar.experiments.robot_hours import first_episodes
from soar.fleet.processes import Reporter, run_workers
from soar.improve.preset import Preset, load_preset
from soar.training.config import PolicyTrainingConfig, conditioned
from soar.training.cotraining import AutonomousData
from soar.training.learner import ImitationLearner, Learner, LearningData

Progress = Callable[[str, int, int, str], None]


def steps_of(preset: Preset, baselines: str, variant: Variant) -> int:
    """Return how many steps a variant is trained for."""
    if variant.steps is not None:
        return variant.steps
    if variant.learner == "robofume":
        return load_recipe(baselines).robofume.policy.fit.steps
    return _recipe(preset, variant).fit.steps


def train_all(jobs: Sequence[dict[str, Any]], workers: int, report: Progress) -> None:
    """Train what is missing of some jobs, see `train_variant`."""
    steps_done = [0] * len(jobs)

    def receive(index: int, progress: dict[str, Any]) -> None:
        steps_done[index] = int(progress["done"])
        report("train", sum(steps_done), sum(job["steps"] for job in jobs), Path(str(jobs[index]["out"])).name)

    run_workers(train_variant, list(jobs), workers=workers, on_report=receive)


def label_by_dial(
    variants: Sequence[Variant], *, run: Path, pretraining: Path, baselines: str, where: str, report: Progress
) -> list[str]:
    """Tune a labeller and let it label what was collected, as far as variants learn from its labels; resumes.

    Returns:
        Who made the labels.
    """
    nothing = [NOTHING in variant.instructions for variant in variants if variant.instructions.startswith(DIAL)]
    if not nothing:
        return []
    folder = train_labeller(
        load_recipe(baselines).labeller,
        run / "labeller",
        pretraining=pretraining,
        on_step=lambda done, total, _: report("tune the labeller", done, total, ""),
    )
    labeller, store = Labeller.load(folder), EpisodeStore(run / "episodes")
    configs = [LabellingConfig(top_k=LABELS, nothing=with_nothing) for with_nothing in sorted(set(nothing))]
    for config in configs:
        label_episodes(
            store, labeller, config, where=where, report=lambda done, total: report("label episodes", done, total, "")
        )
    return [maker_of(labeller, config) for config in configs]


def train_variant(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Train one variant with one seed (worker entry point); reports `done` and `total` steps.

    When it is asked to stop it does so after the step at hand, and what was trained so far is kept.
    """

    def on_step(done: int, total: int, _metrics: dict[str, float]) -> None:
        if done % 20 == 0:
            report(done=done, total=total)
        if report.stopping:
            raise KeyboardInterrupt

    variant = validate(Variant, item["variant"], "variant")
    preset: Preset = load_preset(item["preset"])
    learner = _robofume(variant, item) if variant.learner == "robofume" else _imitation(variant, preset, item)
    try:
        learner.learn(
            None if variant.from_scratch or variant.learner == "robofume" else Path(item["policy"]),
            LearningData(pretraining=Path(item["pretraining"]), autonomous=_autonomous(variant, preset, item)),
            Path(item["out"]),
            seed=int(item["seed"]),
            on_step=on_step,
        )
    except KeyboardInterrupt:
        if not report.stopping:
            raise
    return {}


def _autonomous(variant: Variant, preset: Preset, item: dict[str, Any]) -> AutonomousData | None:
    run = Path(item["run"])
    if variant.data == "autonomous":
        filtered = variant.success_only and variant.label == "vlm"
        maker = variant.instructions
        if maker.startswith(DIAL):
            labeller = Labeller.load(run / "labeller")
            maker = maker_of(labeller, LabellingConfig(nothing=NOTHING in variant.instructions))
        where = str(item["where"])
        if variant.first_episodes is not None:
            first = _in_order(run / "episodes", item["scene"])[: variant.first_episodes]
            where = f"({where}) AND id IN ({', '.join(map(quoted, first))})"
        return AutonomousData(
            store=run / "episodes",
            success_only=variant.success_only,
            label=variant.label,
            threshold=preset.improvement.threshold if filtered else 0.0,
            where=where,
            instructions_by=maker,
            top_k=variant.top_k,
            min_p=variant.min_p,
        )
    if variant.data == "in_scene":
        return AutonomousData(store=run / "in_scene" / item["scene"] / "episodes", success_only=False)
    return None


@functools.cache
def _in_order(store: Path, scene: str) -> list[str]:
    """Return the ids of a scene's episodes, those that its robots made first before others; asked once for many trainings."""
    return [record.id for record in first_episodes(EpisodeStore(store), scene, None)]


def _robofume(variant: Variant, item: dict[str, Any]) -> Learner:
    config = load_recipe(str(item["baselines"])).robofume
    calql = config.calql if variant.alpha is None else dataclasses.replace(config.calql, alpha=variant.alpha)
    policy = dataclasses.replace(config.policy, fit=dataclasses.replace(config.policy.fit, steps=int(item["steps"])))
    if variant.share is not None:
        policy = dataclasses.replace(policy, autonomous_share=variant.share)
    return RoboFuMELearner(dataclasses.replace(config, policy=policy, calql=calql))


def _recipe(preset: Preset, variant: Variant) -> PolicyTrainingConfig:
    return preset.pretraining.policy if variant.from_scratch else preset.improvement.policy


def _imitation(variant: Variant, preset: Preset, item: dict[str, Any]) -> Learner:
    config = _recipe(preset, variant)
    if variant.conditioning != "goal":
        config = conditioned(config, variant.conditioning, preset.pretraining.sentences)
    source = dataclasses.replace(preset.improvement.policy.autonomous, **variant.sampling)
    if variant.data == "in_scene":
        # Demonstrations are neither slow nor idle: they are learned from as the pre-training data is, but as often as own data.
        source = config.pretraining
    elif variant.data == "pretraining" and variant.gripper_weight is not None:
        config = dataclasses.replace(
            config, pretraining=dataclasses.replace(config.pretraining, gripper_weight=variant.gripper_weight)
        )
    return ImitationLearner(
        dataclasses.replace(
            config,
            fit=dataclasses.replace(config.fit, steps=int(item["steps"])),
            autonomous=source,
            upsampling=preset.improvement.policy.upsampling,
            autonomous_cap=preset.improvement.policy.autonomous_cap,
            autonomous_share=variant.share,
        )
    )
