"""The page about a run: how it goes, what was decided, what it took."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from soar.console.pages import Console, page
from soar.console.run_journal import RunJournals
from soar.console.sources import chosen
from soar.console.values import run_values


def run_routes(console: Console, journals: RunJournals) -> APIRouter:
    """Return the address of the page about a run."""
    router = APIRouter(prefix="/s/{name}")

    @router.get("/run")
    def run(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        return page(console, request, "run.html.j2", source=source, **run_values(source, journals))

    return router
