"""A rehearsal: a fleet of light robots goes wrong as planned, calms down, and is asked what became of its promises.

RUN/injected.jsonl   `injected`, `undone`, `skipped` (the fault could not be done then), `agreed` (a person let a robot go on)

Killed at any point, the same command goes on with the next fault.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from soar.errors import SoarError
from soar.event_log import Journal, read_journal
from soar.files import write_json
from soar.fleet.config import FleetConfig
from soar.fleet.rehearsal.faults import Injected, inject
from soar.fleet.rehearsal.plan import COORDINATOR, MODEL, OF_DRIVER, RehearsalPlan
from soar.fleet.rehearsal.promises import Promise, check_promises, read_motions
from soar.fleet.rehearsal.stage import Stage, stage
from soar.run_claim import RunClaim
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
_TICK_S = 0.2
_ASKS_S, _ORDERS_S = 1.0, 3.0
_PATIENCE_S = 300.0
_STATES = "states.json"
_ANYBODY = (COORDINATOR, MODEL)
OnTick = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What a rehearsal came to.

    Attributes:
        injected: How often each kind of fault was done.
        back_s: For each kind, how long it took from the end of the fault (of one of the driver: from when the robot saw it)
            until its target, or any robot for the coordinator and the model, had stored a whole episode again [s].
        promises: And how often each was broken.
        episodes: In the store.
        robots: How many.
    """

    injected: Mapping[str, int]
    back_s: Mapping[str, Sequence[float]]
    promises: Sequence[Promise]
    episodes: int
    robots: int

    @property
    def kept(self) -> bool:
        """Whether no promise was broken."""
        return not any(promise.broken for promise in self.promises)

    def rows(self) -> list[dict[str, Any]]:
        """Return it as rows of a results file."""
        rows: list[dict[str, Any]] = [
            {"metric": f"{promise.what}, of {promise.of}", "ours": promise.broken, "limit": 0} for promise in self.promises
        ]
        rows.append(
            {"metric": f"faults injected into {self.robots} robots", "ours": sum(self.injected.values()), "limit": None}
        )
        rows.append({"metric": "episodes stored meanwhile", "ours": self.episodes, "limit": None})
        for kind, count in sorted(self.injected.items()):
            times = self.back_s.get(kind, ())
            rows.append(
                {
                    "metric": f"{kind}, {count} times: next whole episode after [s], median, longest",
                    "ours": f"{statistics.median(times):.1f}, {max(times):.1f}" if times else None,
                    "limit": None,
                }
            )
        return rows


def rehearse(
    config: FleetConfig, plan: RehearsalPlan, folder: Path, on_tick: OnTick = lambda done, total, note: None
) -> Rehearsed:
    """Rehearse a plan with a fleet whose robots are replaced by light ones; nothing real moves.

    Args:
        config: The fleet.
        plan: What goes wrong.
        folder: Of the rehearsal.
        on_tick: Called now and then with faults injected, faults in all, and how the robots are.

    Raises:
        ConfigError: The plan does not fit the fleet, or the folder holds another rehearsal or is in use.
        SoarError: The fleet does not begin to work, or does not end; the message says where its logs are.
    """
    folder = folder.absolute()
    joining = [name for name, robot in config.robots.items() if robot.at == "join"]
    plan.check(joining)
    claim = RunClaim(folder=folder, command="soar fleet rehearse", changeable=("plan.faults",))
    robots = {name: robot.at for name, robot in config.robots.items()}
    with claim.hold({"robots": robots, "plan": asdict(plan)}):
        with stage(config, plan, folder) as fleet:
            director = _Director(fleet, plan, joining, Journal(folder / "injected.jsonl"), on_tick)
            director.begin()
            director.inject_all()
            director.calm_down()
        return _judged(folder, fleet.spools(), len(robots))


