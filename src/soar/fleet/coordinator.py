"""The coordinator of a fleet behind HTTP: JSON and Arrow in, JSON out; rights for each token (`soar.fleet.tokens`).

    drive      POST /v1/acquire │ beat │ counts │ release, /v1/commit/ROBOT/EPOCH, /v1/live/ROBOT/EPOCH
               GET  /v1/policies/VERSION (its files), /v1/policies/VERSION/NUMBER?offset=… (bytes of one)
    stop       POST /v1/orders {do: pause │ resume │ stop, robots: […]}
    promote    POST /v1/deploy
    look       GET /v1/status, /metrics
    anybody    GET /health

A request that is too long is refused before it is read, one that says nonsense with 422, one of an old epoch with 409.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from soar import __version__
from soar.collect.config import CollectionConfig
from soar.collect.live import FOLDER, file_name
from soar.collect.models import Models
from soar.errors import CheckpointError, ConfigError, SoarError, StoreError, UnknownNameError
from soar.event_log import Journal, read_journal
from soar.files import refresh_json
from soar.fleet.calling import keep_picture
from soar.fleet.config import FleetConfig
from soar.fleet.deploying import Deployments
from soar.fleet.episode_bytes import unpack_episodes
from soar.fleet.launching import RobotProcesses
from soar.fleet.ledger import Holder, Ledger, LedgerRefusedError
from soar.fleet.link import PROTOCOL
from soar.fleet.messages import AcquireBody, BeatBody, CountsBody, DeployBody, OrdersBody, ReleaseBody
from soar.fleet.supervision import Supervisor
from soar.fleet.telemetry import CONTENT_TYPE, metrics
from soar.fleet.tokens import BY, TokenAuth, Tokens
from soar.serving.application import problem
from soar.serving.auth import HEALTH, App
from soar.tasks.off_limits import OffLimits
from soar.untrusted import parse_json

REQUEST_MB = 64
"""Longest request: an episode of many large pictures [MB]."""
_COMMIT = "/v1/commit/"
_LIVE_BYTES = 2**20
_WATCHED_S = 10.0
_EPISODES = 8
_STORING = 4
"""Deliveries that are looked at at a time: beats are answered meanwhile, however many robots deliver."""
_SAID = ("fault", "person", "refused", "policy", "policy_refused", "asked")
"""Events of robots that are journaled under their own names."""


@dataclass(slots=True, kw_only=True)
class Fleet:
    """What a coordinator holds.

    Attributes:
        config: The fleet's file.
        collection: How its robots collect.
        models: Of all robots.
        ledger: Who drives what, and what is stored.
        supervisor: How robots are.
        journal: Of the run.
        deployments: Which policy each robot runs.
        processes: Of the robots that stand here; None before the address is known.
        heard: Epoch and number of the last event of each robot.
        off_limits: What no robot may attempt.
        watched_s: When somebody looked last at what robots do [s, monotonic].
    """

    config: FleetConfig
    collection: CollectionConfig
    models: Models
    ledger: Ledger
    supervisor: Supervisor
    journal: Journal
    deployments: Deployments
    processes: RobotProcesses | None = None
    heard: dict[str, tuple[int, int]] = field(default_factory=dict)
    off_limits: OffLimits = field(init=False)
    watched_s: float = -float("inf")

    def __post_init__(self) -> None:
        """Take up what the journal says that a coordinator before this one heard."""
        self.off_limits = OffLimits(self.journal.path.parent)
        for event in read_journal(self.journal.path):
            robot, epoch, number = event.get("robot"), event.get("epoch"), event.get("number")
            if isinstance(robot, str) and isinstance(epoch, int) and isinstance(number, int):
                self.heard[robot] = max(self.heard.get(robot, (0, 0)), (epoch, number))

    def unheard(self, robot: str, epoch: int, events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the events that are new: a beat whose answer was lost is said again, and must not count twice.

        An event counts as heard once the next one is asked for.
        """
        for event in events:
            number = event.get("number")
            if not isinstance(number, int) or isinstance(number, bool):
                yield event
            elif (epoch, number) > self.heard.get(robot, (0, 0)):
                yield event
                self.heard[robot] = epoch, number

    def watched(self, robot: str) -> bool:
        """Whether somebody looks at a robot whose file is on another computer."""
        return self.config.robots[robot].at == "join" and time.monotonic() - self.watched_s < _WATCHED_S

    def state(self) -> dict[str, Any]:
        """Return how the fleet is, JSON-able."""
        stored = self.ledger.stored
        robots = [
            asdict(status)
            | {
                "stored": stored[status.name],
                "epoch": self.ledger.epoch(status.name),
                "driven_by": str(self.ledger.held(status.name) or ""),
                "restarts": self.processes.restarts(status.name) if self.processes is not None else 0,
            }
            for status in self.supervisor.status()
        ]
        return {"name": self.config.name, "run": self.ledger.run, "round": self.ledger.round, "robots": robots} | {
            "episodes": self.ledger.total(),
            "wanted": self.config.episodes,
            "deployment": self.deployments.state(),
        }


