"""The report of a run, gathered from its folder."""

from __future__ import annotations

import dataclasses
from typing import Any

from soar.episodes import EpisodeRecord, EpisodeStore
from soar.evaluation import Evaluation, read_evaluation
from soar.evaluation.promotion import Verdict
from soar.evaluation.results import success_rows
from soar.improve.practice import judged, practice, true
from soar.improve.run_folder import RunFolder
from soar.policies.learned import read_lineage
from soar.policies.named import id_in
from soar.reports.html import Ancestor, Collected, Proposals, Replacement, Report, write_report
from soar.types import Episode

FILMS = 4
"""Episodes of each kind that the page shows."""


def write_run_report(folder: RunFolder, *, scene: str) -> Report:
    """Write `report.html` of a run whose rounds are finished, and return what it shows.

    Args:
        folder: The run's.
        scene: Name of its scene.
    """
    store = EpisodeStore(folder.episodes)
    records = store.episodes()
    evaluated = folder.evaluation(0).exists()
    compared = _compared(folder) if evaluated else ()
    policies = [0, *_candidates(folder)]
    practised = () if evaluated else tuple(practice(folder, number) for number in policies)
    first = records[0].provenance if records else None
    subgoals = compared[0].subgoal_model if compared else first.subgoal_model if first else ""
    report = Report(
        title=f"{folder.path.name}: {scene}",
        summary=_summary(folder, records, compared),
        compared=compared,
        promotions=_verdicts(folder),
        variants=tuple(read_evaluation(folder.evaluation(number)) for number in policies) if evaluated else (),
        practised=practised,
        models={"subgoals": subgoals or "none", "task proposer and success detector": first.vlm if first else "none"},
        phases_s=folder.phases(),
        collected=_collected(records),
        proposals=_proposals(folder),
        replacements=_replacements(folder),
        successes=_shown(store, [record for record in records if record.success is True]),
        failures=_shown(store, [record for record in records if record.success is not True]),
        lineage=_lineage(folder),
        dataset=str(folder.episodes),
    )
    write_report(folder.report, report)
    return report


def _candidates(folder: RunFolder) -> list[int]:
    """Return the numbers of the candidates about which something was decided, or that are on trial."""
    events = [*folder.events("promotion"), *folder.events("on_trial")]
    return sorted({int(event["candidate"]) for event in events})


def _compared(folder: RunFolder) -> tuple[Evaluation, ...]:
    """Return what the page compares: the first policy and the deployed one, or the last candidate when none was deployed."""
    deployed, candidates = folder.deployed(), _candidates(folder)
    before = read_evaluation(folder.evaluation(0))
    if deployed:
        return (
            dataclasses.replace(before, variant="before"),
            dataclasses.replace(read_evaluation(folder.evaluation(deployed)), variant="after"),
        )
    kept = dataclasses.replace(before, variant="deployed, before and after")
    if not candidates:
        return (kept,)
    last = candidates[-1]
    if (beside := folder.evaluation_beside(0, last)).exists():
        kept = dataclasses.replace(read_evaluation(beside), variant=kept.variant)
    refused = dataclasses.replace(read_evaluation(folder.evaluation(last)), variant=f"candidate {last}, not deployed")
    return kept, refused


def _summary(folder: RunFolder, records: list[EpisodeRecord], compared: tuple[Evaluation, ...]) -> str:
    well, known = judged(records), true(records)
    said = f"{len(records)} autonomous episodes, {well.successes} judged successes"
    if known is not None:
        right = sum(record.success is True and record.simulator_success is True for record in records)
        said += f", {right} of them true; {known.successes} true successes in all"
    said += ". "
    if compared:
        starts = "the same starts" if all(one.restored for one in compared) else "starts that nobody restored"
        said += f"Success rates, from {starts}: " + "; ".join(f"{one.variant}: {one.rate()}" for one in compared) + "."
        said += "".join(f" {one.left_out}." for one in compared if one.left_out)
    else:
        said += "No policy was evaluated: all that is known of them is what the model said that judged their practice."
    if folder.on_trial() is not None:
        said += f" Candidate {folder.on_trial()} is deployed on trial; another round decides about it."
    elif not folder.deployed():
        said += " No candidate was promoted: the policy is the one that the run began with."
    return said


