"""The coordinator of a fleet behind HTTP: JSON and Arrow in, JSON out; rights for each token (`soar.fleet.tokens`).

    drive      POST /v1/acquire │ beat │ counts │ release, /v1/commit/ROBOT/EPOCH, /v1/live/ROBOT/EPOCH
               GET  /v1/policies/VERSION (its files), /v1/policies/VERSION/NUMBER?offset=… (bytes of one)
    stop       POST /v1/orders {do: pause │ resume │ stop, robots: […]}
    promote    POST /v1/deploy
    look       GET /v1/status, /metrics
    anybody    GET /health

A request that is too long is refused before it is read, one that says nonsense with 422, one of an old epoch with 409.

Beats and counts, which all robots ask for again and again, are answered in the event loop, before any of FastAPI's machinery; a
thread is for what waits for the disk: beats that say that something happened, and whatever comes seldom.

Deliveries that come at about the same time, or while others are stored, are stored together; each is answered when its own
episodes are on disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response

from soar import __version__
from soar.base_models import policy_named
from soar.collect.config import CollectionConfig
from soar.collect.live import FOLDER, file_name
from soar.collect.models import Models
from soar.episodes.encoded import EncodedEpisode
from soar.errors import CheckpointError, ConfigError, SoarError, StoreError, UnknownNameError
from soar.event_log import Journal
from soar.files import refresh_json
from soar.fleet.answering import at_once, explain_errors
from soar.fleet.config import FleetConfig
from soar.fleet.deploying import Deployments
from soar.fleet.episode_bytes import Delivery, unpack_episodes
from soar.fleet.hearing import Hearing
from soar.fleet.launching import RobotProcesses
from soar.fleet.leases import Holder
from soar.fleet.ledger import Ledger
from soar.fleet.link import PROTOCOL
from soar.fleet.messages import AcquireBody, BeatBody, CountsBody, DeployBody, OrdersBody, ReleaseBody
from soar.fleet.storing import Storing
from soar.fleet.supervision import Supervisor
from soar.fleet.telemetry import metrics
from soar.fleet.tokens import TokenAuth, Tokens
from soar.prometheus import CONTENT_TYPE
from soar.serving.application import METRICS
from soar.serving.auth import BY, HEALTH, App
from soar.serving.batching import BatchConfig, Batcher
from soar.tasks.off_limits import OffLimits
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
REQUEST_MB = 64
"""Longest request: an episode of many large pictures [MB]."""
_COMMIT = "/v1/commit/"
_LIVE_BYTES = 2**20
_WATCHED_S = 10.0
_EPISODES = 8
_LOOKING = 4
"""Deliveries that are looked at at a time: beats are answered meanwhile, however many robots deliver."""
_REQUESTS = 128
"""That are answered at a time, besides a delivery of each robot."""
_TOGETHER = BatchConfig(max_batch=16, wait_ms=0.0, every_ms=250.0, most_waiting=1024)
"""Deliveries that are stored in one append, which costs about as much for one as for some; nobody waits for them."""


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
        hearing: Journals what robots say that happened.
        off_limits: What no robot may attempt.
        watched_s: When somebody looked last at what robots do [s, monotonic].
        complaint: What was said last of a file that cannot be read.
    """

    config: FleetConfig
    collection: CollectionConfig
    models: Models
    ledger: Ledger
    supervisor: Supervisor
    journal: Journal
    deployments: Deployments
    processes: RobotProcesses | None = None
    hearing: Hearing = field(init=False)
    off_limits: OffLimits = field(init=False)
    watched_s: float = -float("inf")
    complaint: str = ""

    def __post_init__(self) -> None:
        self.off_limits = OffLimits(self.journal.path.parent)
        self.hearing = Hearing(self.journal, self.deployments)

    def watched(self, robot: str) -> bool:
        """Whether somebody looks at a robot whose file is on another computer."""
        return self.config.robots[robot].at == "join" and time.monotonic() - self.watched_s < _WATCHED_S

    def state(self) -> dict[str, Any]:
        """Return how the fleet is, JSON-able."""
        stored, clocks = self.ledger.stored, ("since_s", "counted_s", "heard_s")
        statuses, now_s = self.supervisor.status(), self.supervisor.now_s()
        robots = [
            {name: value for name, value in asdict(status).items() if name not in clocks}
            | {
                "for_s": round(now_s - status.since_s, 1),
                "unheard_s": None if status.heard_s is None else round(now_s - status.heard_s, 1),
                "stored": stored[status.name],
                "epoch": self.ledger.epoch(status.name),
                "driven_by": str(self.ledger.held(status.name) or ""),
                "restarts": self.processes.restarts(status.name) if self.processes is not None else 0,
            }
            for status in statuses
        ]
        return {"name": self.config.name, "run": self.ledger.run, "round": self.ledger.round, "robots": robots} | {
            "episodes": self.ledger.total(),
            "wanted": self.config.episodes,
            "deployment": self.deployments.state(),
        }


