"""How a policy grows: held-out loss, gripper accuracy and success against the samples that it has seen.

One training run of a preset on the simulator's pre-training data. Its checkpoints are policies; those after 1/16, 1/8, 1/4, 1/2
and all of the samples attempt the tasks of a scene, with oracle subgoals, so that the policy alone is measured. The learning
rate decays over the whole run: a checkpoint on the way is the average of its last weights, not a finished shorter run.

    run/policy/         the training run
    run/evaluations/    one JSON file a checkpoint
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar.collect.models import ORACLE
from soar.evaluation.results import write_results
from soar.evaluation.runner import evaluate
from soar.evaluation.trials import Evaluation
from soar.improve.preset import load_preset
from soar.reports.plots import curves, save
from soar.robots.workcell import SIMULATED
from soar.training.cotraining import cotrain
from soar.untrusted import parse_json

Progress = Callable[[str, int, int, str], None]
FRACTIONS = (1, 2, 4, 8, 16)
"""Sixteenths of the run after which the policy is tried."""
ALL = 1000
"""More checkpoints than there will be, those of interruptions included."""
SOURCE = "validation/pretraining"


def learning_curve(
    *,
    preset: str,
    pretraining: Path,
    run: Path,
    results: Path,
    picture: Path,
    scene: str = "unshifted",
    samples: int = 640_000,
    trials: int = 25,
    workers: int = 2,
    command: str = "soar reproduce learning-curve",
    report: Progress,
) -> list[dict[str, Any]]:
    """Run what is missing, write the results file and the picture, and return the rows.

    Args:
        preset: Whose pre-training is used.
        pretraining: Store of the demonstrations.
        run: Folder of the run.
        results: The results file.
        picture: An SVG file.
        scene: In which the policy is tried.
        samples: That the policy sees in all.
        trials: Of each task.
        workers: Processes that simulate.
        command: What the results file says regenerates it.
        report: Progress: (what, done, in all, note).
    """
    settings = load_preset(preset)
    config = settings.pretraining.policy
    every = max(1, samples // config.fit.batch_size // FRACTIONS[-1])
    fit = dataclasses.replace(
        config.fit, steps=every * FRACTIONS[-1], checkpoint_every=every, checkpoints_kept=ALL, log_every=every
    )
    folder = cotrain(
        dataclasses.replace(config, fit=fit),
        run / "policy",
        pretraining=pretraining,
        validation_share=settings.pretraining.validation_share,
        on_step=lambda done, total, metrics: report("train", done, total, _loss(metrics)),
    )
    losses = _validation(folder / "training" / "metrics.jsonl")
    rows = []
    for fraction in FRACTIONS:
        step = fraction * every
        evaluation = evaluate(
            folder / "training" / "checkpoints" / str(step),
            workcell=SIMULATED + scene,
            subgoals=ORACLE,
            trials=trials,
            out=run / "evaluations" / f"{step}.json",
            variant=str(step),
            workers=workers,
            on_trial=lambda done, total, rate: report(f"try step {step}", done, total, f"success {rate:.2f}"),  # noqa: B023
        )
        rows.append(_row(step * fit.batch_size, losses[step], evaluation))
    write_results(results, command, rows)
    save(curves(rows), picture)
    return rows


def _loss(metrics: dict[str, float]) -> str:
    return f"loss {metrics['loss']:.3f}" if "loss" in metrics else ""


def _validation(path: Path) -> dict[int, dict[str, float]]:
    """Return the metrics on held-out episodes by step."""
    lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {line["step"]: line for line in lines if f"{SOURCE}/loss" in line}


def _row(samples: int, losses: dict[str, float], evaluation: Evaluation) -> dict[str, Any]:
    rate = evaluation.rate()
    low, high = rate.interval
    return {
        "samples": samples,
        "held-out loss": losses[f"{SOURCE}/loss"],
        "motion error": losses[f"{SOURCE}/motion_error"],
        "gripper accuracy": losses[f"{SOURCE}/gripper_accuracy"],
        "success": f"{rate.successes}/{rate.trials}",
        "rate": round(rate.value, 3),
        "low": round(low, 3),
        "high": round(high, 3),
    }
