"""Some scenes, several variants: does a policy improve from its own data, and which part of the recipe does it?

    collect once a scene ──► train each variant × training seed from the same base, for the same number of samples
                         ──► evaluate each on the same seeded starts ──► results/NAME.json

A *variant* differs from `improved` in one thing. `pretrained` is the base; `control` trains on pre-training data only; `faster`
is the base with its motions scaled to the improved one's mean speed; `headroom` learns from demonstrations recorded in the
scene; a *pooled* variant is one policy for all scenes; a variant *after* another is its next round: the other's policy
collects, and learns from that, too. Everything resumes: collection, each training run and each evaluation keep what is
finished.

    RUN/episodes                       what was collected, in all scenes
    RUN/headroom/SCENE                 demonstrations recorded in the scene
    RUN/policies/SCENE/VARIANT-SEED    trained policies; those of pooled variants without SCENE
    RUN/evaluations/SCENE/VARIANT-SEED every trial, and films of the first ones
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soar.collect.models import Models
from soar.collect.rollout import RolloutConfig
from soar.configuration import validate
from soar.episodes.filters import quoted
from soar.errors import ConfigError
from soar.evaluation.results import success_rows, write_results
from soar.evaluation.runner import evaluate, read_films
from soar.evaluation.trials import Evaluation
from soar.experiments.config import Experiment, Variant
from soar.fleet.collection import collect
from soar.fleet.processes import Reporter, run_workers
from soar.improve.preset import Preset, load_preset
from soar.pretraining.recording import record
from soar.robots.workcell import SIMULATED
from soar.scenes import load_scene
from soar.training.config import PolicyTrainingConfig, following_instructions
from soar.training.cotraining import AutonomousData
from soar.training.data import SourceConfig
from soar.training.learner import ImitationLearner, LearningData

HEADROOM_SEED = 3
Progress = Callable[[str, int, int, str], None]
Results = dict[tuple[str, str], list[Evaluation]]
"""Evaluations by (scene, variant), one a training seed."""


def reproduce(
    experiment: Experiment,
    *,
    run: Path,
    models: Models,
    language: str = "",
    preset: str,
    pretraining: Path,
    results: Path,
    command: str,
    workers: int = 2,
    report: Progress,
) -> Results:
    """Run what is missing of an experiment and write its results file.

    Args:
        experiment: What is compared.
        run: Folder of the run: the dataset, the policies and the evaluations of all variants.
        models: The base policy, the subgoal model and the VLM.
        language: The base policy of the variants that follow instructions.
        preset: Of collection and training.
        pretraining: Store of the base's demonstrations.
        results: The results file.
        command: What regenerates it.
        workers: Processes.
        report: Progress: (what, done, in all, note).
    """
    settings = load_preset(preset)
    collection = dataclasses.replace(settings.improvement.collection, episodes=experiment.episodes)
    if experiment.set_table_every is not None:
        collection = dataclasses.replace(collection, set_table_every=experiment.set_table_every)
    if experiment.rollout is not None:
        collection = dataclasses.replace(collection, rollout=experiment.rollout)
    scenes = {load_scene(scene).name: scene for scene in experiment.scenes}
    variants = experiment.variants
    evaluations: Results = {}

    def measure(names: list[str]) -> None:
        for variant in names:
            for name, scene in scenes.items():
                evaluations[name, variant] = [
                    _evaluate(job_of(variant, name, seed), scene, experiment.trials_of_each_task(scene), report)
                    for seed in (range(experiment.training_seeds) if variants[variant].data != "none" else range(1))
                ]
                _write(results, command, variants, evaluations)

    def trained_as(variant: str) -> str:
        """Return the first variant that is trained alike: what differs only in the evaluation is one policy."""
        return next(name for name in variants if _training(variants[name]) == _training(variants[variant]))

    def out_of(variant: str, name: str, seed: int) -> Path:
        place = Path() if variants[variant].pooled else Path(name)
        return run / "policies" / place / f"{trained_as(variant)}-{seed}"

    def begins_with(variant: str, name: str) -> str:
        if variants[variant].after:
            return str(out_of(variants[variant].after, name, 0))
        return language if variants[variant].conditioning == "language" else models.policy

    def run_name(name: str, collector: str) -> str:
        return f"{run.name}-{name}-{collector}" if collector else f"{run.name}-{name}"

    def job_of(variant: str, name: str, seed: int) -> dict[str, Any]:
        collected = [run_name(scene, by) for by in experiment.collectors(variant) for scene in scenes]
        return {
            "name": variant,
            "variant": dataclasses.asdict(variants[variant]),
            "scene": name,
            "out": str(out_of(variant, name, seed)),
            "evaluation": str(run / "evaluations" / name / f"{variant}-{seed}.json"),
            "seed": seed,
            "steps": variants[variant].steps or _recipe(settings, variants[variant]).fit.steps,
            "policy": begins_with(variant, name),
            "subgoals": models.subgoals,
            "where": _own_episodes("" if variants[variant].pooled else name, collected),
            "preset": preset,
            "pretraining": str(pretraining),
            "run": str(run),
            "workers": workers,
            "vlm": models.vlm,
            "rollout": dataclasses.asdict(variants[variant].rollout or collection.rollout),
            "first_trial": experiment.first_trial,
        }

    def collect_by(variant: str, round: int) -> None:
        for name, scene in scenes.items():
            collect(
                dataclasses.replace(models, policy=str(out_of(variant, name, 0))) if variant else models,
                workcell=SIMULATED + scene,
                store=run / "episodes",
                journal=run / "events.jsonl",
                run=run_name(name, variant),
                round=round,
                seed=0,
                config=collection,
                workers=workers,
                on_episode=functools.partial(_report_episode, report, f"collect in {name}{', ' if variant else ''}{variant}"),
            )

    # What needs no data comes first: if the base is not what it should be, that shows at once.
    measure([name for name, variant in variants.items() if variant.data == "none" and not variant.as_fast_as])
    if any(variant.data == "headroom" for variant in variants.values()):
        for name, scene in scenes.items():
            record(
                "headroom",
                run / "headroom" / name,
                scene=scene,
                worlds=experiment.headroom_worlds,
                seed=HEADROOM_SEED,
                workers=workers,
                on_world=functools.partial(_report_world, report, f"demonstrations in {name}"),
            )
    trained = [name for name, variant in variants.items() if variant.data != "none"]
    for round in range(1 + max((len(experiment.collectors(name)) for name in trained), default=-1)):
        now = [name for name in trained if len(experiment.collectors(name)) == round]
        for collector in dict.fromkeys(variants[name].after for name in now if variants[name].data == "autonomous"):
            collect_by(collector, round)
        jobs = [job_of(variant, name, seed) for variant in now for name in scenes for seed in range(experiment.training_seeds)]
        _train(list({job["out"]: job for job in jobs}.values()), workers, report)
        measure(now)
    measure([name for name, variant in variants.items() if variant.as_fast_as])
    return evaluations


def _own_episodes(scene: str, runs: Sequence[str]) -> str:
    """Return SQL for what the base has collected, and what was collected in later rounds under these names."""
    names = ", ".join(quoted(name) for name in runs)
    which = f"(round = 0 OR run IN ({names}))" if runs else "round = 0"
    return f"scene = {quoted(scene)} AND {which}" if scene else which


def _training(variant: Variant) -> Variant:
    return dataclasses.replace(variant, subgoals="", as_fast_as="", rollout=None)


def _recipe(preset: Preset, variant: Variant) -> PolicyTrainingConfig:
    return preset.pretraining.policy if variant.from_scratch else preset.improvement.policy


def _train(jobs: list[dict[str, Any]], workers: int, report: Progress) -> None:
    steps_done = [0] * len(jobs)

    def receive(index: int, progress: dict[str, Any]) -> None:
        steps_done[index] = int(progress["done"])
        report("train", sum(steps_done), sum(job["steps"] for job in jobs), Path(str(jobs[index]["out"])).name)

    run_workers(train_variant, jobs, workers=workers, on_report=receive)


def _evaluate(job: Mapping[str, Any], scene: str, trials: int, report: Progress) -> Evaluation:
    variant, out = validate(Variant, job["variant"], "variant"), Path(job["evaluation"])
    scale = 1.0
    if variant.as_fast_as:
        ours = mean_speed_m(out.with_name(f"{variant.as_fast_as}-0.json"))
        scale = round(ours / mean_speed_m(out.with_name("pretrained-0.json")), 2)
    return evaluate(
        Path(job["policy"]) if variant.data == "none" else Path(job["out"]),
        workcell=SIMULATED + scene,
        subgoals=variant.subgoals or job["subgoals"],
        trials=trials,
        out=out,
        variant=str(job["name"]),
        workers=int(job["workers"]),
        action_scale=scale,
        rollout=validate(RolloutConfig, job["rollout"], "rollout"),
        vlm=str(job["vlm"]),
        first_trial=int(job["first_trial"]),
        on_trial=functools.partial(_report_trial, report, f"evaluate {out.stem} in {job['scene']}"),
    )


def train_variant(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Train one variant with one seed (worker entry point); reports `done` and `total` steps."""
    variant = validate(Variant, item["variant"], "variant")
    preset: Preset = load_preset(item["preset"])
    config = _recipe(preset, variant)
    if variant.conditioning == "language":
        config = following_instructions(config, preset.pretraining.sentences)
    changes = [field.name for field in dataclasses.fields(SourceConfig) if hasattr(variant, field.name)]
    own = {name: value for name in changes if (value := getattr(variant, name)) is not None}
    run = Path(item["run"])
    autonomous = None
    source = dataclasses.replace(preset.improvement.policy.autonomous, **own)
    if variant.data == "autonomous":
        autonomous = AutonomousData(
            store=run / "episodes",
            success_only=variant.success_only,
            label=variant.label,
            threshold=preset.improvement.threshold if variant.success_only and variant.label == "vlm" else 0.0,
            where=item["where"],
        )
    elif variant.data == "headroom":
        # Demonstrations are neither slow nor idle: they are learned from as the pre-training data is, but as often as own data.
        source = config.pretraining
        autonomous = AutonomousData(store=run / "headroom" / item["scene"] / "episodes", success_only=False)
    elif variant.gripper_weight is not None:
        config = dataclasses.replace(
            config, pretraining=dataclasses.replace(config.pretraining, gripper_weight=variant.gripper_weight)
        )
    config = dataclasses.replace(
        config,
        fit=dataclasses.replace(config.fit, steps=int(item["steps"])),
        autonomous=source,
        upsampling=preset.improvement.policy.upsampling,
        autonomous_cap=preset.improvement.policy.autonomous_cap,
        autonomous_share=variant.share,
    )
    ImitationLearner(config).learn(
        None if variant.from_scratch else Path(item["policy"]),
        LearningData(pretraining=Path(item["pretraining"]), autonomous=autonomous),
        Path(item["out"]),
        seed=int(item["seed"]),
        on_step=lambda done, total, _metrics: report(done=done, total=total) if done % 20 == 0 else None,
    )
    return {}