def coordinator_application(fleet: Fleet, tokens: Tokens) -> App:
    """Return the application of a fleet's coordinator."""
    app = FastAPI(title="soar fleet", docs_url=None, redoc_url=None, openapi_url=None)
    looking = asyncio.Semaphore(_LOOKING)
    store = Batcher(Storing(fleet.ledger, fleet.journal, fleet.deployments), _TOGETHER)

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

    async def beat(body: BeatBody) -> dict[str, Any]:
        return await run_in_threadpool(_beat, fleet, body) if body.events else _beat(fleet, body)

    async def counts(body: CountsBody) -> dict[str, Any]:
        attempts, successes = fleet.ledger.counts(body.scene, body.robot)
        return {"attempts": attempts, "successes": successes}

    @app.post("/v1/release")
    def release(body: ReleaseBody) -> dict[str, Any]:
        fleet.ledger.release(body.robot, body.epoch)
        return {}

    @app.post("/v1/commit/{robot}/{epoch}")
    async def commit(robot: str, epoch: int, request: Request) -> dict[str, Any]:
        data = await request.body()
        async with looking:
            episodes = await run_in_threadpool(_unpacked, data)
        (there,) = await store([Delivery(robot=robot, epoch=epoch, episodes=episodes)])
        if isinstance(there, SoarError):
            raise there
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

    @app.get(METRICS)
    def prometheus() -> PlainTextResponse:
        restarts = {name: fleet.processes.restarts(name) for name in fleet.config.robots} if fleet.processes else {}
        text = metrics(fleet.supervisor.status(), fleet.ledger.stored, restarts) + store.metrics("soar_fleet_store", {})
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    @app.post("/v1/orders")
    def orders(body: OrdersBody, request: Request) -> dict[str, Any]:
        supervisor = fleet.supervisor
        for robot in set(body.robots) - set(fleet.config.robots):
            raise UnknownNameError("robot", robot, fleet.config.robots, "The fleet's file lists them.")
        if body.do != "resume":  # whatever holds a robot back is obeyed at once, also when the disk is full
            (supervisor.pause if body.do == "pause" else supervisor.stop)(body.robots)
        fleet.journal.append("orders", do=body.do, robots=body.robots or "all", by=request.scope.get(BY, ""))
        if body.do == "resume":  # what lets one move is obeyed once it is written down: else the next coordinator held it again
            supervisor.resume(body.robots)
            if fleet.processes is not None:
                fleet.processes.again(body.robots)
        return fleet.state()

    @app.post("/v1/deploy")
    def deploy(body: DeployBody) -> dict[str, Any]:
        try:
            fleet.deployments.begin(Path(policy_named(body.policy)), body.canary, body.episodes)
        except (ConfigError, CheckpointError) as error:
            raise HTTPException(422, str(error)) from error
        return fleet.state()

    @app.get("/v1/policies/{version}")
    def manifest(version: str) -> dict[str, Any]:
        return asdict(fleet.deployments.manifest(version))

    @app.get("/v1/policies/{version}/{number}")
    def chunk(version: str, number: int, offset: int = 0) -> Response:
        return Response(fleet.deployments.chunk(version, number, offset), media_type="application/octet-stream")

    explain_errors(app)
    return TokenAuth(
        app,
        tokens,
        longest=REQUEST_MB * 2**20,
        binary=_COMMIT,
        requests=_REQUESTS + len(fleet.config.robots),
        at_once={"/v1/beat": at_once(BeatBody, beat), "/v1/counts": at_once(CountsBody, counts)},
    )


def _beat(fleet: Fleet, body: BeatBody) -> dict[str, Any]:
    """Take note of a beat, and return what the robot is told; only what happened is written down, and takes a while."""
    doing = (body.scene, body.instruction) if body.instruction else None
    fleet.ledger.renew(body.robot, body.epoch, doing)
    heard: list[dict[str, Any]] = []
    try:
        heard = fleet.hearing(body.robot, body.epoch, body.events)
    finally:  # what cannot be written down now comes again, all of it
        told = fleet.supervisor.hear(body.robot, body.model_dump() | {"events": heard})
    policy, off_limits = fleet.deployments.for_robot(body.robot), list[str]()
    try:
        off_limits, fleet.complaint = sorted(fleet.off_limits.now()), ""
    except SoarError as error:  # nobody begins anything until it is known, and whoever is to stop hears of it
        if fleet.complaint != str(error):
            log.warning("%s. Robots pause until then", error)
        fleet.complaint = str(error)
        told["do"] = "pause" if told["do"] == "go" else told["do"]
    more = {"round": fleet.ledger.round, "off_limits": off_limits, "watched": fleet.watched(body.robot)}
    return told | {"policy": policy} | more


def _unpacked(data: bytes) -> list[EncodedEpisode]:
    try:
        return unpack_episodes(data, most=_EPISODES)
    except StoreError as error:
        raise HTTPException(422, str(error)) from error


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
        raise SoarError(
            f"{path}: cannot be written: {error.strerror}. Free some space; robots go on and say it again"
        ) from error
