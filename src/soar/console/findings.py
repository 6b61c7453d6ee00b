"""What is known of a run's policies: what evaluations found, what was decided and why, and practice where nobody evaluated.

All of it follows from the run's files, so that a page says the same while the run goes on, afterwards, and frozen into a file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from soar.console.run_journal import RunJournal
from soar.console.run_plan import Plan, name_in, plan_of
from soar.console.sources import Source
from soar.errors import SoarError
from soar.evaluation.practice import ACHIEVED, COLUMNS, attempts_of, practice_of
from soar.evaluation.promotion import Practice
from soar.evaluation.statistics import Rate, fisher_p, paired, short
from soar.evaluation.trials import Evaluation, read_evaluation
from soar.run_folder import RunFolder

ORACLE = "oracle"
"""Ids of models that look at the simulator's state start with this; what they produce says nothing about a real robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a policy.

    Attributes:
        time_s: When.
        good: Whether it was deployed.
        sentence: The verdict and the test, in words.
    """

    time_s: float
    good: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """How probable it is by chance that one evaluation leads over another one.

    Attributes:
        better: One-sided p-value of its being better.
        worse: Of its being worse; a decision about a candidate looks at this.
        test: Whose exact test it is: McNemar's where both tried the same starts, or Fisher's.
    """

    better: float
    worse: float
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of the policies.

    Attributes:
        summary: What happened, in a sentence or two.
        compared: One evaluation or two on the same starts, named by their variants: before and after, or the deployed policy
            and a candidate that was refused. Empty when nobody evaluated.
        variants: Every evaluation, and the lead of the last compared one over it; None for itself, or without trials.
        practised: What each policy did while it practised, oldest first, where that is all that is known.
        decisions: Of the loop, oldest first.
        oracles: Ids of what took part and looked at the simulator's state.
        models: Ids of the models by what they did.
        unreadable: What is wrong with files that cannot be read.
    """

    summary: str = ""
    compared: tuple[Evaluation, ...] = ()
    variants: tuple[tuple[Evaluation, Lead | None], ...] = ()
    practised: tuple[Practice, ...] = ()
    decisions: tuple[Decision, ...] = ()
    oracles: tuple[str, ...] = ()
    models: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Heard(RunFolder):
    """A run's folder whose journal was read already."""

    heard: RunJournal

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the events of one name, oldest first."""
        return self.heard.events(event)


def findings_of(source: Source, journal: RunJournal | None) -> Findings:
    """Return what is known of the policies of a run, or of a store's episodes.

    Raises:
        StoreError: The store cannot be read.
    """
    browser = source.browser
    table = None if browser is None else attempts_of(browser, COLUMNS)
    if source.run is None or journal is None:
        return Findings(summary=_summary(table, ()), models=_models(table), oracles=_oracles(table))
    folder, wrong = _Heard(source.run, journal), list[str]()
    numbers = [0, *_candidates(folder)]
    read = {number: evaluation for number in numbers if (evaluation := _evaluation(folder, number, wrong)) is not None}
    compared = _compared(folder, read, wrong)
    practised: tuple[Practice, ...] = ()
    if not read and (folder.path / "policies").is_dir():
        practised = tuple(practice_of(browser, name_in(folder, number)) for number in numbers)
    decisions = decided(folder)
    summary = _summary(table, compared, plan_of(folder.path))
    if not compared and summary:
        summary += " No policy was evaluated: all that is known of them is how their practice was judged."
    return Findings(
        summary=summary + _outcome(folder),
        compared=compared,
        variants=tuple((one, _lead(one, compared[-1])) for one in read.values()) if compared else (),
        practised=practised,
        decisions=decisions,
        oracles=_oracles(table, *read.values(), *practised),
        models=_models(table),
        unreadable=tuple(dict.fromkeys(wrong)),
    )


def decisions_of(source: Source, journal: RunJournal | None) -> list[Decision]:
    """Return what was decided about policies, by the loop and by a fleet, newest first."""
    if source.run is None or journal is None:
        return []
    by_fleet = [
        Decision(time_s=float(e["time_s"]), good=e.get("done") == "promoted", sentence=str(e.get("sentence", "")))
        for e in journal.events("deployed")
    ]
    return sorted((*decided(_Heard(source.run, journal)), *by_fleet), key=lambda one: -one.time_s)


def decided(folder: RunFolder) -> tuple[Decision, ...]:
    """Return what the loop decided about its candidates, oldest first; also that a round had none, or that one is on trial."""
    made = [
        Decision(time_s=float(e["time_s"]), good=bool(e.get("promote")), sentence=str(e.get("sentence", "")))
        for e in folder.events("promotion")
    ]
    for event in folder.events("not_learned"):
        kept, why = name_in(folder, folder.deployed(before_round=event["round"])), str(event.get("detail", ""))
        sentence = f"Kept {kept}: round {event['round']} has no candidate. {why[:1].upper()}{why[1:]}"
        made.append(Decision(time_s=float(event["time_s"]), good=False, sentence=sentence))
    made.sort(key=lambda decision: decision.time_s)
    waiting = folder.on_trial()
    if waiting is not None:
        begun_s, name = max(float(e["time_s"]) for e in folder.events("on_trial")), name_in(folder, waiting)
        sentence = (
            f"Candidate {waiting} ({name}) is deployed on trial: it was not evaluated and has not practised yet. "
            f"Another round (--rounds {waiting + 1}) lets it practise, and decides by what the model says that judges."
        )
        made.append(Decision(time_s=begun_s, good=True, sentence=sentence))
    return tuple(made)


def _candidates(folder: RunFolder) -> list[int]:
    """Return the numbers of the candidates about which something was decided, or that are on trial."""
    return sorted({int(event["candidate"]) for name in ("promotion", "on_trial") for event in folder.events(name)} - {0})


def _evaluation(folder: RunFolder, number: int, wrong: list[str], beside: int | None = None) -> Evaluation | None:
    """Read the evaluation of a policy, or its trials beside a candidate; None when there is none that can be read."""
    path = folder.evaluation(number) if beside is None else folder.evaluation_beside(number, beside)
    if not path.exists():
        return None
    try:
        return read_evaluation(path)
    except SoarError as error:
        wrong.append(str(error))
        return None


def _compared(folder: RunFolder, read: dict[int, Evaluation], wrong: list[str]) -> tuple[Evaluation, ...]:
    """Return what there is to compare: the first policy and the deployed one, or the last candidate when none was deployed."""
    deployed, candidates = folder.deployed(), _candidates(folder)
    if 0 not in read:
        return ()
    if deployed in read and deployed:
        return dataclasses.replace(read[0], variant="before"), dataclasses.replace(read[deployed], variant="after")
    if deployed:  # by a person, who did not wait for its evaluation
        return (dataclasses.replace(read[0], variant="before"),)
    kept = dataclasses.replace(read[0], variant="deployed, before and after")
    if not candidates or candidates[-1] not in read:
        return (kept,)
    last = candidates[-1]
    if (beside := _evaluation(folder, 0, wrong, beside=last)) is not None:
        kept = dataclasses.replace(beside, variant=kept.variant)
    return kept, dataclasses.replace(read[last], variant=f"candidate {last}, not deployed")


def _summary(table: pa.Table | None, compared: tuple[Evaluation, ...], plan: Plan | None = None) -> str:
    said = _judged(table, plan) if table is not None and len(table) else ""
    if compared:
        starts = "the same starts" if all(one.restored for one in compared) else "starts that nobody restored"
        said += f" Success rates, from {starts}: " + "; ".join(f"{one.variant}: {one.rate()}" for one in compared) + "."
        said += "".join(f" {one.left_out}." for one in compared if one.left_out)
    return said.strip()


def _judged(table: pa.Table, plan: Plan | None) -> str:
    """Return in words how many attempts were judged successes, how many of them are learned from, and what is true."""
    judged, these, said = pc.fill_null(table["success"], False), "them", f"{len(table)} autonomous episodes"
    if plan is not None and not plan.success_only:
        said += ", all of them learned from"
    said += f", {pc.sum(judged).as_py()} judged successes"
    if plan is not None and plan.success_only and plan.threshold:  # as `AutonomousData.filter` chooses
        sure = pc.fill_null(pc.greater_equal(table["probability"], plan.threshold), False)
        judged, these = pc.and_(judged, sure), "these"
        said += f", {pc.sum(judged).as_py()} of them sure enough to be learned from (p at least {short(plan.threshold)})"
    if table["simulator_success"].null_count < len(table):
        right, true = (int(pc.sum(one).as_py() or 0) for one in (pc.and_(judged, table[ACHIEVED]), table[ACHIEVED]))
        before = int(pc.sum(table["simulator_success"]).as_py()) - true
        said += f", {right} of {these} true; {true} true successes in all"
        said += f", and {before} whose task was done before they began" if before else ""
    return said + "."


def _outcome(folder: RunFolder) -> str:
    """Return in words which policy robots use, where that is not plain."""
    if (waiting := folder.on_trial()) is not None:
        return f" Candidate {waiting} is deployed on trial; another round decides about it."
    if folder.events("round_finished") and not folder.deployed():
        promoted = any(event["promote"] and event["candidate"] for event in folder.events("promotion"))
        why = "A person went back to the first policy" if promoted else "No candidate was promoted"
        return f" {why}: the policy is the one that the run began with."
    return ""


def _lead(one: Evaluation, last: Evaluation) -> Lead | None:
    """Return the last one's lead over another, by the test that decides about candidates; None for itself, or no trials."""
    itself = one.policy == last.policy and one.subgoal_model == last.subgoal_model
    if itself or not one.trials or not last.trials:
        return None
    first, second = last.outcomes(), one.outcomes()
    if last.restored and one.restored and first.keys() == second.keys():
        same = paired(first, second)
        return Lead(better=same.p_first_better, worse=same.p_second_better, test="McNemar's")
    return Lead(better=fisher_p(last.rate(), one.rate()), worse=fisher_p(one.rate(), last.rate()), test="Fisher's")


