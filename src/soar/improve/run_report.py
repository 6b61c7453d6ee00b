"""The report of a run, gathered from its folder."""

from __future__ import annotations

import dataclasses
from typing import Any

from soar.episodes import EpisodeRecord, EpisodeStore
from soar.evaluation import Promotion, not_worse, read_evaluation
from soar.evaluation.results import success_rows
from soar.improve.run_folder import RunFolder
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.reports.html import Ancestor, Collected, Proposals, Replacement, Report, write_report
from soar.types import Episode

FILMS = 4
"""Episodes of each kind that the page shows."""


def write_run_report(folder: RunFolder, *, scene: str, deployed: int) -> None:
    """Write `report.html` of a run whose rounds are finished.

    Args:
        folder: The run's.
        scene: Name of its scene.
        deployed: Number of the policy that is deployed now.
    """
    before, after = read_evaluation(folder.evaluation(0)), read_evaluation(folder.evaluation(deployed))
    store = EpisodeStore(folder.episodes)
    records = store.episodes()
    judged = sum(record.success is True for record in records)
    verdicts = folder.events("promotion")
    promotions = tuple(_verdict(folder, event["candidate"], event["deployed"]) for event in verdicts)
    summary = (
        f"{len(records)} autonomous episodes, {judged} of them judged successes. "
        f"Success before: {before.rate()}; after: {after.rate()}, on the same starts."
    )
    if not deployed:
        summary += " No candidate was promoted: the policy is the one that the run began with."
    first = records[0].provenance if records else None
    report = Report(
        title=f"{folder.path.name}: {scene}",
        summary=summary,
        before=before,
        after=after,
        promotions=promotions,
        variants=tuple(
            read_evaluation(folder.evaluation(number)) for number in [0, *(event["candidate"] for event in verdicts)]
        ),
        models={"subgoals": before.subgoal_model, "task proposer and success detector": first.vlm if first else "none"},
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


def round_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the curve of a run as rows of a results file: the rates of each round's candidate, and what it had learned from.

    The variant is `round N`, 0 for the policy that the run began with; `episodes` are those collected until then.
    """
    records = EpisodeStore(folder.episodes).episodes() if folder.episodes.exists() else []
    rows = []
    for number in [0, *(event["candidate"] for event in folder.events("promotion"))]:
        known = [record for record in records if record.provenance.round < number]
        made = {
            "episodes": len(known),
            "judged_successes": sum(record.success is True for record in known),
            "promoted": number == 0 or any(e["candidate"] == number and e["promote"] for e in folder.events("promotion")),
        }
        evaluation = dataclasses.replace(read_evaluation(folder.evaluation(number)), variant=f"round {number}")
        rows += [row | made for row in success_rows([evaluation])]
    return rows


def _verdict(folder: RunFolder, candidate: int, deployed: int) -> Promotion:
    return not_worse(read_evaluation(folder.evaluation(candidate)), read_evaluation(folder.evaluation(deployed)))


def _collected(records: list[EpisodeRecord]) -> tuple[Collected, ...]:
    return tuple(
        Collected(
            task=task,
            attempts=len(group),
            judged_successes=sum(record.success is True for record in group),
            undecided=sum(record.success is None for record in group),
            successes=sum(record.simulator_success is True for record in group),
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
    promoted = {0} | {event["candidate"] for event in folder.events("promotion") if event["promote"]}
    ancestors = []
    for number in [0, *(event["candidate"] for event in folder.events("promotion"))]:
        lineage = read_lineage(folder.policy(number))
        data = "; ".join(
            f"{name} ({', '.join(f'{table} v{version}' for table, version in versions.items())})"
            for name, versions in lineage.data.items()
        )
        ancestors.append(
            Ancestor(
                policy=LearnedPolicy.load(folder.policy(number)).id,
                parent=lineage.parent,
                data=data or "unknown",
                promoted=number in promoted,
            )
        )
    return tuple(ancestors)