def coordinator_application(fleet: Fleet, tokens: Tokens) -> App:
    """Return the application of a fleet's coordinator."""
    app = FastAPI(title="soar fleet", docs_url=None, redoc_url=None, openapi_url=None)
    storing = asyncio.Semaphore(_STORING)

    @app.get(HEALTH)
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/v1/acquire")
    def acquire(body: AcquireBody) -> dict[str, Any]:
        if body.protocol != PROTOCOL:
            raise HTTPException(409, f"protocol {body.protocol} is spoken there, {PROTOCOL} here: update one of them")
        if body.soar != __version__:
            there = f"SOAR {body.soar or 'of another time'}"
            raise HTTPException(409, f"{there} runs there, {__version__} here: install the same one")
        epoch = fleet.ledger.acquire(body.robot, Holder(**body.holder.model_dump()))
        fleet.journal.append("epoch", robot=body.robot, epoch=epoch, host=body.holder.host, pid=body.holder.pid)
        config = fleet.config
        return {
            "epoch": epoch,
            "lease_s": config.lease_s,
            "run": fleet.ledger.run,
            "round": fleet.ledger.round,
            "seed": config.seed,
            "spool_mb": config.spool_mb,
            "faults": asdict(config.faults),
            "workcell": config.robots[body.robot].workcell,
            "models": asdict(fleet.models),
            "collection": asdict(fleet.collection),
        }

    @app.post("/v1/beat")
    def beat(body: BeatBody) -> dict[str, Any]:
        doing = (body.scene, body.instruction) if body.instruction else None
        fleet.ledger.renew(body.robot, body.epoch, doing)
        heard: list[dict[str, Any]] = []
        try:
            for event in fleet.unheard(body.robot, body.epoch, body.events):
                keep_picture(fleet.journal, body.robot, event.pop("picture", None))
                _hear(fleet, body.robot, body.epoch, event)
                heard.append(event)
        finally:  # what cannot be written down now comes again, and only that
            told = fleet.supervisor.hear(body.robot, body.model_dump() | {"events": heard})
        policy, off_limits = fleet.deployments.for_robot(body.robot), sorted(fleet.off_limits.now())
        more = {"round": fleet.ledger.round, "off_limits": off_limits, "watched": fleet.watched(body.robot)}
        return told | {"policy": policy} | more

    @app.post("/v1/counts")
    def counts(body: CountsBody) -> dict[str, Any]:
        attempts, successes = fleet.ledger.counts(body.scene, body.robot)
        return {"attempts": attempts, "successes": successes}

    @app.post("/v1/release")
    def release(body: ReleaseBody) -> dict[str, Any]:
        fleet.ledger.release(body.robot, body.epoch)
        return {}

    @app.post("/v1/commit/{robot}/{epoch}")
    async def commit(robot: str, epoch: int, request: Request) -> dict[str, Any]:
        data = await request.body()
        async with storing:
            there = await run_in_threadpool(_commit, fleet, robot, epoch, data)
        return {"there_already": there}

    @app.post("/v1/live/{robot}/{epoch}")
    async def live(robot: str, epoch: int, request: Request) -> dict[str, Any]:
        await run_in_threadpool(_show, fleet, robot, epoch, await request.body())
        return {}

    @app.get("/v1/status")
    def status(watching: bool = False) -> dict[str, Any]:
        if watching:
            fleet.watched_s = time.monotonic()
        return fleet.state()

    @app.get("/metrics")
    def prometheus() -> PlainTextResponse:
        restarts = {name: fleet.processes.restarts(name) for name in fleet.config.robots} if fleet.processes else {}
        return PlainTextResponse(metrics(fleet.supervisor.status(), fleet.ledger.stored, restarts), media_type=CONTENT_TYPE)

    @app.post("/v1/orders")
    def orders(body: OrdersBody, request: Request) -> dict[str, Any]:
        supervisor = fleet.supervisor
        {"pause": supervisor.pause, "resume": supervisor.resume, "stop": supervisor.stop}[body.do](body.robots)
        if body.do == "resume" and fleet.processes is not None:
            fleet.processes.again(body.robots)
        fleet.journal.append("orders", do=body.do, robots=body.robots or "all", by=request.scope.get(BY, ""))
        return fleet.state()

    @app.post("/v1/deploy")
    def deploy(body: DeployBody) -> dict[str, Any]:
        try:
            fleet.deployments.begin(Path(body.policy), body.canary, body.episodes)
        except (ConfigError, CheckpointError) as error:
            raise HTTPException(422, str(error)) from error
        return fleet.state()

    @app.get("/v1/policies/{version}")
    def manifest(version: str) -> dict[str, Any]:
        return asdict(fleet.deployments.manifest(version))

    @app.get("/v1/policies/{version}/{number}")
    def chunk(version: str, number: int, offset: int = 0) -> Response:
        return Response(fleet.deployments.chunk(version, number, offset), media_type="application/octet-stream")

    _explain_errors(app)
    return TokenAuth(app, tokens, longest=REQUEST_MB * 2**20, binary=_COMMIT)