def _models(table: pa.Table | None) -> tuple[tuple[str, str], ...]:
    names = {"task proposer and success detector": "vlm", "subgoals": "subgoal_model"}
    found = [(role, ", ".join(_ids(table, column))) for role, column in names.items()]
    return tuple((role, ids) for role, ids in found if ids)


def _oracles(table: pa.Table | None, *known: Evaluation | Practice) -> tuple[str, ...]:
    ids = [id for column in ("policy", "vlm", "subgoal_model") for id in _ids(table, column)]
    for one in known:
        ids += [one.policy, one.judge if isinstance(one, Practice) else one.subgoal_model]
    return tuple(sorted({id for id in ids if id.startswith(ORACLE)}))


def _ids(table: pa.Table | None, column: str) -> list[str]:
    return [] if table is None else [id for id in pc.unique(table[column]).to_pylist() if id]


def all_trials(evaluations: tuple[Evaluation, ...]) -> list[tuple[str, list[Rate]]]:
    """Return the rates of evaluations by task, and of all tasks."""
    none = Rate(successes=0, trials=0)
    by_task = [evaluation.by_task() for evaluation in evaluations]
    rows = [
        (task, [rates.get(task, none) for rates in by_task]) for task in dict.fromkeys(t for rates in by_task for t in rates)
    ]
    return [*rows, ("all tasks", [evaluation.rate() for evaluation in evaluations])]
