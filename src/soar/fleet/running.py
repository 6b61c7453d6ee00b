"""A fleet at work: coordinator, store and processes of the robots that stand here, until all episodes are there.

RUN/episodes      the store of all robots
RUN/events.jsonl  the journal of all robots
RUN/ledger.json   the newest epoch of each robot
RUN/fleet.json    address and process of the coordinator, while it runs
RUN/token         of the coordinator, for this user only, unless SOAR_TOKEN says another
RUN/logs/         what each robot's process has to say
RUN/deployed/     policies that were deployed meanwhile
RUN/pictures/     the last picture of each robot that had a fault
RUN/spool/        episodes of robots that stand here, on their way to the store
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from soar.base_models import named, unnamed
from soar.collect.config import CollectionConfig
from soar.collect.models import Models, check_models
from soar.collect.preset import load_collection
from soar.configuration import defaults
from soar.errors import ConfigError, SoarError
from soar.event_log import Journal, read_journal
from soar.files import write_json, write_text
from soar.fleet.asking import ADDRESS, TOKEN_FILE, read_token
from soar.fleet.calling import PersonCaller
from soar.fleet.config import FleetConfig
from soar.fleet.coordinator import Fleet, coordinator_application
from soar.fleet.deploying import Deployments
from soar.fleet.deployment import Decide
from soar.fleet.launching import RobotProcesses, Starter
from soar.fleet.leases import GRACE_S
from soar.fleet.ledger import Ledger
from soar.fleet.status import NOT_STARTED, SILENT, STOPPED, RobotStatus
from soar.fleet.storing import tell_untold
from soar.fleet.supervision import Supervisor
from soar.fleet.telemetry import PhaseTimes
from soar.fleet.tokens import Bearer, Tokens
from soar.fleet.underway import Underway
from soar.remote.wire import TOKEN
from soar.run_claim import RunClaim
from soar.serving.auth import choose_token
from soar.serving.connections import WAITING
from soar.serving.listening import LOOPBACK, listen, protected
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
_TICK_S = 0.5
_COMPACT_EVERY = 200
_LAST_EPISODE_S = 120.0
_HEAR_S = 5.0
_LINES = 4
"""Connections that a robot keeps."""
_SWITCH_S = 0.0005
"""A thread that waits for Python's lock asks for it after this time; by default after ten times as long."""
_FILES = 256
"""Files that are open besides connections."""
OnTick = Callable[[int, int, list[RobotStatus]], None]


