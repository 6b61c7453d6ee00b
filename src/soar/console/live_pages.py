"""The page of the robots as they are now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from soar.console.live import Live
from soar.console.order_pages import is_fleet, may_heed, policies_of_fleet, policies_of_run
from soar.console.pages import Console, page
from soar.console.run_facts import phase_of
from soar.console.sources import Source, chosen


def live_routes(console: Console) -> APIRouter:
    """Return the addresses about robots as they are now."""
    router = APIRouter(prefix="/s/{name}")
    live = {name: Live(source) for name, source in console.sources.items()}

    @router.get("/live")
    def live_page(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        fleet = is_fleet(source)
        return page(
            console,
            request,
            "live.html.j2",
            source=source,
            fleet=fleet,
            heeds=not fleet and may_heed(source),
            policies=policies_of_fleet(source) if fleet else policies_of_run(source),
        )

    @router.get("/live/next")
    async def following(request: Request, name: str) -> JSONResponse:
        source = chosen(console.sources, name)
        said = [(key[1:], value) for key, value in request.query_params.items() if key[:1] == "v"]
        versions = {key: int(value) for key, value in said if value.isdecimal() and len(value) < 20}
        robots = await live[source.name].newer(versions)
        return JSONResponse({"robots": robots, "phase": _plain_phase(source), "pages": live[source.name].pages})

    return router


def _plain_phase(source: Source) -> dict[str, Any] | None:
    phase = phase_of(source)
    if phase is None or not phase.fresh:
        return None
    return {"name": phase.name, "done": phase.done, "total": phase.total, "note": phase.note, "left_s": phase.left_s}
