"""The report of an improvement run: one HTML file that needs nothing else, pictures and clips included.

It shows what the numbers are (per task, with intervals, before and after), what was decided and by which test, what the robots
did, and what it looked like. The same report is made for a run that helped and for one that did not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from soar.evaluation.promotion import Practice, Verdict
from soar.evaluation.statistics import Rate, fisher_p, p_value, short
from soar.evaluation.trials import Evaluation
from soar.files import write_text
from soar.reports.video import clip, data_uri, strip_bytes
from soar.types import Episode

ORACLE = "oracle"
"""Ids of models that look at the simulator's state start with this; what they produce says nothing about a real robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the robots did for one task.

    Attributes:
        task: The instruction.
        attempts: Episodes.
        judged_successes: Those that the success detector called successes, and that were learned from.
        undecided: Those that it could not judge.
        successes: Those that truly were successes; None where nobody knows.
    """

    task: str
    attempts: int
    judged_successes: int
    undecided: int = 0
    successes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """How tasks came to be chosen.

    Attributes:
        proposals: In all.
        random: Those for which no task was feasible, so that a random one was tried (§G).
        asked: Questions that the model was asked for them.
        undecidable: Those whose answer was neither yes nor no.
    """

    proposals: int
    random: int
    asked: int
    undecidable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What was done instead of asking a model that was away.

    Attributes:
        model: Its id.
        instead: What was done.
        times: How often.
        episodes: In how many attempts at an episode.
    """

    model: str
    instead: str
    times: int
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """One policy of the run's lineage.

    Attributes:
        policy: Its id.
        parent: The policy that it was trained from; empty for the first.
        data: What it was trained on, in words.
        promoted: Whether it was ever deployed.
    """

    policy: str
    parent: str
    data: str
    promoted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title: Name of the run and of the scene.
        summary: What happened, in a sentence or two.
        compared: One evaluation or two on the same starts, named by their variants: before and after, or the deployed policy
            and a candidate that was refused. Empty when nobody evaluated.
        promotions: The verdict on each candidate, oldest first.
        variants: Evaluations to compare with the last of those; need not include them.
        practised: What policies did while they practised, where that is all that is known of them.
        models: Ids of the models by what they did (`subgoals`, `success detector`, …).
        phases_s: Seconds spent by phase.
        collected: What the robots did, a line a task.
        proposals: How tasks were chosen; None: nothing was collected.
        replacements: What was done instead of asking models that were away.
        successes: Episodes to show that worked.
        failures: Episodes to show that did not.
        lineage: The policies, oldest first.
        dataset: Where the episodes are.
    """

    title: str
    summary: str
    compared: tuple[Evaluation, ...] = ()
    promotions: tuple[Verdict, ...] = ()
    variants: tuple[Evaluation, ...] = ()
    practised: tuple[Practice, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    phases_s: Mapping[str, float] = field(default_factory=dict)
    collected: tuple[Collected, ...] = ()
    proposals: Proposals | None = None
    replacements: tuple[Replacement, ...] = ()
    successes: tuple[Episode, ...] = ()
    failures: tuple[Episode, ...] = ()
    lineage: tuple[Ancestor, ...] = ()
    dataset: str = ""

    def oracles(self) -> list[str]:
        """Return the ids of all models involved that look at the simulator's state."""
        ids = list(self.models.values())
        for evaluation in (*self.compared, *self.variants):
            ids += [evaluation.policy, evaluation.subgoal_model]
        ids += [name for one in self.practised for name in (one.policy, one.judge)]
        for episode in (*self.successes, *self.failures):
            ids += [episode.provenance.policy, episode.provenance.vlm, episode.provenance.subgoal_model]
        return sorted({name for name in ids if name.startswith(ORACLE)})


def write_report(path: Path, report: Report) -> None:
    """Write the report as one self-contained HTML file, atomically.

    Raises:
        SoarError: The file cannot be written.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": short, "duration": _duration, "p_value": p_value}
    none = Rate(successes=0, trials=0)
    classes = ["old", "new"][: len(report.compared)]
    compared = list(zip(classes, report.compared, strict=True))
    by_task = [evaluation.by_task() for evaluation in report.compared]
    page = environment.get_template("report.html.j2").render(
        report=report,
        compared=[(style, evaluation, evaluation.rate()) for style, evaluation in compared],
        tasks=[
            (task, [(style, rates.get(task, none)) for style, rates in zip(classes, by_task, strict=True)])
            for task in dict.fromkeys(task for rates in by_task for task in rates)
        ],
        variants=[_variant(evaluation, report.compared[-1]) for evaluation in report.variants if report.compared],
        true_successes=_total(report.collected),
        total_s=sum(report.phases_s.values()),
        longest_s=max(report.phases_s.values(), default=0.0),
        oracles=report.oracles(),
        films=[
            ("Judged successes", [_film(episode) for episode in report.successes]),
            ("Judged failures, and undecided", [_film(episode) for episode in report.failures]),
        ],
    )
    write_text(path, page)


def _variant(evaluation: Evaluation, last: Evaluation) -> dict[str, Any]:
    rate = evaluation.rate()
    itself = evaluation.policy == last.policy and evaluation.subgoal_model == last.subgoal_model
    p = None if itself or not rate.trials or not last.trials else fisher_p(last.rate(), rate)
    return {"evaluation": evaluation, "rate": rate, "p": p}


def _film(episode: Episode) -> dict[str, Any]:
    labels = [
        f"{label.source}: {'undecided' if label.success is None else 'success' if label.success else 'failure'}"
        + (f" ({short(label.probability)})" if label.probability is not None else "")
        for label in episode.labels
    ]
    return {"episode": episode, "labels": labels, "strip": data_uri(strip_bytes(episode)), "clip": data_uri(clip(episode))}


def _total(collected: tuple[Collected, ...]) -> int | None:
    known = [line.successes for line in collected if line.successes is not None]
    return sum(known) if len(known) == len(collected) else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