@dataclass(slots=True)
class _Director:
    """Lets things go wrong, and comes when a person is called."""

    stage: Stage
    plan: RehearsalPlan
    joining: Sequence[str]
    journal: Journal
    on_tick: OnTick
    active: list[Injected] = field(default_factory=list)
    state: dict[str, Any] | None = None
    waits_s: dict[str, float] = field(default_factory=dict)
    asked_s: float = 0.0
    ordered_s: float = 0.0
    done: int = 0
    agrees: bool = True
    said: tuple[int, str] = (0, "")

    def begin(self) -> None:
        """Wait until all robots work, also those that paused at the end of an earlier call."""
        self._until(lambda: self._in(("collecting",)) or self._order("resume", ("paused", "waiting")), "begin to work")

    def inject_all(self) -> None:
        """Inject what is left of the plan."""
        before = read_journal(self.journal.path)
        self.done = sum(event["event"] == "injected" for event in before)
        number = max((int(event["number"]) for event in before if "number" in event), default=-1) + 1
        robots = list(self.stage.config.robots)
        while self.done < self.plan.faults:
            fault = self.plan.fault(number, robots, self.joining)
            number += 1
            self._pass(fault.after_s)
            done = inject(self.stage, fault)
            if isinstance(done, str):
                self.journal.append("skipped", number=fault.number, kind=fault.kind, target=fault.target, why=done)
                continue
            self.done += 1
            self.active.append(done)
            self.journal.append("injected", **asdict(fault), pid=done.pid)

    def calm_down(self) -> None:
        """Undo what is not undone, wait until all work, and let them end."""
        for one in self.active:
            one.until_s = min(one.until_s, time.monotonic()) if one.fault.kind != "replace" else one.until_s
        self._until(lambda: not self.active, "calm down")
        before = self._stored()
        self._until(lambda: self._worked_since(before), "work again", fail=False)
        write_json(self.stage.folder / _STATES, (self.state or {"robots": []})["robots"])
        self.agrees = False
        self._until(self._paused, "pause")
        self._deliver()
        for robot in self.joining:  # what was made on the computer that drove it before, too
            if list(self.stage.joined[robot].idle.spool.glob("*/*.episode")):
                self.stage.joined[robot].drives.end()
                self.stage.switch(robot)
        self._until(self._paused, "deliver what is left")
        self._deliver()

    def _deliver(self) -> None:
        self._until(
            lambda: (
                not any(
                    list(spool.glob("*.episode"))
                    for spool in self.stage.spools()
                    if not any(spool.is_relative_to(robot.idle.spool) for robot in self.stage.joined.values())
                )
            ),
            "deliver their episodes",
        )

    def _until(self, what: Callable[[], bool], words: str, *, fail: bool = True) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not what():
            if time.monotonic() > deadline_s:
                if not fail:
                    return
                phases = {robot["name"]: robot["phase"] for robot in (self.state or {"robots": []})["robots"]}
                raise SoarError(
                    f"the rehearsed fleet did not {words} in {_PATIENCE_S:g} s: {phases or 'its coordinator does not answer'}. "
                    f"Its logs are {self.stage.folder / 'computers'}/*/log and {self.stage.run / 'logs'}"
                )
            self._tick()

    def _pass(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._tick()

    def _tick(self) -> None:
        self.stage.tick()
        for one in list(self.active):
            if time.monotonic() >= one.until_s or one.early():
                one.undo()
                self.active.remove(one)
                self.journal.append("undone", number=one.fault.number, kind=one.fault.kind, target=one.fault.target)
        if time.monotonic() - self.asked_s > _ASKS_S and self.stage.up:
            self.asked_s = time.monotonic()
            self.state = self.stage.ask("GET", "/v1/status")
            self._come()
        robots = (self.state or {"robots": []})["robots"]
        counts = Counter(robot["phase"] for robot in robots)
        note = ", ".join(f"{count} {phase}" for phase, count in counts.most_common()) or "the coordinator does not answer"
        if (self.done, note) != self.said:
            self.said = self.done, note
            self.on_tick(self.done, self.plan.faults, note)
        time.sleep(_TICK_S)

    def _come(self) -> None:
        """Be the person who was called."""
        now_s = time.monotonic()
        waiting = [robot["name"] for robot in (self.state or {"robots": []})["robots"] if robot["phase"] == "waiting"]
        self.waits_s = {name: self.waits_s.get(name, now_s) for name in waiting}
        for name, since_s in self.waits_s.items():
            here = self.agrees and now_s - since_s >= self.plan.person_s
            if here and self.stage.ask("POST", "/v1/orders", {"do": "resume", "robots": [name]}) is not None:
                self.waits_s[name] = now_s
                self.journal.append("agreed", target=name)

    def _in(self, phases: Sequence[str]) -> bool:
        robots = (self.state or {"robots": []})["robots"]
        return bool(robots) and all(robot["phase"] in phases for robot in robots)

    def _paused(self) -> bool:
        return self._in(("paused", "waiting")) or self._order("pause", ("collecting", "starting", "away"))

    def _order(self, do: str, phases: Sequence[str]) -> bool:
        """Give an order now and then while a robot is in one of some phases; returns False."""
        now_s = time.monotonic()
        some = any(robot["phase"] in phases for robot in (self.state or {"robots": []})["robots"])
        if some and now_s - self.ordered_s > _ORDERS_S:
            self.ordered_s = now_s
            self.stage.ask("POST", "/v1/orders", {"do": do})
        return False

    def _stored(self) -> dict[str, int]:
        return {robot["name"]: int(robot["stored"]) for robot in (self.state or {"robots": []})["robots"]}

    def _worked_since(self, before: Mapping[str, int]) -> bool:
        now = self._stored()
        return self._in(("collecting",)) and all(count > before.get(name, 0) for name, count in now.items())


def _judged(folder: Path, spools: Sequence[Path], robots: int) -> Rehearsed:
    run, events = folder / "run", read_journal(folder / "injected.jsonl")
    promises = check_promises(
        run,
        spools,
        motions=read_motions(folder / "motions.txt"),
        messages=read_journal(folder / "messages.jsonl", "message"),
        states=parse_json((folder / _STATES).read_text(encoding="utf-8")),
        clock_offset_s=time.time() - time.monotonic(),
    )
    episodes = read_journal(run / "events.jsonl", "episode")
    injected = [event for event in events if event["event"] == "injected"]
    undone = {event["number"]: float(event["time_s"]) for event in events if event["event"] == "undone"}
    back_s = defaultdict[str, list[float]](list)
    seen = read_journal(run / "events.jsonl", "fault")
    for fault in injected:
        ended_s = undone.get(fault["number"], float(fault["time_s"]))
        if fault["kind"] in OF_DRIVER:  # it begins when the robot sees it
            mine = (float(event["time_s"]) for event in seen if event["robot"] == fault["target"])
            ended_s = next((time_s for time_s in mine if time_s > ended_s), ended_s)
        next_s = (float(e["time_s"]) for e in episodes if e["time_s"] > ended_s and fault["target"] in (e["robot"], *_ANYBODY))
        if (first := next(next_s, None)) is not None:
            back_s[str(fault["kind"])].append(first - ended_s)
    return Rehearsed(
        injected=Counter(str(fault["kind"]) for fault in injected),
        back_s=dict(back_s),
        promises=promises,
        episodes=len(episodes),
        robots=robots,
    )