def run_fleet(
    config: FleetConfig,
    run: Path,
    *,
    decide: Decide,
    host: str = LOOPBACK,
    port: int = 0,
    others: Mapping[str, Bearer] | None = None,
    round: int = 0,
    on_ready: Callable[[str], None] = lambda url: None,
    on_tick: OnTick = lambda done, total, robots: None,
    models: Models | None = None,
    collection: CollectionConfig | None = None,
    held: bool = False,
    stopping: Callable[[], bool] = lambda: False,
    idle: Callable[[], bool] = lambda: False,
    followed: bool = False,
) -> int:
    """Let all robots of a fleet practise until the store holds `config.episodes` episodes of this run and round.

    Args:
        config: The fleet.
        run: Its folder.
        decide: Says whether all robots shall have a policy that one of them tried (`soar.evaluation.canary`).
        host: Address to listen on.
        port: To listen on; 0 for any that is free.
        others: Tokens besides the operator's, which is that of the environment or of RUN/token, which is made.
        round: Number of the round.
        on_ready: Called with the coordinator's address.
        on_tick: Called now and then with episodes stored, episodes in all, and how the robots are.
        models: Instead of the file's.
        collection: How robots collect, instead of what the file says.
        held: Whether the caller holds the run's folder.
        stopping: Asked now and then; True lets robots end the episodes that they are at, and ends.
        idle: Asked when all episodes are there; True lets robots pause, and the coordinator go on.
        followed: Whether another round follows at the same address: robots that joined pause until then, and have a new lease
            for it.

    Returns:
        How many episodes of this run and round are stored.

    Raises:
        ConfigError: Something in the file is invalid, the port is taken, or the run is another one or somebody else's.
        CheckpointError: A model cannot be loaded.
        SoarError: Something cannot be written, or what is off limits cannot be read.
    """
    said = models or Models(**asdict(config.models))
    models = Models(policy=named(said.policy, "policy"), subgoals=named(said.subgoals, "subgoal"), vlm=named(said.vlm, "vqa"))
    collection = collection or load_collection(config.preset, config.set).improvement.collection
    config.tls.check(host)
    first = check_models(models)
    claim = RunClaim(
        folder=run,
        command="soar fleet up",
        changeable=("fleet.robots", "fleet.episodes", "fleet.notify", "fleet.canary", "fleet.tls", "settings"),
        defaults={"fleet": defaults(FleetConfig)},
    )
    what = {"fleet": asdict(config), "settings": {"round": round}}
    if not held:
        claim.check(what)
    listener = _listen(host, port, run)
    try:
        tokens = Tokens(operator=fleet_token(run), others=others or {})
        with contextlib.nullcontext() if held else claim.hold(what):
            journal = Journal(run / "events.jsonl")
            caller = PersonCaller(config.notify, config.name, journal)
            supervisor = Supervisor(
                config.robots,
                faults=config.faults,
                rest=config.rest,
                call=caller,
                lost=caller.lost,
                lost_s=config.lease_s + GRACE_S,
            )
            _remember(supervisor, caller, journal)
            ledger = Ledger(
                run / "ledger.json",
                run / "episodes",
                config.robots,
                run=run.name,
                round=round,
                lease_s=config.lease_s,
                journal=journal.path,
            )
            tell_untold(ledger, run / "episodes", journal)
            fleet = Fleet(
                config=config,
                collection=collection,
                models=Models(
                    policy=unnamed(models.policy, "policy"),
                    subgoals=unnamed(models.subgoals, "subgoal"),
                    vlm=unnamed(models.vlm, "vqa"),
                ),
                ledger=ledger,
                supervisor=supervisor,
                journal=journal,
                deployments=Deployments(
                    run / "deployed",
                    journal,
                    config.robots,
                    round=round,
                    first=first.id,
                    decide=decide,
                    begin_with=_travelling(config, models.policy),
                ),
            )
            fleet.off_limits.now()  # what is read once holds, whatever becomes of the file
            listener.listen()
            scheme, tls = "https" if config.tls.certificate else "http", asdict(config.tls)
            url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
            fleet.processes = RobotProcesses(
                robots=[name for name, robot in config.robots.items() if robot.at == "here"],
                starter=Starter(url=url, token=tokens.for_robots, spool=run / "spool", logs=run / "logs"),
                supervisor=supervisor,
            )
            waiting = WAITING + _LINES * len(config.robots)
            _allow_files(waiting + _FILES)
            _answer_soon()
            server = uvicorn.Server(protected(coordinator_application(fleet, tokens), waiting=waiting, **tls))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="coordinator", daemon=True)
            thread.start()
            write_json(run / ADDRESS, {"url": url, "pid": os.getpid()})
            try:
                on_ready(url)
                return _watch(fleet, on_tick, stopping, idle, followed)
            finally:
                server.should_exit = True
                thread.join(10.0)
                (run / ADDRESS).unlink(missing_ok=True)
    finally:
        listener.close()


def _listen(host: str, port: int, run: Path) -> socket.socket:
    """Return a socket; where no port is named that of a coordinator that was killed, since its robots still ask there."""
    if port == 0 and (run / ADDRESS).exists():
        with contextlib.suppress(ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError):
            before = urlsplit(parse_json((run / ADDRESS).read_text(encoding="utf-8"))["url"]).port
            return listen(host, before or 0)
    return listen(host, port)


def _allow_files(count: int) -> None:
    """See to it that so many files may be open; a computer that allows fewer loses connections, not episodes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < count:
        log.warning("robots may keep %d files open here, and %d are allowed: raise `ulimit -Hn`", count, hard)


def _answer_soon() -> None:
    """Let answers not wait for this process's other threads, which store, nor for Python to look at all that was imported."""
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()