def _verdicts(folder: RunFolder) -> tuple[Verdict, ...]:
    decided = [(int(event["round"]), bool(event["promote"]), str(event["sentence"])) for event in folder.events("promotion")]
    for event in folder.events("not_learned"):
        kept = id_in(folder.policy(folder.deployed(before_round=event["round"])))
        sentence = f"Kept {kept}: round {event['round']} has no candidate. {event['detail'][:1].upper()}{event['detail'][1:]}"
        decided.append((int(event["round"]), False, sentence))
    verdicts = [Verdict(promote=promote, sentence=sentence) for _, promote, sentence in sorted(decided)]
    on_trial = folder.on_trial()
    if on_trial is not None:
        name = id_in(folder.policy(on_trial))
        sentence = (
            f"Candidate {on_trial} ({name}) is deployed on trial: it was not evaluated and has not practised yet. Another "
            f"round (--rounds {on_trial + 1}) lets it practise, and decides by what the model says that judges."
        )
        verdicts.append(Verdict(promote=True, sentence=sentence))
    return tuple(verdicts)


def round_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the curve of a run as rows of a results file: the rates of each round's candidate, and what it had learned from.

    The variant is `round N`, 0 for the policy that the run began with; `episodes` are those collected until then. A run without
    evaluations has no rows.
    """
    if not folder.evaluation(0).exists():
        return []
    records = EpisodeStore(folder.episodes).episodes() if folder.episodes.exists() else []
    rows = []
    for number in [0, *(event["candidate"] for event in folder.events("promotion"))]:
        known = [record for record in records if record.provenance.round <= number]
        made = {
            "episodes": len(known),
            "judged_successes": sum(record.success is True for record in known),
            "promoted": number == 0 or any(e["candidate"] == number and e["promote"] for e in folder.events("promotion")),
        }
        evaluation = dataclasses.replace(read_evaluation(folder.evaluation(number)), variant=f"round {number}")
        rows += [row | made for row in success_rows([evaluation])]
    return rows


def _collected(records: list[EpisodeRecord]) -> tuple[Collected, ...]:
    return tuple(
        Collected(
            task=task,
            attempts=len(group),
            judged_successes=sum(record.success is True for record in group),
            undecided=sum(record.success is None for record in group),
            successes=None if (known := true(group)) is None else known.successes,
        )
        for task in sorted({record.instruction for record in records})
        for group in [[record for record in records if record.instruction == task]]
    )


def _proposals(folder: RunFolder) -> Proposals | None:
    events = folder.events("proposal")
    if not events:
        return None
    return Proposals(
        proposals=len(events),
        random=sum(event["random"] is True for event in events),
        asked=sum(event.get("asked", 0) for event in events),  # journals of earlier versions do not say
        undecidable=sum(event.get("undecidable", 0) for event in events),
    )


def _replacements(folder: RunFolder) -> tuple[Replacement, ...]:
    events = folder.events("fallback")
    return tuple(
        Replacement(model=model, instead=instead, times=sum(event["times"] for event in group), episodes=len(group))
        for model, instead in sorted({(event["model"], event["instead"]) for event in events})
        for group in [[event for event in events if (event["model"], event["instead"]) == (model, instead)]]
    )


def _shown(store: EpisodeStore, records: list[EpisodeRecord]) -> tuple[Episode, ...]:
    """Read some episodes, of as many different tasks as possible."""
    seen: dict[str, int] = {}
    ranked = []
    for record in records:
        seen[record.instruction] = seen.get(record.instruction, 0) + 1
        ranked.append((seen[record.instruction], record.id))
    return tuple(store.read(id) for _, id in sorted(ranked)[:FILMS])


def _lineage(folder: RunFolder) -> tuple[Ancestor, ...]:
    promoted = {0, folder.in_use()} | {event["candidate"] for event in folder.events("promotion") if event["promote"]}
    ancestors = []
    for number in [0, *_candidates(folder)]:
        lineage = read_lineage(folder.policy(number))
        data = "; ".join(
            f"{name} ({', '.join(f'{table} v{version}' for table, version in versions.items())})"
            for name, versions in lineage.data.items()
        )
        ancestors.append(
            Ancestor(
                policy=id_in(folder.policy(number)),
                parent=lineage.parent,
                data=data or "unknown",
                promoted=number in promoted,
            )
        )
    return tuple(ancestors)