def _report_trial(report: Progress, what: str, done: int, total: int, rate: float) -> None:
    report(what, done, total, f"success {rate:.2f}")


def _report_episode(report: Progress, what: str, done: int, total: int, last: Mapping[str, Any]) -> None:
    report(what, done, total, str(last.get("instruction", "")))


def _report_world(report: Progress, what: str, done: int, total: int) -> None:
    report(what, done, total, "worlds")


def mean_speed_m(evaluation: Path) -> float:
    """Return the mean length of the executed motions, in metres a step, of the episodes kept beside an evaluation.

    Raises:
        ConfigError: None were kept.
    """
    lengths = [np.linalg.norm(episode.actions_TD[:, :3], axis=1).mean() for episode in read_films(evaluation)]
    if not lengths:
        raise ConfigError(f"no films beside {evaluation}: evaluate that variant first")
    return float(np.mean(lengths))


def _write(results: Path, command: str, variants: Mapping[str, Variant], evaluations: Results) -> None:
    rows = []
    order = list(variants)
    for (_scene, _arm), group in sorted(evaluations.items(), key=lambda item: order.index(item[0][1])):
        for seed, evaluation in enumerate(group):
            made_by = {"training_seed": seed, "policy": evaluation.policy, "subgoals": evaluation.subgoal_model}
            rows += [row | made_by for row in success_rows([evaluation])]
    write_results(results, command, rows)
