"""One robot of a fleet: the process beside it, which goes on, ends its episode and holds still without anybody's help.

    lock on this computer ─► lease ─► open the workcell ─► session, session, … ─► close, give the lease back
                               ▲                           (a new one for a new policy, after a pause, when a person said so)
                               └── the lease ended, since nobody was heard of: the arm is safe, and it waits for a new one
                                   another round is collected (`soar improve --fleet`): it has a new one at once

A session is the same as everywhere (`soar.fleet.session`). Its episodes go into a spool on this computer's disk, from which
they are delivered; its choice of tasks asks for the attempts of all robots. Whatever happens, the workcell leaves the arm
safe when it is closed, and what was recorded is delivered by the next process.

A robot whose attempts fail too often stops by itself and calls a person, whether the coordinator can be reached or not.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from soar.base_models import named
from soar.collect.config import CollectionConfig
from soar.collect.listeners import Event
from soar.collect.live import FOLDER, file_name
from soar.collect.models import ORACLE, Models, check_models, open_vlm, wants_subgoals
from soar.configuration import validate
from soar.errors import RobotFault, SoarError
from soar.fleet.calling import small_picture
from soar.fleet.config import FaultBudget
from soar.fleet.deployment import warm_up
from soar.fleet.link import BEAT_S, LeaseOverError, Link, MotionStoppedError
from soar.fleet.robot_lock import robot_lock
from soar.fleet.session import SessionConfig, run_session
from soar.fleet.spool import Spool
from soar.policies.base import Policy, check_cameras
from soar.policies.loading import load_policy
from soar.remote.client import ModelAwayError
from soar.robots.workcell import Workcell, load_workcell
from soar.subgoals.loading import load_subgoal_model
from soar.tasks import SuccessDetector
from soar.types import Episode, Image

log = logging.getLogger(__name__)
_MARGIN = 0.25
"""An episode begins only when so much of the lease is left."""
_ALL = 2**31 - 1
_FETCH_AGAIN_S, _AGAIN_S = 30.0, 5.0
_PATIENCE_S = 60.0
"""How long a robot waits at its start for the coordinator [s]."""


def run_member(
    url: str,
    robot: str,
    *,
    workcell: str = "",
    spool: Path,
    stopping: Callable[[], bool] = lambda: False,
    link: Link | None = None,
) -> None:
    """Drive one robot for a fleet until it is told to stop.

    Args:
        url: Of the coordinator.
        robot: Name of the robot in the fleet's file.
        workcell: As this computer calls it; what the fleet's file says by default.
        spool: Folder for episodes that wait; the robot's own folder in it is made.
        stopping: Asked between episodes and when there is nothing to do; True ends the member.
        link: To the coordinator; a new one by default.

    Raises:
        ConfigError: The workcell, a model, or what the coordinator asks for is invalid here; or another process of this
            computer drives the robot.
        ModelServerError: The coordinator refuses, or does not answer at the start.
        MotionStoppedError: Another process drives the robot now.
        SoarError: An episode cannot be kept: the disk is full.
    """
    patience_s = _PATIENCE_S
    with robot_lock(robot) as lock:
        while True:
            link = link or Link(url, robot)
            if not _join(link, lock, patience_s, stopping):
                return
            try:
                if not _Member(link, workcell or str(link.about["workcell"]), spool / robot, stopping).run():
                    return
            except LeaseOverError as over:
                log.warning("%s. It goes on when the coordinator is back", over)
            finally:
                link.end()
            link, patience_s = None, float("inf")


def _join(link: Link, lock: str, patience_s: float, stopping: Callable[[], bool]) -> bool:
    """Ask for the lease; a coordinator that does not answer is waited for. False: the robot is to stop."""
    deadline_s = time.monotonic() + patience_s
    while not stopping():
        try:
            link.join(lock)
            return True
        except ModelAwayError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(BEAT_S)
    return False


class _Member:
    """What one process knows of its robot."""

    def __init__(self, link: Link, workcell: str, spool: Path, stopping: Callable[[], bool]) -> None:
        about = link.about
        self._link, self._workcell, self._stopping = link, workcell, stopping
        self._config = load_workcell(workcell)
        self._collection = validate(CollectionConfig, about["collection"], "the coordinator's configuration")
        said = validate(Models, about["models"], "the coordinator's models")
        self._models = Models(policy=said.policy, subgoals=named(said.subgoals, "subgoal"), vlm=named(said.vlm, "vqa"))
        self.storage = Spool(spool, int(about["spool_mb"]))
        self._policy, self._margin_s = self._models.policy, float(about["lease_s"]) * _MARGIN
        self._version, self._running, self._parked, self._refused = "", "", "", dict[str, str]()
        self._image_size: int | None = None
        self._cell: Workcell | None = None
        budget = validate(FaultBudget, about["faults"], "the coordinator's faults")
        self._most_faults, self._last = budget.most, deque[bool](maxlen=budget.of)
        self._seen: Image | None = None
        self._asked, self._waits = Counter[str](), dict[str, list[float]]()
        self.fresh = True

    def run(self) -> bool:
        """Drive the robot; True when it is to join anew, since another round has begun."""
        link = self._link
        link.say("starting", scene=self._config.scene.name)
        link.deliver(self.storage)
        link.show(self.storage.folder / FOLDER / file_name(link.robot))
        try:
            while not link.lost and not link.round_over and link.orders.do != "stop" and not self._stopping():
                try:
                    self._step()
                except LeaseOverError:
                    raise
                except MotionStoppedError as stop:  # it was told to stop, or it waits for a person
                    log.info("%s", stop)
        finally:
            self._close()
            link.say("stopped", instruction="")
        if link.lost:
            raise MotionStoppedError(link.lost)
        return link.round_over and link.orders.do != "stop" and not self._stopping()

    def _step(self) -> None:
        """Do what there is to do now: a session, or a moment of waiting."""
        link = self._link
        if self._parked:
            self._need_person()
        elif link.orders.do in ("rest", "hold"):
            self._close()
            self._wait("resting" if link.orders.do == "rest" else "waiting")
        elif link.orders.do != "go":
            self._wait("paused")
        elif self.storage.full():
            self._wait("full", detail=f"{self.storage.folder} holds as many episodes as it may, and nobody takes them")
        elif not link.may_begin(self._margin_s):
            link.gate()
            self._wait("away", detail="the coordinator is not heard of, and the lease ends soon")
        else:
            try:
                self._collect()
            except ModelAwayError as error:
                log.warning("%s: a model is away: %s", link.robot, error)
                again_s = time.monotonic() + _AGAIN_S
                while time.monotonic() < again_s and link.orders.do == "go" and not self._stopping():
                    self._wait("away", detail=str(error)[:300], instruction="")

    def _collect(self) -> None:
        """Collect until something else is to be done."""
        link = self._link
        asked, again_s = link.orders.policy, self._take_over(link.orders.policy)
        models = dataclasses.replace(self._models, policy=named(self._policy, "policy"))
        opened = check_models(models)
        self._running = opened.id
        link.say("collecting", policy=opened.id, detail=self._refused.get(asked, ""))
        if self._cell is not None and self._image_size != opened.image_size:
            self._close()
        self._image_size = opened.image_size
        if self._cell is None:
            self._cell = self._config.open(image_size=opened.image_size)
            self.fresh = True
            SuccessDetector(open_vlm(models.vlm, self._cell), sees=self._collection.sees).check()
        self._cell.robot.gate = self._gate
        session = SessionConfig(
            models=models,
            workcell=self._workcell,
            robot=link.robot,
            image_size=opened.image_size,
            store=str(self.storage.folder),
            journal=str(self.storage.folder / "events.jsonl"),
            episodes=_ALL,
            run=str(link.about["run"]),
            round=int(link.about["round"]),
            seed=int(link.about["seed"]),
            config=self._collection,
            epoch=link.epoch,
        )

        def over() -> bool:
            other = link.orders.policy != asked or time.monotonic() > again_s or bool(self._parked) or _replaced(opened, models)
            return other or self._stopping() or self.storage.full() or not link.may_begin(self._margin_s)

        try:
            run_session(
                self._cell,
                session,
                stopping=over,
                on_episode=self._stored,
                on_fault=self._faulted,
                listeners=[self._heard],
                fleet=self,
            )
        except RobotFault as fault:
            self._parked = self._parked or fault.detail
        finally:
            self.fresh = False
            link.say(instruction="")
        if _replaced(opened, models):
            load_policy.cache_clear()
            load_subgoal_model.cache_clear()

    def _gate(self) -> None:
        """Refuse a motion that nobody allows; asked before each."""
        if self._parked:
            raise MotionStoppedError(f"robot {self._link.robot!r} waits for a person: {self._parked}")
        self._link.gate()

    def _take_over(self, version: str) -> float:
        """Let the next session use a version: fetched, verified, tried once. What does not work is said, and left alone.

        Returns:
            When to try again [s]: the coordinator was away.
        """
        if version == self._version or version in self._refused:
            return float("inf")
        link, cache = self._link, self.storage.folder / "policies"
        link.say(detail=f"takes over policy {version or 'of the beginning'}")
        try:
            name = str(link.fetch(version, cache)) if version else named(self._models.policy, "policy")
            load_policy.cache_clear()  # the one before is not kept in memory
            opened = load_policy(name)
            warm_up(opened)
            check_cameras(opened, self._config.cameras, f"workcell {self._config.name!r}")
        except ModelAwayError as error:
            if not self._running:  # there is none to go on with
                raise
            log.info("%s: policy %s is fetched later: %s", link.robot, version, error)
            return time.monotonic() + _FETCH_AGAIN_S
        except SoarError as error:
            log.error("%s: policy %s cannot be used: %s", link.robot, version, error)
            self._refused[version] = f"policy {version} cannot be used, {self._running or 'the one before'} goes on: {error}"
            link.event("policy_refused", version=version, detail=str(error)[:300])
            return float("inf")
        kept = {version, self._version}
        for old in [folder for folder in cache.glob("*") if folder.name not in kept]:
            shutil.rmtree(old, ignore_errors=True)
        self._policy, self._version = name, version
        link.event("policy", version=version, policy=opened.id)
        return float("inf")

    def counts(self) -> tuple[Mapping[str, int], Mapping[str, int]] | None:
        """See `soar.fleet.session.FleetLink`."""
        return self._link.counts(self._config.scene.name)

    def off_limits(self) -> frozenset[str]:
        """See `soar.fleet.session.FleetLink`."""
        return self._link.orders.off_limits

    def _stored(self, episode: Episode) -> None:
        label = episode.labels[0]
        self._last.append(False)
        self._link.event("episode", id=episode.id, success=label.success, steps=len(episode.actions_TD))

    def _faulted(self, detail: str) -> None:
        """Count a fault before the next attempt begins: whoever listens may hear of it later."""
        self._last.append(True)
        if sum(self._last) > self._most_faults:
            detail = detail.partition(": ")[2][:300] or detail[:300]
            self._parked = f"{sum(self._last)} of its last {len(self._last)} attempts ended with a fault: {detail}"

    def _heard(self, event: Event) -> None:
        """Tell the coordinator what a robot does; called by another thread."""
        if event.kind == "step":
            self._seen = event.fields["observation"].image_HWC
        elif event.kind == "episode_begins":
            self._link.say(instruction=str(event.fields["instruction"]))
        elif event.kind == "proposal":
            self._asked["feasible"] += len(event.fields["proposal"].answers)
        elif event.kind == "look":
            self._asked["looks"] += 1
        elif event.kind == "fallback":
            self._asked["fallbacks"] += int(event.fields["times"])
        elif event.kind == "waited":
            self._waits = event.fields["kinds"]
        elif event.kind == "spent":
            self._asked.update({name: int(event.fields[name]) for name in ("calls", "tokens", "untold")})
        elif event.kind == "episode_ends":
            self._link.say(instruction="")
            self._asked.update(saved=event.fields["saved"], ended=event.fields["saved"] > 0)
            self._tell_asked()
        elif event.kind == "fault":
            detail = str(event.fields["detail"])[:300]
            about = {"policy": self._running, "scene": self._config.scene.name, "fault": event.fields["fault"]}
            self._link.event("fault", **about, detail=detail, picture=self._picture())
            self._tell_asked()

    def _tell_asked(self) -> None:
        """Say how much models were asked since the last time, and how long those behind servers took."""
        self._link.event("asked", **self._asked, waits=self._waits)
        self._asked, self._waits = Counter[str](), dict[str, list[float]]()

    def _picture(self) -> str:
        return "" if self._seen is None else small_picture(self._seen)

    def _need_person(self) -> None:
        """Hold still until a person says that the robot may go on."""
        link, before, why = self._link, self._link.orders.released, self._parked[:300]
        self._close()
        link.event("person", detail=why, picture=self._picture())
        while link.orders.released == before and not link.lost and link.orders.do != "stop" and not self._stopping():
            self._wait("waiting", detail=why)
        self._parked = ""
        self._last.clear()

    def _wait(self, phase: str, **said: Any) -> None:
        self._link.say(phase, **said)
        time.sleep(0.2)

    def _close(self) -> None:
        cell, self._cell = self._cell, None
        if cell is not None:
            cell.close()


def _replaced(policy: Policy, models: Models) -> bool:
    """Whether a server of models has another one now than when the session began: the next session begins with that."""
    imagines = wants_subgoals(policy, models.subgoals) and models.subgoals != ORACLE
    remote = [policy, *([load_subgoal_model(models.subgoals)] if imagines else [])]
    return any(getattr(model, "replaced", "") for model in remote)
