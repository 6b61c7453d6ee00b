"""A robot's line to its coordinator (`soar.fleet.coordinator`): who drives it, what it is told to do, where episodes go.

    every BEAT_S   beat ─►  epoch, phase, what it attempts, events        ◄─ what to do, and which policy
    aside          commit ─► the oldest episodes of the spool             ◄─ stored: the files are removed
                   live   ─► camera and subgoal, while somebody looks

What is said is JSON, episodes are Arrow; nothing is pickled. Nothing here raises because the coordinator is away: the robot
goes on with what it last knew until its lease ends, and holds still then. `gate` is asked before every motion.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx2

from soar import __version__
from soar.errors import ModelServerError, SoarError
from soar.fleet.deployment import fetched
from soar.fleet.leases import Holder
from soar.fleet.spool import Spool
from soar.remote.client import ModelAwayError, ModelServer, RemoteConfig
from soar.remote.wire import TOKEN

log = logging.getLogger(__name__)
PROTOCOL = 3
BEAT_S = 1.0
"""How often a robot says how it is [s]."""
_CALL_S, _LIVE_S = 5.0, 0.3
_DELIVERY_S = 60.0
_BATCH = 8
"""Episodes that are delivered before the folder is looked at again."""
_EVENTS = 1000
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what this computer is short of is no fault of an episode


def passed_s() -> float:
    """Return seconds that never go back; a computer that was suspended meanwhile counts them, too, where it can (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class MotionStoppedError(SoarError):
    """The robot may not move: it was stopped, it waits for a person, or somebody else drives it."""


class LeaseOverError(MotionStoppedError):
    """The robot may not move, since nobody has been heard of for too long; a new lease lets it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a robot is told.

    Attributes:
        do: `go`, `pause` (after this episode), `rest` (with the workcell closed), `hold` (now, until a person agrees), or
            `stop` (now, and for good).
        policy: Version of the policy to collect with (`soar.fleet.deployment`); empty: the one that it began with.
        released: How often a person said that it may go on.
        round: That is collected now; None while nobody said so.
        off_limits: Instructions that no robot may attempt.
        watched: Whether somebody looks, who has no other way to see the robot.
    """

    do: str = "pause"
    policy: str = ""
    released: int = 0
    round: int | None = None
    off_limits: frozenset[str] = frozenset()
    watched: bool = False


class Coordinator(ModelServer):
    """A fleet's coordinator, as a client sees it."""

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return f"Put the fleet's token into the environment variable {self.config.token_env}."
        return "" if status in (409, 422) else "Is this the address that `soar fleet up` shows?"

    def read(self, path: str) -> bytes:
        """Return bytes that the coordinator has there.

        Raises:
            ModelServerError: It refuses.
            ModelAwayError: There is no answer.
        """
        try:
            status, data, _ = self._send("GET", path, None)
        except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            raise ModelAwayError(f"{self.config.url}{path}: {error or type(error).__name__}") from error
        if status != 200:
            away = status >= 500 or status in (408, 425, 429)
            raise (ModelAwayError if away else ModelServerError)(
                f"{self.config.url}{path}: status {status}. {self._hint(status)}"
            )
        return data


class Link:
    """The line of one robot.

    Args:
        url: Of the coordinator.
        robot: Its name.
        token_env: Environment variable that holds the token.
        clock: Seconds, never going back, also of the time in which the computer was suspended: a lease ends then, too.
    """

    def __init__(self, url: str, robot: str, token_env: str = TOKEN, clock: Callable[[], float] = passed_s) -> None:
        self.robot, self._clock = robot, clock
        self.holder = Holder(host=socket.gethostname(), pid=os.getpid(), nonce=secrets.token_hex(8))
        config = RemoteConfig(url=url, token_env=token_env, retries=0, probe_every_s=0.0)
        self._beats, self._calls = Coordinator(config, _CALL_S), Coordinator(config, _CALL_S)
        self._spool: Spool | None = None
        self._deliveries, self._policies = Coordinator(config, _DELIVERY_S), Coordinator(config, _DELIVERY_S)
        self._lives = Coordinator(config, _CALL_S)
        self.about: dict[str, Any] = {}
        self.orders = Orders()
        self.epoch = 0
        self._lost = ""
        self._until_s, self._left = -float("inf"), set[Path]()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._said: dict[str, Any] = {"phase": "starting", "waiting": 0}
        self._said |= dict.fromkeys(("scene", "instruction", "detail", "policy"), "")
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        self._numbers = 0
        self._threads: list[threading.Thread] = []

    def join(self, lock: str = "") -> None:
        """Become the one that drives the robot, and begin to say how it is.

        Args:
            lock: Place of the robot's lock, which this process holds (`soar.fleet.leases.Holder`).

        Raises:
            ModelServerError: The coordinator refuses, or is no coordinator.
            ModelAwayError: It does not answer.
        """
        asked_s = self._clock()
        self.holder = replace(self.holder, lock=lock)
        body = {"protocol": PROTOCOL, "soar": __version__, "robot": self.robot, "holder": asdict(self.holder)}
        self.about = self._calls.request("POST", "/v1/acquire", body)
        self.epoch = int(self.about["epoch"])
        self._until_s = asked_s + float(self.about["lease_s"])
        self._start("beats", self._beat_for_ever)

    def deliver(self, spool: Spool) -> None:
        """Begin to bring a spool's episodes to the store, in order."""
        self._spool = spool
        self._start("deliveries", lambda: self._deliver_for_ever(spool))

    def show(self, live: Path) -> None:
        """Begin to show what the robot does while somebody looks, from the file that it leaves (`soar.collect.live`)."""
        self._start("live", lambda: self._show_for_ever(live))

    def say(self, phase: str | None = None, **fields: str) -> None:
        """Say how the robot is with the next beat: `phase`, `scene`, `instruction`, `detail`, `policy`."""
        with self._lock:
            self._said |= fields | ({} if phase is None else {"phase": phase})

    def event(self, kind: str, **fields: Any) -> None:
        """Say that something happened; kept until a beat brought it."""
        with self._lock:
            self._numbers += 1
            self._events.append({"kind": kind, "time_s": time.time(), "number": self._numbers, **fields})

    def gate(self) -> None:
        """Refuse a motion that nobody allows.

        Raises:
            MotionStoppedError: See there.
        """
        if self._lost:
            raise MotionStoppedError(f"robot {self.robot!r} holds still: {self._lost}")
        if self._clock() >= self._until_s:
            raise LeaseOverError(
                f"robot {self.robot!r} holds still: the coordinator was not heard of for {self.about['lease_s']:g} s"
            )
        if self.orders.do in ("stop", "hold"):
            raise MotionStoppedError(
                f"robot {self.robot!r} {'was told to stop' if self.orders.do == 'stop' else 'waits for a person'}"
            )

    @property
    def lost(self) -> str:
        """Why this process drives the robot no longer; empty while it does."""
        return self._lost

    @property
    def round_over(self) -> bool:
        """Whether another round is collected than when this line was joined: a new line is needed."""
        return self.orders.round not in (None, self.about["round"])

    def may_begin(self, margin_s: float) -> bool:
        """Whether an episode of at most `margin_s` may begin."""
        ready = self.orders.do == "go" and not self._lost and not self.round_over
        return ready and self._clock() + margin_s < self._until_s

    def counts(self, scene: str) -> tuple[Mapping[str, int], Mapping[str, int]] | None:
        """Return attempts and judged successes by all robots; None when the coordinator cannot tell."""
        try:
            answer = self._calls.request("POST", "/v1/counts", {"robot": self.robot, "scene": scene})
            return _counts(answer["attempts"]), _counts(answer["successes"])
        except (ModelServerError, KeyError, ValueError, TypeError, AttributeError) as error:
            log.info("%s: attempts of other robots are unknown now: %s", self.robot, error)
            return None

    def fetch(self, version: str, cache: Path) -> Path:
        """Return a deployed policy on this computer, fetched when it is not there (`soar.fleet.deployment.fetched`).

        Raises:
            CheckpointError: What comes is not what was said.
            ModelServerError: The coordinator refuses.
            ModelAwayError: It does not answer.
            SoarError: The policy cannot be kept.
        """
        at = f"/v1/policies/{version}"
        return fetched(
            version,
            cache,
            lambda: self._policies.request("GET", at),
            lambda number, offset: self._policies.read(f"{at}/{number}?offset={offset}"),
        )

    def end(self, last_s: float = 5.0) -> None:
        """Say goodbye and end all threads."""
        self._ended.set()
        for thread in self._threads:
            thread.join(last_s)
        try:
            self._beat()
            self._calls.request("POST", "/v1/release", {"robot": self.robot, "epoch": self.epoch})
        except ModelServerError as error:
            log.info("%s: the coordinator did not hear that this robot is free: %s", self.robot, error)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"{self.robot} {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _beat_for_ever(self) -> None:
        while not self._ended.is_set():
            try:
                self._beat()
            except (ModelAwayError, OSError) as error:
                log.info("%s: the coordinator is away: %s", self.robot, error)
            except ModelServerError as error:
                self._lost = str(error)
                log.error("%s: %s", self.robot, error)
                return
            self._ended.wait(BEAT_S)

    def _beat(self) -> None:
        with self._lock:
            with contextlib.suppress(OSError):  # who cannot look now says what was so before
                self._said["waiting"] = sum(path not in self._left for path in self._spool.waiting()) if self._spool else 0
            said, events = dict(self._said), list(self._events)
        asked_s = self._clock()
        answer = self._beats.request("POST", "/v1/beat", {"robot": self.robot, "epoch": self.epoch, "events": events, **said})
        with self._lock:
            # What came meanwhile may have pushed out what was sent: only that is taken off which the coordinator heard.
            sent = {id(event) for event in events}
            while self._events and id(self._events[0]) in sent:
                self._events.popleft()
        self._until_s = asked_s + float(self.about["lease_s"])
        self.orders = Orders(
            do=str(answer.get("do", "pause")),
            policy=str(answer.get("policy", "")),
            released=int(answer.get("released", 0)),
            round=answer.get("round"),
            off_limits=frozenset(map(str, answer.get("off_limits", ()))),
            watched=answer.get("watched") is True,
        )

    def _show_for_ever(self, live: Path) -> None:
        shown = 0
        while not self._ended.wait(_LIVE_S):
            with contextlib.suppress(OSError, ModelServerError):  # nobody waits for it
                if self.orders.watched and (written := live.stat().st_mtime_ns) != shown:
                    self._lives.request("POST", f"/v1/live/{self.robot}/{self.epoch}", live.read_bytes())
                    shown = written

    def _deliver_for_ever(self, spool: Spool) -> None:
        told = ""
        while True:
            ended = self._ended.is_set()
            try:
                if not self._lost and (paths := [path for path in spool.waiting() if path not in self._left]):
                    self._deliver(spool, paths[:_BATCH])
                    told = ""
                    continue
            except (ModelAwayError, OSError) as error:
                if told != (told := str(error)):
                    log.warning("%s: episodes wait in %s: %s", self.robot, spool.folder, error)
            if ended:
                return
            self._ended.wait(BEAT_S)

    def _deliver(self, spool: Spool, paths: list[Path]) -> None:
        """Deliver some episodes; what cannot be read, or is refused for good, is put aside, one by one."""
        for path in paths:
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return  # a line before this one, whose lease was over, had it under way
            except OSError as error:
                if error.errno in _SHORT:
                    raise
                self._put_aside(spool, path, f"cannot be read: {error.strerror}")
                continue
            try:
                self._deliveries.request("POST", f"/v1/commit/{self.robot}/{self.epoch}", data)
            except ModelAwayError:
                raise
            except ModelServerError as error:
                if self._lost or "is over" in str(error):
                    self._lost = str(error)
                    return
                self._put_aside(spool, path, f"was refused: {error}")
                continue
            self._left.add(path)  # it is stored: one that cannot be removed is not brought again
            path.unlink(missing_ok=True)
            self._left.discard(path)

    def _put_aside(self, spool: Spool, path: Path, why: str) -> None:
        """Keep an episode that is not stored where a person finds it; what cannot be moved stays for the next process."""
        try:
            kept = spool.refuse(path)
        except OSError as error:
            self._left.add(path)
            kept, why = path, f"{why}; it cannot be moved into {spool.folder / 'refused'} either: {error.strerror}"
        log.error("%s: an episode %s; it is kept as %s", self.robot, why, kept)
        self.event("refused", detail=why[:300], file=str(kept))


def _counts(value: Any) -> dict[str, int]:
    return {str(name): int(count) for name, count in value.items()}
