"""The page of the robots as they are now, and what a fleet's operator tells them from it."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from soar.console.live import Live
from soar.console.pages import Console, page
from soar.console.run_facts import phase_of
from soar.console.sources import Source, chosen
from soar.errors import ConfigError, ModelServerError
from soar.fleet.asking import ADDRESS, ask
from soar.robots.stopping import stop
from soar.tasks.off_limits import OffLimits

ORDERED = "ordered"
"""Name of the journal's event about an order that a person gave on a page."""
_WAIT_S = 5.0
_WAYS = 40
_MOST_TASKS = 200


class OrdersBody(BaseModel):
    """An operator's orders: to robots of a fleet, a stop of every arm that this computer drives, or what may be attempted."""

    model_config = ConfigDict(extra="forbid")
    do: Literal["pause", "resume", "stop", "deploy", "stop arms", "set off limits", "allow"]
    who: str = Field(min_length=1, max_length=80, pattern=r"\S")
    robots: list[str] = Field(default=[], max_length=10_000)
    policy: str = Field(default="", max_length=2000)
    canary: str = Field(default="", max_length=80)
    task: str = Field(default="", max_length=500)


def live_routes(console: Console) -> APIRouter:
    """Return the addresses about robots as they are now."""
    router = APIRouter(prefix="/s/{name}")
    live = {name: Live(source) for name, source in console.sources.items()}

    @router.get("/live")
    def live_page(request: Request, name: str) -> HTMLResponse:
        source = chosen(console.sources, name)
        return page(console, request, "live.html.j2", source=source, fleet=is_fleet(source), policies=_policies(source))

    @router.get("/live/next")
    async def following(request: Request, name: str) -> JSONResponse:
        source = chosen(console.sources, name)
        versions = {key[1:]: int(value) for key, value in request.query_params.items() if key[:1] == "v" and value.isdecimal()}
        robots = await live[source.name].newer(versions)
        return JSONResponse({"robots": robots, "phase": _plain_phase(source), "pages": live[source.name].pages})

    @router.get("/fleet")
    async def fleet(name: str) -> dict[str, Any]:
        source = chosen(console.sources, name)
        if not is_fleet(source):
            return {"state": None}
        try:
            return {"state": await run_in_threadpool(ask, str(source.run), "GET", "/v1/status?watching=1", timeout_s=_WAIT_S)}
        except (ConfigError, ModelServerError) as error:
            return {"state": None, "away": str(error)}

    @router.post("/orders")
    def orders(name: str, body: OrdersBody) -> dict[str, Any]:
        source = chosen(console.sources, name)
        if body.do == "stop arms":
            return _stop_arms(source, body)
        if body.do in ("set off limits", "allow"):
            return _set_off_limits(source, body)
        if not is_fleet(source):
            raise HTTPException(409, f"{source.title} is no fleet that runs: a person who stops its command stops it")
        if body.do == "deploy" and not body.policy:
            raise HTTPException(422, "name the folder of the policy")
        deploys = body.do == "deploy"
        said = {"policy": body.policy, "canary": body.canary} if deploys else {"do": body.do, "robots": body.robots}
        try:
            state = ask(str(source.run), "POST", "/v1/deploy" if deploys else "/v1/orders", said, timeout_s=60.0)
        except (ConfigError, ModelServerError) as error:
            raise HTTPException(502, str(error)) from error
        _journal(source, body, body.robots)
        return {"state": state}

    return router


def is_fleet(source: Source) -> bool:
    """Whether the coordinator of a fleet works in a run's folder, or did and was killed."""
    return source.run is not None and (source.run / ADDRESS).exists()


def _policies(source: Source) -> list[str]:
    """Return the policies that a run knows: those that were deployed, so that one can go back, and those that it made."""
    if source.run is None:
        return []
    found = [*(source.run / "deployed").glob("[!.]*"), *(source.run / "policies").glob("[0-9]*")]
    return [str(path.absolute()) for path in sorted(found)][-_WAYS:]


def _stop_arms(source: Source, body: OrdersBody) -> dict[str, Any]:
    """Stop the arms as `soar robot stop` does; it is done first, and written down then."""
    names: list[str | None] = [*body.robots] if body.robots else [None]
    stopped = [one for name in names for one in stop(name, _WAIT_S)]
    if stopped:
        _journal(source, body, [one.name for one in stopped])
    return {"stopped": [{"name": one.name, "still": one.still} for one in stopped]}


def _set_off_limits(source: Source, body: OrdersBody) -> dict[str, Any]:
    """Set a task off limits for all robots of a run, or back; sessions and coordinators read the run's file."""
    if source.run is None:
        raise HTTPException(409, f"{source.title} is a store: tasks are off limits in a run")
    if not (task := body.task.strip()):
        raise HTTPException(422, "name the task, as robots are told it")
    off_limits = OffLimits(source.run)
    with source.ordering:
        before = off_limits.now()
        after = before | {task} if body.do == "set off limits" else before - {task}
        if len(after) > _MOST_TASKS:
            raise HTTPException(409, f"{_MOST_TASKS} tasks are off limits already: stop the robots instead")
        if after != before:
            off_limits.write(after)
            _journal(source, body, [])
    return {"off_limits": sorted(after)}


def _journal(source: Source, body: OrdersBody, robots: list[str]) -> None:
    """Write down who gave an order that was obeyed: the fleet's own journal entry names a token, and not a person."""
    if source.journal is not None:
        more = {"policy": body.policy, "canary": body.canary} if body.do == "deploy" else {}
        more |= {"task": body.task.strip()} if body.task else {}
        source.journal.append(ORDERED, do=body.do, robots=robots or "all", by=body.who.strip(), **more)


def _plain_phase(source: Source) -> dict[str, Any] | None:
    phase = phase_of(source)
    if phase is None or not phase.fresh:
        return None
    return {"name": phase.name, "done": phase.done, "total": phase.total, "note": phase.note, "left_s": phase.left_s}
