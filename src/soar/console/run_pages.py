"""The page about a run: how it goes, what was decided, what it took."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from soar.console.curves import over_time
from soar.console.live_pages import ORDERED, is_fleet
from soar.console.pages import Console, page
from soar.console.run_facts import (
    changes_of,
    cost_of,
    decisions_of,
    lineage_of,
    phase_of,
    pieces_of,
    policies_of,
    settings_of,
    tasks_of,
)
from soar.console.run_journal import RunJournals
from soar.console.sources import Source, chosen
from soar.tasks.off_limits import OffLimits

_FAULTS = 12


def run_routes(console: Console, journals: RunJournals) -> APIRouter:
    """Return the address of the page about a run."""
    router = APIRouter(prefix="/s/{name}")

    @router.get("/run")
    def run(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        return page(console, request, "run.html.j2", source=source, **run_values(source, journals))

    return router


def run_values(source: Source, journals: RunJournals) -> dict[str, Any]:
    """Return what the page shows; for a store without a run, what follows from its episodes."""
    browser, journal = source.browser, journals.of(source)
    table = None if browser is None else browser.table()
    if table is not None and not len(table):
        table = None
    pieces = () if table is None else pieces_of(table)
    tasks = [] if table is None else tasks_of(table)
    return {
        "episodes": 0 if table is None else len(table),
        "settings": settings_of(source),
        "phase": phase_of(source),
        "phases_s": [] if journal is None else sorted(journal.phases_s.items(), key=lambda phase: -phase[1]),
        "tasks": tasks,
        "small": [(facts, over_time(facts.pieces, 120, 40)) for facts in tasks],
        "points": over_time(pieces),
        "pieces": pieces,
        "policies": [] if table is None else policies_of(table),
        "decisions": decisions_of(journal),
        "lineage": lineage_of(source, table, journal),
        "cost": cost_of(table, journal),
        "changes": changes_of(table, journal, time.time()),
        "faults": [] if journal is None else list(journal.faults)[-_FAULTS:][::-1],
        "fault_kinds": [] if journal is None else journal.fault_kinds.most_common(),
        "orders": [] if journal is None else journal.events(ORDERED)[-_FAULTS:][::-1],
        "fleet": is_fleet(source),
        "off_limits": [] if source.run is None else sorted(OffLimits(source.run).now()),
    }
