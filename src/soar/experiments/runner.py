"""Some scenes, several arms: does a policy improve from its own data, and which part of the recipe does it?

    collect once a scene ──► train each arm × training seed from the same base, for the same number of samples
                         ──► evaluate each on the same seeded starts ──► results/NAME.json

An *arm* differs from `improved` in one thing. `pretrained` is the base; `control` trains on pre-training data only; `faster`
is the base with its motions scaled to the improved one's mean speed; `headroom` learns from demonstrations recorded in the
scene; a *pooled* arm is one policy for all scenes; an arm *after* another is its next round: the other's policy collects, and
learns from that, too. Everything resumes: collection, each training run and each evaluation keep what is finished.

    RUN/episodes                       what was collected, in all scenes
    RUN/headroom/SCENE                 demonstrations recorded in the scene
    RUN/policies/SCENE/ARM-SEED        trained policies; those of pooled arms without SCENE
    RUN/evaluations/SCENE/ARM-SEED     every trial, and films of the first ones
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soar.collect.rollout import RolloutConfig
from soar.configuration import validate
from soar.errors import ConfigError
from soar.evaluation.results import success_rows, write_results
from soar.evaluation.runner import evaluate, read_films
from soar.evaluation.trials import Evaluation
from soar.experiments.config import Arm, Experiment
from soar.fleet.collection import Models, collect
from soar.fleet.processes import Reporter, run_workers
from soar.improve.preset import Preset, following_instructions, load_preset
from soar.pretraining.recording import record
from soar.sim.scene import load_scene
from soar.training.cotraining import AutonomousData, cotrain
from soar.training.data import SourceConfig
from soar.training.policy import PolicyTrainingConfig

HEADROOM_SEED = 3
Progress = Callable[[str, int, int, str], None]
Results = dict[tuple[str, str], list[Evaluation]]
"""Evaluations by (scene, arm), one a training seed."""


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
        run: Folder of the run: the dataset, the policies and the evaluations of all arms.
        models: The base policy, the subgoal model and the VLM.
        language: The base policy of the arms that follow instructions.
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
    arms = experiment.arms
    evaluations: Results = {}

    def measure(names: list[str]) -> None:
        for arm in names:
            for name, scene in scenes.items():
                evaluations[name, arm] = [
                    _evaluate(job_of(arm, name, seed), scene, experiment.trials_of_each_task(scene), report)
                    for seed in (range(experiment.training_seeds) if arms[arm].data != "none" else range(1))
                ]
                _write(results, command, arms, evaluations)

    def trained_as(arm: str) -> str:
        """Return the first arm that is trained alike: what differs only in the evaluation is one policy."""
        return next(name for name in arms if _training(arms[name]) == _training(arms[arm]))

    def out_of(arm: str, name: str, seed: int) -> Path:
        place = Path() if arms[arm].pooled else Path(name)
        return run / "policies" / place / f"{trained_as(arm)}-{seed}"

    def begins_with(arm: str, name: str) -> str:
        if arms[arm].after:
            return str(out_of(arms[arm].after, name, 0))
        return language if arms[arm].conditioning == "language" else models.policy

    def run_name(name: str, collector: str) -> str:
        return f"{run.name}-{name}-{collector}" if collector else f"{run.name}-{name}"

    def job_of(arm: str, name: str, seed: int) -> dict[str, Any]:
        collected = [run_name(scene, by) for by in experiment.collectors(arm) for scene in scenes]
        return {
            "name": arm,
            "arm": dataclasses.asdict(arms[arm]),
            "scene": name,
            "out": str(out_of(arm, name, seed)),
            "evaluation": str(run / "evaluations" / name / f"{arm}-{seed}.json"),
            "seed": seed,
            "steps": arms[arm].steps or _recipe(settings, arms[arm]).fit.steps,
            "policy": begins_with(arm, name),
            "subgoals": models.subgoals,
            "where": _own_episodes("" if arms[arm].pooled else name, collected),
            "preset": preset,
            "pretraining": str(pretraining),
            "run": str(run),
            "workers": workers,
            "vlm": models.vlm,
            "rollout": dataclasses.asdict(arms[arm].rollout or collection.rollout),
            "first_trial": experiment.first_trial,
        }

    def collect_by(arm: str, round: int) -> None:
        for name, scene in scenes.items():
            collect(
                dataclasses.replace(models, policy=str(out_of(arm, name, 0))) if arm else models,
                scene=scene,
                store=run / "episodes",
                journal=run / "events.jsonl",
                run=run_name(name, arm),
                round=round,
                seed=0,
                config=collection,
                workers=workers,
                image_size=settings.image_size,
                on_episode=functools.partial(_report_episode, report, f"collect in {name}{', ' if arm else ''}{arm}"),
            )

    # What needs no data comes first: if the base is not what it should be, that shows at once.
    measure([name for name, arm in arms.items() if arm.data == "none" and not arm.as_fast_as])
    if any(arm.data == "headroom" for arm in arms.values()):
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
    trained = [name for name, arm in arms.items() if arm.data != "none"]
    for round in range(1 + max((len(experiment.collectors(name)) for name in trained), default=-1)):
        now = [name for name in trained if len(experiment.collectors(name)) == round]
        for collector in dict.fromkeys(arms[name].after for name in now if arms[name].data == "autonomous"):
            collect_by(collector, round)
        jobs = [job_of(arm, name, seed) for arm in now for name in scenes for seed in range(experiment.training_seeds)]
        _train(list({job["out"]: job for job in jobs}.values()), workers, report)
        measure(now)
    measure([name for name, arm in arms.items() if arm.as_fast_as])
    return evaluations


def _own_episodes(scene: str, runs: Sequence[str]) -> str:
    """Return SQL for what the base has collected, and what was collected in later rounds under these names."""
    names = ", ".join("'" + name.replace("'", "''") + "'" for name in runs)
    which = f"(round = 0 OR run IN ({names}))" if runs else "round = 0"
    return f"scene = '{scene}' AND {which}" if scene else which


def _training(arm: Arm) -> Arm:
    return dataclasses.replace(arm, subgoals="", as_fast_as="", rollout=None)


def _recipe(preset: Preset, arm: Arm) -> PolicyTrainingConfig:
    return preset.pretraining.policy if arm.from_scratch else preset.improvement.policy


def _train(jobs: list[dict[str, Any]], workers: int, report: Progress) -> None:
    steps_done = [0] * len(jobs)

    def receive(index: int, progress: dict[str, Any]) -> None:
        steps_done[index] = int(progress["done"])
        report("train", sum(steps_done), sum(job["steps"] for job in jobs), Path(str(jobs[index]["out"])).name)

    run_workers(train_arm, jobs, workers=workers, on_report=receive)


def _evaluate(job: Mapping[str, Any], scene: str, trials: int, report: Progress) -> Evaluation:
    arm, out = validate(Arm, job["arm"], "arm"), Path(job["evaluation"])
    scale = 1.0
    if arm.as_fast_as:
        ours = mean_speed_m(out.with_name(f"{arm.as_fast_as}-0.json"))
        scale = round(ours / mean_speed_m(out.with_name("pretrained-0.json")), 2)
    return evaluate(
        Path(job["policy"]) if arm.data == "none" else Path(job["out"]),
        scene=scene,
        subgoals=arm.subgoals or job["subgoals"],
        trials=trials,
        out=out,
        arm=str(job["name"]),
        workers=int(job["workers"]),
        action_scale=scale,
        image_size=load_preset(str(job["preset"])).image_size,
        rollout=validate(RolloutConfig, job["rollout"], "rollout"),
        vlm=str(job["vlm"]),
        first_trial=int(job["first_trial"]),
        on_trial=functools.partial(_report_trial, report, f"evaluate {out.stem} in {job['scene']}"),
    )


def train_arm(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Train one arm with one seed (worker entry point); reports `done` and `total` steps."""
    arm = validate(Arm, item["arm"], "arm")
    preset: Preset = load_preset(item["preset"])
    config = _recipe(preset, arm)
    if arm.conditioning == "language":
        config = following_instructions(config, preset.pretraining.sentences)
    changes = [field.name for field in dataclasses.fields(SourceConfig) if hasattr(arm, field.name)]
    own = {name: value for name in changes if (value := getattr(arm, name)) is not None}
    run = Path(item["run"])
    autonomous = None
    source = dataclasses.replace(preset.improvement.policy.autonomous, **own)
    if arm.data == "autonomous":
        autonomous = AutonomousData(
            store=run / "episodes",
            success_only=arm.success_only,
            label=arm.label,
            threshold=preset.improvement.threshold if arm.success_only and arm.label == "vlm" else 0.0,
            where=item["where"],
        )
    elif arm.data == "headroom":
        # Demonstrations are neither slow nor idle: they are learned from as the pre-training data is, but as often as own data.
        source = config.pretraining
        autonomous = AutonomousData(store=run / "headroom" / item["scene"] / "episodes", success_only=False)
    elif arm.gripper_weight is not None:
        config = dataclasses.replace(
            config, pretraining=dataclasses.replace(config.pretraining, gripper_weight=arm.gripper_weight)
        )
    config = dataclasses.replace(
        config,
        fit=dataclasses.replace(config.fit, seed=int(item["seed"]), steps=int(item["steps"])),
        autonomous=source,
        upsampling=preset.improvement.policy.upsampling,
        autonomous_cap=preset.improvement.policy.autonomous_cap,
        autonomous_share=arm.share,
    )
    cotrain(
        config,
        Path(item["out"]),
        pretraining=Path(item["pretraining"]),
        autonomous=autonomous,
        initial=None if arm.from_scratch else Path(item["policy"]),
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
        raise ConfigError(f"no films beside {evaluation}: evaluate that arm first")
    return float(np.mean(lengths))


def _write(results: Path, command: str, arms: Mapping[str, Arm], evaluations: Results) -> None:
    rows = []
    order = list(arms)
    for (_scene, _arm), group in sorted(evaluations.items(), key=lambda item: order.index(item[0][1])):
        for seed, evaluation in enumerate(group):
            made_by = {"training_seed": seed, "policy": evaluation.policy, "subgoals": evaluation.subgoal_model}
            rows += [row | made_by for row in success_rows([evaluation])]
    write_results(results, command, rows)
