"""What an operator tells robots from a page: a fleet's coordinator is asked, a run without one finds it in its folder.

    fleet          POST /v1/orders, /v1/deploy of its coordinator (`soar.fleet.coordinator`)
    other runs     RUN/orders.json (`soar.run_orders`): read between two episodes, by all robots of the run
    any            RUN/off_limits.json (`soar.tasks.off_limits`); a stop of every arm that this computer drives

What was obeyed is in the journal (`ordered`), with who and when.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from soar.configuration import read_yaml
from soar.console.access import MAY
from soar.console.pages import Console
from soar.console.run_journal import ORDERED
from soar.console.run_plan import finished, name_in
from soar.console.sources import Source, chosen
from soar.errors import ConfigError, ModelServerError, SoarError
from soar.fleet.asking import ADDRESS, ask
from soar.fleet.tokens import Right, refusal
from soar.robots.stopping import stop
from soar.run_claim import CONFIG, who_works_in
from soar.run_folder import RunFolder
from soar.run_orders import Orders
from soar.serving.auth import BY
from soar.tasks.off_limits import OffLimits

_WAIT_S = 5.0
_WAYS = 40
_MOST_TASKS = 200
_HEED = ("soar improve", "soar collect")


class OrdersBody(BaseModel):
    """An operator's orders: to robots, a stop of every arm that this computer drives, or what may be attempted."""

    model_config = ConfigDict(extra="forbid")
    do: Literal["pause", "resume", "stop", "deploy", "stop arms", "set off limits", "allow"]
    who: str = Field(min_length=1, max_length=80, pattern=r"\S")
    robots: list[str] = Field(default=[], max_length=10_000)
    policy: str = Field(default="", max_length=2000)
    canary: str = Field(default="", max_length=80)
    task: str = Field(default="", max_length=500)


def order_routes(console: Console) -> APIRouter:
    """Return the addresses about orders."""
    router = APIRouter(prefix="/s/{name}")

    @router.get("/fleet")
    async def state(name: str) -> dict[str, Any]:
        source = chosen(console.sources, name)
        if not is_fleet(source):
            return {"state": standing_in(source) if heeds_orders(source) else None}
        try:
            return {"state": await run_in_threadpool(ask, str(source.run), "GET", "/v1/status?watching=1", timeout_s=_WAIT_S)}
        except (ConfigError, ModelServerError) as error:
            return {"state": None, "away": str(error)}

    @router.post("/orders")
    def orders(name: str, body: OrdersBody, request: Request) -> dict[str, Any]:
        right: Right = "promote" if body.do == "deploy" else "stop"
        if right not in (may := request.scope[MAY]):
            raise HTTPException(403, refusal(request.scope[BY], may, right))
        token: str = request.scope[BY]
        source = chosen(console.sources, name)
        if body.do == "stop arms":
            return _stop_arms(source, body, token)
        if body.do in ("set off limits", "allow"):
            return _set_off_limits(source, body, token)
        if body.do == "deploy" and not body.policy:
            raise HTTPException(422, "name the folder of the policy")
        if is_fleet(source):
            return _tell_fleet(source, body, token)
        if heeds_orders(source):
            return _tell_run(source, body, token)
        raise HTTPException(
            409, f"{source.title} is no fleet that runs, and no run of {' or '.join(_HEED)}: nobody would hear it"
        )

    return router


def is_fleet(source: Source) -> bool:
    """Whether the coordinator of a fleet works in a run's folder, or did and was killed."""
    return source.run is not None and (source.run / ADDRESS).exists()


def heeds_orders(source: Source) -> bool:
    """Whether a run's robots read what is in its folder: those of a command that works without a fleet."""
    config = _config(source)
    return config.get("command") in _HEED and not config.get("fleet")


def may_heed(source: Source) -> bool:
    """Whether that is so, or a run has yet to begin."""
    return source.run is not None and (heeds_orders(source) or not (source.run / CONFIG).exists())


def policies_of_fleet(source: Source) -> list[str]:
    """Return the policies that a fleet's run knows: those that were deployed, to go back to, and those that it made."""
    if source.run is None:
        return []
    found = [*(source.run / "deployed").glob("[!.]*"), *(source.run / "policies").glob("[0-9]*")]
    return [str(path.absolute()) for path in sorted(found)][-_WAYS:]


