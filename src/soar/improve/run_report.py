"""The report of a run: its pages of the console, frozen into a file; and its curve, as rows of a results file."""

from __future__ import annotations

import dataclasses
from typing import Any

from soar.console.findings import Findings, findings_of
from soar.console.freezing import freeze
from soar.console.run_journal import RunJournals
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.evaluation import read_evaluation
from soar.evaluation.results import success_rows
from soar.run_folder import RunFolder


def write_run_report(folder: RunFolder) -> Findings:
    """Write `report.html` of a run whose rounds are finished, and return what it says of the policies.

    Raises:
        SoarError: The run cannot be read, or the file not be written.
    """
    (source,) = open_sources([str(folder.path)]).values()
    freeze(source, folder.report)
    return findings_of(source, RunJournals().of(source))


def round_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the curve of a run as rows of a results file: the rates of each round's candidate, and what it had learned from.

    The variant is `round N`, 0 for the policy that the run began with; `episodes` are those collected until then. A run without
    evaluations has no rows.
    """
    if not folder.evaluation(0).exists():
        return []
    records = EpisodeStore(folder.episodes).episodes() if folder.episodes.exists() else []
    rows = []
    decided = dict.fromkeys([0, *(event["candidate"] for event in folder.events("promotion"))])
    for number in [number for number in decided if folder.evaluation(number).exists()]:
        known = [record for record in records if record.provenance.round <= number]
        made = {
            "episodes": len(known),
            "judged_successes": sum(record.success is True for record in known),
            "promoted": number == 0 or any(e["candidate"] == number and e["promote"] for e in folder.events("promotion")),
        }
        evaluation = dataclasses.replace(read_evaluation(folder.evaluation(number)), variant=f"round {number}")
        rows += [row | made for row in success_rows([evaluation])]
    return rows