def _hear(fleet: Fleet, robot: str, epoch: int, event: Mapping[str, Any]) -> None:
    """Journal what a robot says that happened; episodes are, once they are stored."""
    kind = str(event.get("kind"))[:40]
    if kind == "episode":
        return
    fleet.journal.append(kind if kind in _SAID else f"robot_{kind}", **_journaled(event), robot=robot, epoch=epoch)
    if kind == "fault":
        fleet.deployments.count(str(event.get("policy", "")), str(event.get("scene", ""))[:300], faults=1)
    elif kind == "policy_refused":
        fleet.deployments.refused(robot, str(event.get("version")), str(event.get("detail"))[:300])


def _commit(fleet: Fleet, robot: str, epoch: int, data: bytes) -> list[str]:
    try:
        episodes = unpack_episodes(data, most=_EPISODES)
    except StoreError as error:
        raise HTTPException(422, str(error)) from error
    there = fleet.ledger.commit(robot, epoch, episodes)
    for episode in episodes:
        if episode.id not in there:
            label = episode.labels[0] if episode.labels else None
            fleet.journal.append(
                "episode",
                id=episode.id,
                robot=robot,
                scene=episode.scene,
                policy=episode.provenance.policy,
                instruction=episode.instruction,
                success=label.success if label else None,
                probability=label.probability if label else None,
            )
            judged = int(label is not None and label.success is True)
            fleet.deployments.count(episode.provenance.policy, episode.scene, episodes=1, successes=judged)
    return there


def _show(fleet: Fleet, robot: str, epoch: int, data: bytes) -> None:
    """Keep what a robot on another computer does now where consoles look for it, with this computer's time."""
    fleet.ledger.check(robot, epoch)
    try:
        said = parse_json(data) if len(data) <= _LIVE_BYTES else None
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise HTTPException(422, f"what robot {robot!r} does is said as JSON of at most {_LIVE_BYTES >> 10} KB")
    path = fleet.journal.path.parent / FOLDER / file_name(robot)
    try:
        refresh_json(path, said | {"robot": robot, "time_s": time.time()})
    except OSError as error:
        raise SoarError(f"{path}: cannot be written: {error.strerror}") from error


def _journaled(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a robot's event is written down: short texts and numbers under plain names."""
    kept = {name: value for name, value in list(event.items())[:20] if isinstance(value, str | int | float | bool | None)}
    names = {name: value[:500] if isinstance(value, str) else value for name, value in kept.items()}
    ours = ("time_s", "event", "schema", "robot", "epoch")
    return {f"robot_{name}" if name in ours else name: value for name, value in names.items()}


def _explain_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))[:80]}: {e['msg'][:200]}" for e in error.errors()[:3])
        return problem(422, wrong)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(SoarError)
    async def wrong(_request: Request, error: SoarError) -> JSONResponse:
        if isinstance(error, LedgerRefusedError | UnknownNameError):
            return problem(409, str(error))
        return problem(503, str(error))  # a full disk may be emptied: the robot keeps its episodes and tries again
