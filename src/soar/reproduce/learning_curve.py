"""How a policy grows: held-out loss, gripper accuracy and success against the samples that it has seen.

One training run of a preset on the simulator's pre-training data. Its checkpoints are policies; those after 1/16, 1/8, 1/4, 1/2
and all of the samples attempt the tasks of a scene, with oracle subgoals, so that the policy alone is measured. The learning
rate decays over the whole run: a checkpoint on the way is the average of its last weights, not a finished shorter run.

    run/policy/         the training run
    run/evaluations/    one JSON file a checkpoint
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soar.evaluation.results import write_results
from soar.evaluation.simulated import ORACLE, evaluate
from soar.evaluation.trials import Evaluation
from soar.files import write_text
from soar.improve.cotraining import cotrain
from soar.improve.preset import load_preset

Progress = Callable[[str, int, int, str], None]
FRACTIONS = (1, 2, 4, 8, 16)
"""Sixteenths of the run after which the policy is tried."""
ALL = 1000
"""More checkpoints than there will be, those of interruptions included."""
SOURCE = "validation/pretraining"
WIDTH, HEIGHT, COLOUR = 330, 250, "#2f6fae"
PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("held-out loss", "held-out loss", ()),
    ("held-out gripper accuracy", "gripper accuracy", ()),
    ("success of rollouts, 95 %", "rate", ("low", "high")),
)
"""Title, row, and the ends of its interval."""


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
            scene=scene,
            subgoals=ORACLE,
            trials=trials,
            out=run / "evaluations" / f"{step}.json",
            arm=str(step),
            workers=workers,
            image_size=settings.image_size,
            on_trial=lambda done, total, rate: report(f"try step {step}", done, total, f"success {rate:.2f}"),  # noqa: B023
        )
        rows.append(_row(step * fit.batch_size, losses[step], evaluation))
    write_results(results, command, rows)
    _draw(rows, picture)
    return rows


def _loss(metrics: dict[str, float]) -> str:
    return f"loss {metrics['loss']:.3f}" if "loss" in metrics else ""


def _validation(path: Path) -> dict[int, dict[str, float]]:
    """Return the metrics on held-out episodes by step."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
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


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the curves as SVG: three panels over the samples, on a logarithmic axis."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{3 * WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for index, (title, name, ends) in enumerate(PANELS):
        values = [row[end] for row in rows for end in (name, *ends)]
        low, high = (0.0, 1.0) if ends else (min(values), max(values))
        parts.append(f'<text x="{index * WIDTH + 46}" y="20" font-size="14">{title}</text>')
        parts += _panel(rows, (name, *ends), index * WIDTH, (low, high if high > low else low + 1))
    write_text(path, "\n".join([*parts, "</svg>", ""]))


def _panel(rows: list[dict[str, Any]], names: tuple[str, ...], offset: float, limits: tuple[float, float]) -> list[str]:
    name, *ends = names
    left, right, top, bottom = offset + 46, offset + WIDTH - 16, 34, HEIGHT - 44
    first, last = (math.log2(rows[index]["samples"]) for index in (0, -1))

    def x(samples: float) -> float:
        return left + (right - left) * (math.log2(samples) - first) / max(last - first, 1e-9)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - limits[0]) / (limits[1] - limits[0])

    def points(rows: list[dict[str, Any]], name: str) -> str:
        return " ".join(f"{x(row['samples']):.1f},{y(row[name]):.1f}" for row in rows)

    parts = []
    for tick in range(5):
        value = limits[0] + (limits[1] - limits[0]) * tick / 4
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>')
    if ends:
        area = f"{points(rows, ends[0])} {points(rows[::-1], ends[1])}"
        parts.append(f'<polygon points="{area}" fill="{COLOUR}" fill-opacity="0.2"/>')
    parts.append(f'<polyline points="{points(rows, name)}" fill="none" stroke="{COLOUR}" stroke-width="2"/>')
    for row in rows:
        place = x(row["samples"])
        parts.append(f'<circle cx="{place:.1f}" cy="{y(row[name]):.1f}" r="3" fill="{COLOUR}"/>')
        label = f"{row['samples'] / 1000:.0f}k"
        parts.append(f'<text x="{place:.1f}" y="{bottom + 17}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{(left + right) / 2:.1f}" y="{bottom + 34}" text-anchor="middle">samples seen</text>')
    return parts
