"""One scene, several arms: does a policy improve from its own data, and which part of the recipe does it?

    collect once ──► train each arm × training seed from the same base, for the same number of samples
                 ──► evaluate each on the same seeded starts ──► results/NAME.json

An *arm* differs from `improved` in one thing. `pretrained` is the base; `control` trains on pre-training data only; `faster`
is the base with its motions scaled to the improved one's mean speed; `headroom` learns from demonstrations recorded in the
scene. Everything resumes: collection, each training run and each evaluation keep what is finished.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from soar.collect.workers import Reporter, run_workers
from soar.configuration import load, validate
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.results import success_rows, write_results
from soar.evaluation.simulated import evaluate, read_films
from soar.evaluation.trials import Evaluation
from soar.improve.collecting import Models, collect
from soar.improve.cotraining import AutonomousData, Judge, cotrain
from soar.improve.preset import Preset, load_preset
from soar.improve.recording import record

HEADROOM_SEED = 3
Progress = Callable[[str, int, int, str], None]
DataSource = Literal["none", "pretraining", "autonomous", "headroom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one arm does differently.

    Attributes:
        data: What the base is trained on further, beside its pre-training data: `none` is not trained at all.
        success_only: Learn from successes only.
        label: Whose judgement counts.
        threshold: Least probability of success.
        goal_window: Of autonomous data, in steps.
        sum_actions: Imitate the sum of two consecutive autonomous actions.
        drop_idle: Leave out idle steps.
        from_scratch: Begin with a fresh network and the pre-training budget instead of continuing.
        as_fast_as: The arm whose mean speed the actions are scaled to.
        subgoals: `oracle` replaces the subgoal model in the evaluation.
    """

    data: DataSource
    success_only: bool = True
    label: Judge = "vlm"
    threshold: float = 0.0
    goal_window: tuple[int, int] | None = None
    sum_actions: bool | None = None
    drop_idle: bool | None = None
    from_scratch: bool = False
    as_fast_as: str = ""
    subgoals: Literal["", "oracle"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The arms of an experiment on one scene, see `configs/reproduce/*.yaml`.

    Attributes:
        scene: Name of the scene.
        episodes: Autonomous episodes collected.
        trials: Of each task, in each evaluation.
        training_seeds: Training runs of each trained arm.
        headroom_worlds: Worlds of demonstrations (10 episodes each) recorded in the scene.
        arms: By name.
    """

    scene: str
    episodes: int
    trials: int
    training_seeds: int
    headroom_worlds: int
    arms: Mapping[str, Arm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, arm in self.arms.items():
            if arm.as_fast_as and arm.as_fast_as not in self.arms:
                raise ConfigError(f"arm {name!r}: as_fast_as names {arm.as_fast_as!r}, which is none of {', '.join(self.arms)}")


def reproduce(
    name: str,
    *,
    run: Path,
    models: Models,
    preset: str,
    pretraining: Path,
    results: Path,
    only: tuple[str, ...] = (),
    workers: int = 2,
    report: Progress,
) -> list[Evaluation]:
    """Run what is missing of an experiment and write `results/NAME.json`.

    Args:
        name: Of `configs/reproduce/NAME.yaml`.
        run: Folder of the run: the dataset, the policies and the evaluations of all arms.
        models: The base policy, the subgoal model and the VLM.
        preset: Of collection and training.
        pretraining: Store of the base's demonstrations.
        results: The results file.
        only: Some of the arms; all by default.
        workers: Processes.
        report: Progress: (what, done, in all, note).

    Raises:
        UnknownNameError: There is no such experiment or arm.
    """
    experiment = load(Experiment, "reproduce", name)
    for wanted in only:
        if wanted not in experiment.arms:
            raise UnknownNameError("arm", wanted, experiment.arms, f"In experiment {name!r}.")
    settings = load_preset(preset)
    arms = {n: a for n, a in experiment.arms.items() if not only or n in only}
    if any(arm.data == "autonomous" for arm in arms.values()):
        collect(
            models,
            scene=experiment.scene,
            store=run / "episodes",
            journal=run / "events.jsonl",
            run=run.name,
            round=0,
            seed=0,
            config=dataclasses.replace(settings.improvement.collection, episodes=experiment.episodes),
            workers=workers,
            image_size=settings.image_size,
            on_episode=lambda done, total, last: report("collect", done, total, str(last.get("instruction", ""))),
        )
    if any(arm.data == "headroom" for arm in arms.values()):
        record(
            experiment.scene,
            run / "headroom",
            worlds=experiment.headroom_worlds,
            seed=HEADROOM_SEED,
            workers=workers,
            on_world=lambda done, total: report("headroom demonstrations", done, total, ""),
        )
    jobs = [
        {
            "arm": dataclasses.asdict(arm),
            "out": str(_policy_folder(run, arm_name, seed)),
            "seed": seed,
            "base": models.policy,
            "preset": preset,
            "pretraining": str(pretraining),
            "run": str(run),
        }
        for arm_name, arm in arms.items()
        if arm.data != "none"
        for seed in range(experiment.training_seeds)
    ]
    steps_done = [0] * len(jobs)

    def trained(index: int, progress: dict[str, Any]) -> None:
        steps_done[index] = int(progress["done"])
        report("train", sum(steps_done), int(progress["total"]) * len(jobs), Path(str(jobs[index]["out"])).name)

    run_workers(train_arm, jobs, workers=workers, on_report=trained)
    evaluations: dict[str, list[Evaluation]] = {}
    # An arm that is as fast as another needs that one's films first.
    for arm_name, arm in sorted(arms.items(), key=lambda pair: bool(pair[1].as_fast_as)):
        seeds = range(experiment.training_seeds) if arm.data != "none" else range(1)
        scale = _speed_ratio(run, arm.as_fast_as) if arm.as_fast_as else 1.0
        evaluations[arm_name] = [
            evaluate(
                _policy_folder(run, arm_name, seed) if arm.data != "none" else Path(models.policy),
                scene=experiment.scene,
                subgoals=arm.subgoals or models.subgoals,
                trials=experiment.trials,
                out=_evaluation_file(run, arm_name, seed),
                arm=arm_name,
                workers=workers,
                action_scale=scale,
                image_size=settings.image_size,
                on_trial=functools.partial(_report_trial, report, f"evaluate {arm_name}/{seed}"),
            )
            for seed in seeds
        ]
        _write(results, name, experiment, evaluations)
    return [evaluation for group in evaluations.values() for evaluation in group]


def train_arm(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Train one arm with one seed (worker entry point); reports `done` and `total` steps."""
    arm = validate(Arm, item["arm"], "arm")
    preset: Preset = load_preset(item["preset"])
    config = preset.pretraining.policy if arm.from_scratch else preset.improvement.policy
    own = {k: getattr(arm, k) for k in ("goal_window", "sum_actions", "drop_idle") if getattr(arm, k) is not None}
    run = Path(item["run"])
    autonomous = None
    source = dataclasses.replace(preset.improvement.policy.autonomous, **own)
    if arm.data == "autonomous":
        autonomous = AutonomousData(
            store=run / "episodes", success_only=arm.success_only, label=arm.label, threshold=arm.threshold
        )
    elif arm.data == "headroom":
        # Demonstrations are neither slow nor idle: they are learned from as the pre-training data is, but as often as own data.
        source = config.pretraining
        autonomous = AutonomousData(store=run / "headroom" / "episodes", success_only=False)
    config = dataclasses.replace(
        config,
        fit=dataclasses.replace(config.fit, seed=int(item["seed"])),
        autonomous=source,
        upsampling=preset.improvement.policy.upsampling,
        autonomous_cap=preset.improvement.policy.autonomous_cap,
    )
    cotrain(
        config,
        Path(item["out"]),
        pretraining=Path(item["pretraining"]),
        autonomous=autonomous,
        initial=None if arm.from_scratch else Path(item["base"]),
        on_step=lambda done, total, _metrics: report(done=done, total=total) if done % 20 == 0 else None,
    )
    return {}


def _report_trial(report: Progress, what: str, done: int, total: int, rate: float) -> None:
    report(what, done, total, f"success {rate:.2f}")


def mean_speed_m(films: Path) -> float:
    """Return the mean length of the executed motions, in metres a step, of the episodes kept beside an evaluation."""
    lengths = [np.linalg.norm(episode.actions_TD[:, :3], axis=1).mean() for episode in read_films(films)]
    if not lengths:
        raise ConfigError(f"no films beside {films}: evaluate that arm first")
    return float(np.mean(lengths))


def _speed_ratio(run: Path, arm: str) -> float:
    ratio = mean_speed_m(_evaluation_file(run, arm, 0)) / mean_speed_m(_evaluation_file(run, "pretrained", 0))
    return round(ratio, 2)


def _policy_folder(run: Path, arm: str, seed: int) -> Path:
    return run / "policies" / f"{arm}-{seed}"


def _evaluation_file(run: Path, arm: str, seed: int) -> Path:
    return run / "evaluations" / f"{arm}-{seed}.json"


def _write(results: Path, name: str, experiment: Experiment, evaluations: Mapping[str, list[Evaluation]]) -> None:
    rows = []
    for arm in experiment.arms:
        for seed, evaluation in enumerate(evaluations.get(arm, [])):
            made_by = {"training_seed": seed, "policy": evaluation.policy, "subgoals": evaluation.subgoal_model}
            rows += [row | made_by for row in success_rows([evaluation])]
    write_results(results, f"soar reproduce {name}", rows)


def judged(store: Path) -> dict[str, int]:
    """Return how the detector's verdicts compare with the simulator's: tp, fp, fn, tn (paper §D)."""
    counts = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
    for episode in EpisodeStore(store).episodes("simulator_success IS NOT NULL"):
        said, true = bool(episode.success), bool(episode.simulator_success)
        counts[("t" if said == true else "f") + ("p" if said else "n")] += 1
    return counts
