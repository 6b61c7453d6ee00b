"""Some scenes, several variants: does a policy improve from its own data, and which part of the recipe does it?

    collect once a scene ──► train each variant × training seed from the same base, for the same number of samples
                         ──► evaluate each on the same seeded starts ──► results/NAME.json

A *variant* differs from `improved` in one thing. `pretrained` is the base; `control` trains on pre-training data only; `faster`
is the base with its motions scaled to the improved one's mean speed; `in_scene` learns from demonstrations recorded in the
scene; a *pooled* variant is one policy for all scenes; a variant *after* another is its next round: the other's policy
collects, and learns from that, too. Everything resumes: collection, each training run and each evaluation keep what is
finished.

    RUN/episodes                       what was collected, in all scenes
    RUN/in_scene/SCENE                 demonstrations recorded in the scene
    RUN/policies/SCENE/VARIANT-SEED    trained policies; those of pooled variants without SCENE
    RUN/evaluations/SCENE/VARIANT-SEED every trial, and films of the first ones
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from soar.baselines.dial import label_quality
from soar.collect.models import Models
from soar.collect.rollout import RolloutConfig
from soar.configuration import validate
from soar.episodes.filters import quoted
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation.results import success_rows, write_results
from soar.evaluation.runner import evaluate, read_films, wanted_trials
from soar.evaluation.trials import Evaluation
from soar.experiments.config import Experiment, Variant
from soar.experiments.variant_training import label_by_dial, steps_of, train_all
from soar.files import write_text
from soar.fleet.collection import collect
from soar.improve.preset import load_preset
from soar.pretraining.recording import record
from soar.robots.workcell import SIMULATED
from soar.scenes import load_scene

HEADROOM_SEED = 3
Progress = Callable[[str, int, int, str], None]
Results = dict[tuple[str, str], list[Evaluation]]
"""Evaluations by (scene, variant), one a training seed."""


def reproduce(
    experiment: Experiment,
    *,
    run: Path,
    models: Models,
    bases: Mapping[str, str] = MappingProxyType({}),
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
        bases: Those of the variants that are told something else than a goal image, by `conditioning`.
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
            untrained = is_untrained(variants[variant])
            for name, scene in scenes.items():
                evaluations[name, variant] = [
                    _evaluate(job_of(variant, name, seed), scene, experiment.trials_of_each_task(scene, untrained), report)
                    for seed in range(1 if untrained else experiment.training_seeds)
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
        return bases.get(variants[variant].conditioning, models.policy)

    def acting(variant: str, name: str, seed: int) -> Path | str:
        """Return what is evaluated: a policy, or a file that says whose actions whose critic chooses."""
        one = variants[variant]
        if one.acts:
            file = run / "policies" / name / f"{variant}-{seed}.yaml"
            critic = out_of(one.critic, name, seed)
            return write_reranked(file, base=acting(one.acts, name, seed), critic=critic, choice=one.choice)
        return begins_with(variant, name) if one.data == "none" else out_of(variant, name, seed)

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
            "steps": steps_of(settings, experiment.baselines, variants[variant]),
            "policy": begins_with(variant, name),
            "acting": str(acting(variant, name, seed)),
            "baselines": experiment.baselines,
            "tasks": experiment.tasks_of(scenes[name]),
            "subgoals": models.subgoals,
            "where": _own_episodes(list(scenes) if variants[variant].pooled else [name], collected),
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
    measure([name for name, variant in variants.items() if is_untrained(variant) and not variant.as_fast_as])
    if any(variant.data == "in_scene" for variant in variants.values()):
        for name, scene in scenes.items():
            record(
                "in_scene",
                run / "in_scene" / name,
                scene=scene,
                worlds=experiment.in_scene_worlds,
                seed=HEADROOM_SEED,
                workers=workers,
                on_world=functools.partial(_report_world, report, f"demonstrations in {name}"),
            )
    trained = [name for name, variant in variants.items() if variant.data != "none"]
    for round in range(1 + max((len(experiment.collectors(name)) for name in trained), default=-1)):
        now = [name for name in trained if len(experiment.collectors(name)) == round]
        for collector in dict.fromkeys(variants[name].after for name in now if variants[name].data == "autonomous"):
            collect_by(collector, round)
        makers = label_by_dial(
            [variants[name] for name in now],
            run=run,
            pretraining=pretraining,
            baselines=experiment.baselines,
            where=f"scene IN ({', '.join(map(quoted, scenes))})",
            report=report,
        )
        if makers:
            records = EpisodeStore(run / "episodes").episodes(f"scene IN ({', '.join(map(quoted, scenes))})")
            rows = [row for maker in makers for row in label_quality(records, maker)]
            write_results(results.with_stem(f"{results.stem}-labels"), command, rows)
        jobs = [job_of(variant, name, seed) for variant in now for name in scenes for seed in range(experiment.training_seeds)]
        train_all(list({job["out"]: job for job in jobs}.values()), workers, report)
        measure(now)
    measure([name for name, variant in variants.items() if variant.acts])
    measure([name for name, variant in variants.items() if variant.as_fast_as])
    return evaluations


def _own_episodes(scenes: Sequence[str], runs: Sequence[str]) -> str:
    """Return SQL for what the base has collected in these scenes, and what was collected in later rounds under these names."""
    which = f"(round = 0 OR run IN ({', '.join(map(quoted, runs))}))" if runs else "round = 0"
    return f"scene IN ({', '.join(map(quoted, scenes))}) AND {which}"


def is_untrained(variant: Variant) -> bool:
    """Return whether a variant is one policy, whatever the training seed."""
    return variant.data == "none" and not variant.acts


def write_reranked(file: Path, *, base: Path | str, critic: Path, choice: str) -> Path:
    """Write the file of a policy whose actions a critic chooses, see `soar.baselines.reranking`, and return its path."""
    says = {"backend": "soar.baselines.reranking:reranked", "base": str(base), "critic": str(critic), "choice": choice}
    write_text(file, yaml.safe_dump(says, sort_keys=False))
    return file


def _training(variant: Variant) -> Variant:
    return dataclasses.replace(variant, subgoals="", as_fast_as="", rollout=None)


def _evaluate(job: Mapping[str, Any], scene: str, trials: int, report: Progress) -> Evaluation:
    variant, out = validate(Variant, job["variant"], "variant"), Path(job["evaluation"])
    scale = 1.0
    if variant.as_fast_as:
        ours = mean_speed_m(out.with_name(f"{variant.as_fast_as}-0.json"))
        scale = round(ours / mean_speed_m(out.with_name("pretrained-0.json")), 2)
    evaluation = evaluate(
        job["acting"],
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
        tasks=tuple(job["tasks"]),
        on_trial=functools.partial(_report_trial, report, f"evaluate {out.stem} in {job['scene']}"),
    )
    return counted(evaluation, scene, tuple(job["tasks"]), range(int(job["first_trial"]), int(job["first_trial"]) + trials))


def counted(evaluation: Evaluation, scene: str, tasks: Sequence[str], indices: Iterable[int]) -> Evaluation:
    """Return an evaluation without what others tried for it: experiments share its file, not their starts and tasks.

    Args:
        evaluation: As it is in the file.
        scene: Its scene.
        tasks: What counts.
        indices: Of the starts of each task that count.
    """
    wanted = set(wanted_trials(load_scene(scene), tasks, indices))
    return dataclasses.replace(evaluation, trials=tuple(trial for trial in evaluation.trials if trial.key in wanted))


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