def policies_of_run(source: Source) -> list[tuple[str, str]]:
    """Return the policies of a run that its robots may be told to use, newest first: number, and what it is in words."""
    if source.run is None or _config(source).get("command") != "soar improve":
        return []
    folder = RunFolder(source.run)
    numbers, current = sorted(_numbers(folder), reverse=True)[:_WAYS], folder.path / "policies" / "current"
    in_use = current.resolve().name  # the journal decides, and may be long
    return [(str(n), f"{n}: {name_in(folder, n)}{' (in use)' if folder.policy(n).name == in_use else ''}") for n in numbers]


def standing_in(source: Source) -> dict[str, Any]:
    """Return what holds in a run without a fleet: `words`, empty for nothing, whether a command `works` there, and if none
    does, whether the run is `finished`, in words.

    Raises:
        SoarError: The orders cannot be read.
    """
    assert source.run is not None
    works = bool(who_works_in(source.run))
    return {"words": Orders(source.run).now().words, "works": works, "finished": "" if works else finished(source.run)}


def _config(source: Source) -> dict[str, Any]:
    try:
        return {} if source.run is None else read_yaml(source.run / CONFIG)
    except SoarError:
        return {}


def _numbers(folder: RunFolder) -> list[int]:
    """Return the numbers of the policies that are whole."""
    found = [path.parent.name for path in (folder.path / "policies").glob("[0-9]*/config.json")]
    return [int(name) for name in found if name.isdecimal() and folder.policy(int(name)).name == name]


def _tell_fleet(source: Source, body: OrdersBody, token: str) -> dict[str, Any]:
    deploys = body.do == "deploy"
    said = {"policy": body.policy, "canary": body.canary} if deploys else {"do": body.do, "robots": body.robots}
    try:
        state = ask(str(source.run), "POST", "/v1/deploy" if deploys else "/v1/orders", said, timeout_s=60.0)
    except (ConfigError, ModelServerError) as error:
        raise HTTPException(502, str(error)) from error
    _journal(source, body, token, body.robots)
    return {"state": state}


def _tell_run(source: Source, body: OrdersBody, token: str) -> dict[str, Any]:
    """Let all robots of a run find what they are to do; it holds first, and is written down then."""
    assert source.run is not None
    number = _number(source, body) if body.do == "deploy" else None
    assert body.do in ("pause", "resume", "stop", "deploy")  # the others are no robot's
    Orders(source.run).give(body.do, body.who.strip(), number)
    _journal(source, body, token, [])
    return {"state": standing_in(source)}


def _number(source: Source, body: OrdersBody) -> int:
    known = [number for number, _ in policies_of_run(source)]
    if not known:
        raise HTTPException(
            409, f"{source.title} is a run of `soar collect`, which has one policy: stop it, and run it with another --policy"
        )
    if body.policy not in known:
        raise HTTPException(422, f"the run has no policy {body.policy[:80]!r}; its robots may use {', '.join(known)}")
    return int(body.policy)


def _stop_arms(source: Source, body: OrdersBody, token: str) -> dict[str, Any]:
    """Stop the arms as `soar robot stop` does; it is done first, and written down then."""
    names: list[str | None] = [*body.robots] if body.robots else [None]
    stopped = [one for name in names for one in stop(name, _WAIT_S)]
    if stopped:
        _journal(source, body, token, [one.name for one in stopped])
    return {"stopped": [{"name": one.name, "still": one.still} for one in stopped]}


def _set_off_limits(source: Source, body: OrdersBody, token: str) -> dict[str, Any]:
    """Set a task off limits for all robots of a run, or back; sessions and coordinators read the run's file."""
    if source.run is None:
        raise HTTPException(409, f"{source.title} is a store: tasks are off limits in a run")
    if not (task := body.task.strip()):
        raise HTTPException(422, "name the task, as robots are told it")
    off_limits = OffLimits(source.run)
    with off_limits.alone():  # another console may set another one
        before = off_limits.now()
        after = before | {task} if body.do == "set off limits" else before - {task}
        if len(after) > _MOST_TASKS:
            raise HTTPException(409, f"{_MOST_TASKS} tasks are off limits already: stop the robots instead")
        if after != before:
            off_limits.write(after)
            _journal(source, body, token, [])
    return {"off_limits": sorted(after)}


def _journal(source: Source, body: OrdersBody, token: str, robots: list[str]) -> None:
    """Write down who gave an order that was obeyed: the name that was typed, and whose token it came with."""
    if source.journal is not None:
        more = {"policy": body.policy, "canary": body.canary} if body.do == "deploy" else {}
        more |= {"task": body.task.strip()} if body.task else {}
        source.journal.append(ORDERED, do=body.do, robots=robots or "all", by=body.who.strip(), token=token, **more)
