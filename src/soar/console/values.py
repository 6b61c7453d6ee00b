"""What pages say, the same when they are served and when they are frozen into a file: of a run, of its judge, of an episode."""

from __future__ import annotations

import time
from typing import Any

from soar.console.calibration import FEW, Calibration, calibrate
from soar.console.curves import HEIGHT, WIDTH, episode_curves, over_time, reliability
from soar.console.findings import all_trials, decisions_of, findings_of
from soar.console.judgements import SHARE, Judgements
from soar.console.rendering import VERDICTS
from soar.console.run_facts import (
    all_tasks_of,
    changes_of,
    cost_of,
    lineage_of,
    phase_of,
    pieces_of,
    policies_of,
    settings_of,
    tasks_of,
)
from soar.console.run_journal import ORDERED, RunJournals
from soar.console.sources import Source, episodes_of
from soar.episodes.schema import INSTRUCTION, SCORE, SIMULATOR, resolve
from soar.evaluation.practice import attempts_of
from soar.tasks.off_limits import OffLimits
from soar.types import Label
from soar.untrusted import parse_json

_LAST = 12


def run_values(source: Source, journals: RunJournals) -> dict[str, Any]:
    """Return what is said of a run; for a store without a run, what follows from its episodes."""
    browser, journal = source.browser, journals.of(source)
    table = None if browser is None else attempts_of(browser)
    if table is not None and not len(table):
        table = None
    pieces = () if table is None else pieces_of(table)
    tasks = [] if table is None else tasks_of(table)
    findings = findings_of(source, journal)
    return {
        "episodes": 0 if table is None else len(table),
        "settings": [*settings_of(source), *findings.models, ("episodes", source.uri)],
        "phase": phase_of(source),
        "phases_s": [] if journal is None else sorted(journal.phases_s.items(), key=lambda phase: -phase[1]),
        "tasks": tasks,
        "all_tasks": None if table is None else all_tasks_of(table),
        "small": [(facts, over_time(facts.pieces, 120, 40)) for facts in tasks],
        "points": over_time(pieces),
        "pieces": pieces,
        "policies": [] if table is None else policies_of(table),
        "findings": findings,
        "trials": all_trials(findings.compared),
        "decisions": decisions_of(source, journal),
        "lineage": lineage_of(source, table, journal),
        "cost": cost_of(table, journal),
        "changes": changes_of(table, journal, time.time()),
        "chosen_tasks": None if journal is None else journal.counts["proposal"],
        "sums": {} if journal is None else journal.sums,
        "replaced": {} if journal is None else journal.replaced,
        "faults": [] if journal is None else list(journal.faults)[-_LAST:][::-1],
        "fault_kinds": [] if journal is None else journal.fault_kinds.most_common(),
        "orders": [] if journal is None else journal.events(ORDERED)[-_LAST:][::-1],
        "off_limits": [] if source.run is None else sorted(OffLimits(source.run).now()),
    }


def judge_values(judged: Judgements | None, threshold: float) -> dict[str, Any]:
    """Return what is said of the judge, and what each threshold costs, the one in use among them."""
    made: Calibration | None = None if judged is None else calibrate(judged)
    return {
        "calibration": made,
        "said_and_true": [] if made is None else reliability(made.score.calibration),
        "chosen": None if made is None else made.at(threshold),
        "threshold": threshold,
        "few": FEW,
        "every": SHARE,
    }


def episode_values(source: Source, id: str, journals: RunJournals) -> dict[str, Any]:
    """Return what is said of an episode.

    Raises:
        StoreError: There is no such episode, or the store cannot be read.
    """
    browser = episodes_of(source)
    record, episode = browser.record(id), browser.encoded(id)
    looks = journals.looks(source, record)
    resolved = resolve(record.labels)
    if resolved is not None and resolved.probability is not None and (not looks or looks[-1][0] < record.length):
        looks = [*looks, (record.length, resolved.probability)]
    return {
        "record": record,
        "labels": [_in_words(label) for label in record.labels if label.source != SIMULATOR],
        "asked": [(label.question, label.answer) for label in record.labels if label.question][:4],
        "label": resolved,
        "subgoal_steps": [step for step, _ in episode.subgoals],
        "curves": episode_curves(episode, looks),
        "box": (WIDTH, HEIGHT),
        "episode": episode,
    }


def _in_words(label: Label) -> str:
    """Return a label in words: who says what, and how sure; or what the episode is called, or worth to a learner, too."""
    if label.source.startswith(INSTRUCTION):
        return f"{label.source.removeprefix(INSTRUCTION)} calls it “{label.answer}”"
    if label.source.startswith(SCORE):
        return f"{label.source.removeprefix(SCORE)} gives it the weight {_weight(label)}"
    sure = "" if label.probability is None else f" ({label.probability:.2f})"
    return f"{label.source}: {VERDICTS[label.success]}{sure}"


def _weight(label: Label) -> str:
    try:
        return f"{float(parse_json(label.answer)['weight']):.2f}"
    except (ValueError, KeyError, TypeError):
        return "of a score that is damaged"