def _watch(fleet: Fleet, on_tick: OnTick, stopping: Callable[[], bool], idle: Callable[[], bool], followed: bool) -> int:
    """Keep processes running until there is enough, or somebody stopped all; then let all end.

    While a policy is tried there is never enough.
    """
    processes, wanted, compacted = fleet.processes, fleet.config.episodes, fleet.ledger.total()
    assert processes is not None
    times, over = PhaseTimes(fleet.supervisor, fleet.journal), True
    underway = Underway(fleet.supervisor, fleet.ledger.stored, fleet.journal)
    try:
        while not fleet.supervisor.all_stopped and not stopping():
            total, trying = fleet.ledger.total(), fleet.deployments.trying
            # What robots still have on their disks counts, too: a slow coordinator must not let them make too many.
            fleet.supervisor.enough(total + underway.count() >= wanted and not trying)
            if total >= wanted and not trying and not idle():
                break
            try:
                processes.tick()
                times.tick()
                if fleet.ledger.total() - compacted >= _COMPACT_EVERY:
                    compacted = fleet.ledger.total()
                    fleet.ledger.compact()
                on_tick(fleet.ledger.total(), wanted, fleet.supervisor.status())
            except (SoarError, OSError) as error:  # a disk that is full may be emptied: robots keep what they make meanwhile
                log.warning("%s", error)
            time.sleep(_TICK_S)
        _finish(fleet, underway, on_tick)
        over = not followed or stopping() or fleet.supervisor.all_stopped
    except KeyboardInterrupt:
        log.warning("robots end the episodes that they are at; press Ctrl-C again to stop them now")
        _finish(fleet, underway, on_tick)
        raise
    finally:
        if over:
            fleet.supervisor.stop()
        elif processes.robots:
            fleet.supervisor.stop(processes.robots)
        processes.end()
        if over:
            _let_hear(fleet)
        with contextlib.suppress(SoarError):
            times.write()
    return fleet.ledger.total()


def _finish(fleet: Fleet, underway: Underway, on_tick: OnTick) -> None:
    """Let robots end the episodes that they are at, and bring what they have."""
    fleet.supervisor.enough(True)
    deadline_s = time.monotonic() + _LAST_EPISODE_S
    while time.monotonic() < deadline_s and not fleet.supervisor.all_stopped:
        robots = fleet.supervisor.status()
        on_tick(fleet.ledger.total(), fleet.config.episodes, robots)
        if not any(robot.phase in ("collecting", "starting") for robot in robots) and not underway.count():
            break
        time.sleep(_TICK_S)
    if left := fleet.supervisor.waiting():
        log.warning("%d episodes stay on robots' disks: the same command, given again, lets robots bring them", left)


def _let_hear(fleet: Fleet) -> None:
    """Give robots on other computers the time to hear that they are to stop."""
    joined = {name for name, robot in fleet.config.robots.items() if robot.at == "join"}
    deadline_s = time.monotonic() + _HEAR_S
    while time.monotonic() < deadline_s:
        phases = {status.name: status.phase for status in fleet.supervisor.status() if status.name in joined}
        if all(phase in (NOT_STARTED, SILENT, STOPPED) for phase in phases.values()):
            return
        time.sleep(_TICK_S / 5)


def _travelling(config: FleetConfig, policy: str) -> Path | None:
    """Return the policy's files where robots join, whose computers need not have them; the base policy they have."""
    path, joins = Path(policy), any(robot.at == "join" for robot in config.robots.values())
    files = path.suffix == ".onnx" or (path / "config.json").is_file()
    return path if joins and files and unnamed(policy, "policy") else None


def _remember(supervisor: Supervisor, caller: PersonCaller, journal: Journal) -> None:
    """Go on with the orders of a coordinator before this one, and tell the persons whom it had not told yet."""
    for robot, why in supervisor.remember(read_journal(journal.path)):
        caller.tell(robot, why)
    if still := supervisor.standing():
        log.warning("these robots do not move until `soar fleet resume`: %s", ", ".join(still))


def check_reachable(host: str) -> None:
    """Refuse to let other machines in without a token that they can know.

    Raises:
        ConfigError: There is none.
    """
    if host != LOOPBACK and not os.environ.get(TOKEN):
        raise ConfigError(
            f"--host {host} lets other machines in, and a fleet without a token does not: put one of at least 16 characters "
            f"into {TOKEN} here and on the robots' computers"
        )


def fleet_token(run: Path) -> str:
    """Return the token of the environment, or that of the run, which is made when there is none."""
    path = run / TOKEN_FILE
    if not os.environ.get(TOKEN) and path.exists():
        return read_token(run)
    token, new = choose_token()
    if new:
        write_text(path, "")  # empty until nobody else can read it
        path.chmod(0o600)
        path.write_text(token, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)  # that of an earlier start, with which nobody is let in now
    return token
