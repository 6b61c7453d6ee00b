"""What commands print when they are done: results on standard output, nothing else there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from soar.console.run_facts import TaskFacts
from soar.evaluation import Evaluation, Rate
from soar.evaluation.choosing import Choices
from soar.evaluation.detector_metrics import DetectorScore
from soar.evaluation.promotion import Practice
from soar.evaluation.statistics import short
from soar.untrusted import printable
from soar.vlm.answer_file import Score

POSE = ("x [m]", "y [m]", "z [m]", "roll [rad]", "pitch [rad]", "yaw [rad]", "opening")
"""The dimensions of a state …"""
MOTION = (*(f"d{name}" for name in POSE[:6]), "gripper")
"""… and of an action."""


def say(text: str) -> None:
    """Print a sentence; what a terminal would obey in it is shown instead."""
    sys.stdout.write(printable(text) + "\n")


def print_rates(evaluations: Sequence[Evaluation]) -> None:
    """Print success rates with 95 % intervals: a row a task, a column an evaluation."""
    table = Table("task", *(evaluation.variant for evaluation in evaluations), title="success [95 % interval]")
    rates = [evaluation.by_task() for evaluation in evaluations]
    none = Rate(successes=0, trials=0)
    for task in dict.fromkeys(task for by_task in rates for task in by_task):
        table.add_row(task, *(str(by_task.get(task, none)) for by_task in rates))
    table.add_section()
    table.add_row("all tasks", *(str(evaluation.rate()) for evaluation in evaluations))
    _print(table)


def print_tasks(tasks: Sequence[TaskFacts]) -> None:
    """Print what is known of each task of a run: a row a task, most attempts first."""
    table = Table("task", "judged successes [95 % interval]", "undecided", "true", title="episodes")
    for one in tasks:
        true = "-" if one.true is None else str(one.true)
        table.add_row(one.task or "(none)", str(one.judged), str(one.undecided), true)
    _print(table)


def print_choices(choices: Choices) -> None:
    """Print what policies have done and which of them is chosen: a row a task, a column a policy."""
    names = list(choices.tasks[0].rates)
    table = Table("task", *names, "chosen", title="success [95 % interval]")
    for one in choices.tasks:
        table.add_row(one.task, *(str(one.rates[name]) for name in names), one.policy)
    _print(table)


def print_practice(practised: Sequence[Practice]) -> None:
    """Print what policies did while they practised: a row a policy."""
    table = Table("policy", "judged while practising", "true", "judged by", title="success [95 % interval], not evaluated")
    for one in practised:
        table.add_row(one.policy, str(one.judged), "-" if one.true is None else str(one.true), one.judge)
    _print(table)


def print_fleet(state: dict[str, Any]) -> None:
    """Print what each robot of a fleet does: a row of numbers, and a line of words; in 80 columns."""
    show = Console().print
    table = Table(title=f"{state['name']}: {state['episodes']} of {state['wanted']} episodes of {state['run']}", box=None)
    for name in ("robot", "does", "for", "policy", "stored", "judged", "faults", "restarts"):
        table.add_column(name, no_wrap=name in ("robot", "policy"), overflow="fold")
    for robot in state["robots"]:
        cells = (
            robot["name"],
            robot["phase"],
            f"{robot['for_s']:.0f} s",
            robot["policy"],
            robot["stored"],
            f"{robot['successes']}/{robot['episodes']}",
            sum(robot["faults"].values()),
            robot["restarts"],
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    show(table)
    for robot in state["robots"]:
        if said := "; ".join(text for text in (robot["instruction"], robot["detail"]) if text):
            show(Text(f"{robot['name']}: {said}"))
    if deployment := state["deployment"]:
        tried = sum(deployment["tried"][what] for what in ("episodes", "faults"))
        doing = f"{deployment['canary']} tries it: {tried} of {deployment['wanted']} attempts"
        what = f"{deployment['done']}: {deployment['sentence']}" if deployment["done"] else doing
        show(Text(f"policy {deployment['policy']} ({deployment['version']}): {what}"))


def print_statistics(statistics: dict[str, Any], vectors: dict[str, Any], *, as_json: bool) -> None:
    """Print what a store holds, see `soar.episodes.dataset_statistics` and `soar.episodes.vector_statistics`."""
    if as_json:
        say(json.dumps(_with_rates(statistics) | {"vectors": vectors}, indent=1))
        return
    paper = statistics["table6"]
    row = Table(
        "trajectories", "environments", "language", "failed trajectories", "collection", title="as in the paper's Table 6"
    )
    row.add_row(
        str(paper["trajectories"]),
        str(paper["environments"]),
        "yes" if paper["language"] else "no",
        "yes" if paper["failed_trajectories"] else "no",
        f"{paper['autonomous_share']:.0%} autonomous",
    )
    _print(row)
    table = Table("", "attempts", "labelled", "successes", "failures", "steps", "success [95 % interval]")
    for name in ("by_task", "by_scene", "by_robot", "by_policy"):
        table.add_row(f"[bold]{name.removeprefix('by_')}[/bold]")
        for key, counts in statistics[name].items():
            _add_counts(table, f"  {escape(key) or '(none)'}", counts)
        table.add_section()
    _add_counts(table, "total", statistics["total"])
    _print(table)
    for name, names in (("state", POSE), ("action", MOTION)):
        found = vectors[name]
        if not found["count"]:
            continue
        table = Table("", *names, title=f"{name}s: {found['count']}")
        for key in ("mean", "std", "min", "q01", "q10", "q50", "q90", "q99", "max"):
            table.add_row(key, *(f"{value:.4g}" for value in found[key]))
        _print(table)


def _add_counts(table: Table, name: str, counts: dict[str, int]) -> None:
    rate = Rate(successes=counts["successes"], trials=counts["labelled"])
    table.add_row(name, *(str(value) for value in counts.values()), str(rate) if counts["labelled"] else "-")


def _with_rates(statistics: dict[str, Any]) -> dict[str, Any]:
    """Return statistics in which each count of successes has its rate and 95 % interval; null where nothing is judged."""

    def rated(counts: dict[str, int]) -> dict[str, Any]:
        rate = Rate(successes=counts["successes"], trials=counts["labelled"])
        return counts | {"success_rate": [rate.value, *rate.interval] if rate.trials else None}

    groups = {name: {k: rated(c) for k, c in part.items()} for name, part in statistics.items() if name.startswith("by_")}
    return statistics | {"total": rated(statistics["total"])} | groups


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


def print_readings(scores: dict[str, Score]) -> None:
    """Print how well answers are read, by kind, and then what was read wrongly."""
    table = Table("", "right", "undecided", "wrong", title="answers as they are read")
    for kind, score in scores.items():
        table.add_row(kind, str(score.right), str(score.undecided), str(score.wrong))
    right, undecided, wrong = (
        sum(getattr(score, name) for score in scores.values()) for name in ("right", "undecided", "wrong")
    )
    table.add_section()
    table.add_row("all", str(right), str(undecided), str(wrong))
    _print(table)
    for kind, score in scores.items():
        for mistake in score.mistakes:
            say(f"{kind}: {mistake}")
    total = right + undecided + wrong
    say(f"{right} of {total} answers are read as they should be; {undecided} are left undecided, {wrong} are read wrongly.")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to `soar.cli.ending`: Rich's own way exits with 1, as if something had failed."""
        raise BrokenPipeError


def _print(table: Table) -> None:
    for column in table.columns:
        column._cells[:] = [printable(cell) if isinstance(cell, str) else cell for cell in column._cells]
    console = _Console()
    # Without a terminal nothing limits the width: a log or a file can hold long lines.
    (console if console.is_terminal else _Console(width=200)).print(table)
