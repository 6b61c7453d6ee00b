"""What commands print when they are done: results on standard output, nothing else there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from soar.evaluation import Evaluation, Rate
from soar.evaluation.detection import DetectorScore
from soar.evaluation.statistics import short


def say(text: str) -> None:
    """Print a sentence."""
    sys.stdout.write(text + "\n")


def print_rates(evaluations: Sequence[Evaluation]) -> None:
    """Print success rates with 95 % intervals: a row a task, a column an evaluation."""
    table = Table("task", *(evaluation.arm for evaluation in evaluations), title="success [95 % interval]")
    rates = [evaluation.by_task() for evaluation in evaluations]
    none = Rate(successes=0, trials=0)
    for task in dict.fromkeys(task for by_task in rates for task in by_task):
        table.add_row(task, *(str(by_task.get(task, none)) for by_task in rates))
    table.add_section()
    table.add_row("all tasks", *(str(evaluation.rate()) for evaluation in evaluations))
    _print(table)


def print_statistics(statistics: dict[str, Any], *, as_json: bool) -> None:
    """Print what a store holds, see `soar.episodes.dataset_statistics`."""
    if as_json:
        say(json.dumps(statistics, indent=1))
        return
    table = Table("", "attempts", "labelled", "successes", "failures", "steps", "success [95 % interval]")

    def row(name: str, counts: dict[str, int]) -> None:
        rate = Rate(successes=counts["successes"], trials=counts["labelled"])
        table.add_row(name, *(str(value) for value in counts.values()), str(rate) if counts["labelled"] else "-")

    for name in ("by_task", "by_scene", "by_policy", "by_robot"):
        for key, counts in statistics[name].items():
            row(key or "(none)", counts)
        table.add_section()
    row("total", statistics["total"])
    _print(table)


def print_score(vlm: str, score: DetectorScore) -> None:
    """Print how good a success detector is."""
    table = Table("", "[95 % interval]", title=f"success detector: {vlm}")
    for name in ("accuracy", "precision", "recall", "undecided"):
        table.add_row(name, str(getattr(score, name)))
    if score.auc is not None:
        value, low, high = (short(number) for number in score.auc)
        table.add_row("area under ROC", f"{value} [{low}, {high}]")
    if score.calibration_error is not None:
        table.add_row("calibration error", short(score.calibration_error))
    _print(table)


def _print(table: Table) -> None:
    console = Console()
    # Without a terminal nothing limits the width: a log or a file can hold long lines.
    (console if console.is_terminal else Console(width=200)).print(table)
