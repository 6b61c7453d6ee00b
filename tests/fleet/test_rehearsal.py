"""Faults on purpose: what is planned, what is counted, and a small fleet that goes wrong and keeps its promises."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from soar.errors import ConfigError, UnknownNameError
from soar.event_log import Journal, read_journal
from soar.fleet.config import FleetConfig, FleetRobot
from soar.fleet.leases import Holder
from soar.fleet.rehearsal.lines import Line, Lines
from soar.fleet.rehearsal.plan import COORDINATOR, KINDS, MODEL, RehearsalPlan, load_plan
from soar.fleet.rehearsal.promises import Motion, Promise, check_promises
from soar.fleet.rehearsal.rehearsing import rehearse
from soar.fleet.spool import Spool
from tests.fleet.test_ledger import encoded, episode, ledger

ROBOTS, JOINING = ["here", "there"], ["there"]


def test_a_plan_draws_the_same_faults_from_the_same_seed_of_all_kinds_and_for_whom_they_can_be() -> None:
    plan = RehearsalPlan(seed=3)
    faults = [plan.fault(number, ROBOTS, JOINING) for number in range(400)]
    assert faults == [RehearsalPlan(seed=3).fault(number, ROBOTS, JOINING) for number in range(400)]
    assert faults != [RehearsalPlan(seed=4).fault(number, ROBOTS, JOINING) for number in range(400)]
    assert {fault.kind for fault in faults} == set(KINDS)
    for fault in faults:
        whom = {"coordinator": [COORDINATOR], "partition": JOINING, "replace": JOINING}.get(fault.kind.split()[0], ROBOTS)
        assert fault.target in ([MODEL] if fault.kind.endswith("model") else whom)
        assert fault.kind != "freeze" or 0 < fault.lasts_s < plan.lease_s
    few = RehearsalPlan(kinds={"kill": 3, "motor": 1, "clock": 0})
    drawn = Counter(few.fault(number, ROBOTS, JOINING).kind for number in range(400))
    assert set(drawn) == {"kill", "motor"}
    assert drawn["kill"] > 2 * drawn["motor"]


def test_a_plan_that_cannot_be_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("kinds: {kil: 1}\n")
    with pytest.raises(UnknownNameError, match="unknown kind of fault 'kil'; did you mean 'kill'"):
        load_plan(path)
    path.write_text("every_s: 0\n")
    with pytest.raises(ConfigError, match="every_s"):
        load_plan(path)
    fleet = FleetConfig(robots={"one": FleetRobot(workcell="sim:scene1")})
    with pytest.raises(ConfigError, match="replace and partition are faults of robots that join, and no robot"):
        rehearse(fleet, RehearsalPlan(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Answering(BaseHTTPRequestHandler):
    """Answers every request with the same thousand bytes."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def line() -> Iterator[Line]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server, Lines() as lines:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield lines.line_to(server.server_address[1])
        server.shutdown()


def test_a_line_passes_or_is_cut_or_refuses_or_is_wrong(line: Line) -> None:
    url = f"http://127.0.0.1:{line.port}/"
    with httpx2.Client(timeout=300) as client:
        assert client.get(url).content == b"x" * 1000
        line.state = "cut"
        with pytest.raises(httpx2.TimeoutException):
            client.get(url, timeout=0.3)
        line.state = "passes"
        assert client.get(url).content == b"x" * 1000
        line.state = "wrong"
        wrong = client.get(url).content
        assert len(wrong) == 1000
        assert wrong != b"x" * 1000
        line.state = "refuses"
        with pytest.raises((httpx2.NetworkError, httpx2.RemoteProtocolError)):
            client.get(url)


class Rehearsal:
    """What a rehearsal left behind, of one robot; a test makes something wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.run, self.spool = folder, folder / "spool" / "one"
        shared = ledger(folder)
        shared.acquire("one", Holder(host="h", pid=1, nonce="a"))
        self.journal, self.own = Journal(folder / "events.jsonl"), Journal(self.spool / "events.jsonl")
        for number in range(3):
            shared.commit("one", 1, [encoded(number, seed=number)])
            self.own.append("episode", id=encoded(number).id)
            self.journal.append("episode", id=encoded(number).id)
        self.motions = [Motion("one", 1, 0.0, 0.1), Motion("one", 1, 0.2, 0.3), Motion("one", 2, 5.0, 5.1)]
        self.messages: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = [{"name": "one", "phase": "collecting", "detail": ""}]

    def broken(self) -> dict[str, int]:
        promises: list[Promise] = check_promises(
            self.run, [self.spool], motions=self.motions, messages=self.messages, states=self.states, clock_offset_s=1000.0
        )
        return {promise.what: promise.broken for promise in promises if promise.broken}

    def called(self, at_s: float, until_s: float) -> None:
        """A person is called, and agrees later."""
        Journal(self.journal.path, clock=lambda: at_s).append("person_needed", robot="one", detail="hot")
        Journal(self.journal.path, clock=lambda: until_s).append("orders", do="resume", robots=["one"])


@pytest.fixture
def left(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)


def test_a_promise_that_is_kept_is_not_counted(left: Rehearsal) -> None:
    left.called(1000.5, 1004.0)
    left.messages.append({"text": "lab: robot one waits for a person"})
    assert left.broken() == {}


def test_an_episode_that_a_robot_made_and_nobody_has_is_lost_unless_it_waits(left: Rehearsal) -> None:
    left.own.append("episode", id=encoded(7).id)
    assert left.broken() == {"episodes that a robot had made, lost": 1}
    Spool(left.spool, 100).append(episode(7))
    assert left.broken() == {"episodes that wait for delivery at the end": 1}


def test_an_attempt_that_is_stored_under_two_ids_is_there_twice(left: Rehearsal) -> None:
    shared = ledger(left.run)
    shared.acquire("one", Holder(host="h", pid=1, nonce="a"))
    shared.commit("one", 2, [dataclasses.replace(encoded(0, seed=0), id="run-000-one-e2-00000")])
    assert left.broken() == {"episodes stored twice": 1}


def test_a_process_that_moves_after_another_one_followed_it_is_a_second_driver(left: Rehearsal) -> None:
    left.motions += [Motion("one", 1, 6.0, 6.1), Motion("one", 1, 6.2, 6.3), Motion("one", 2, 7.0, 7.1)]
    assert left.broken() == {"steps with two drivers": 2}
    left.motions = [Motion("one", 1, 0.0, 0.5), Motion("one", 2, 0.4, 0.9)]
    assert left.broken() == {"steps with two drivers": 1}


def test_a_robot_that_is_silent_or_waits_without_a_reason_is_counted(left: Rehearsal) -> None:
    left.states = [
        {"name": name, "phase": phase, "detail": detail}
        for name, phase, detail in (("a", "silent", "?"), ("b", "waiting", ""), ("c", "waiting", "hot"))
    ]
    assert left.broken() == {"robots that neither work nor wait with a reason": 2}


def test_a_person_who_is_called_twice_or_not_at_all_or_meets_a_robot_that_moves_is_counted(left: Rehearsal) -> None:
    left.called(1000.5, 1004.0)
    assert left.broken() == {"persons called not once": 1}
    left.messages += [{"text": "lab: robot one waits for a person"}] * 2
    assert left.broken() == {"persons called not once": 1}
    left.messages.pop()
    left.motions.insert(2, Motion("one", 1, 3.0, 3.1))
    assert left.broken() == {"steps while a robot waits for a person": 1}


def test_a_small_fleet_goes_wrong_and_keeps_its_promises_and_the_same_command_goes_on(tmp_path: Path) -> None:
    fleet = FleetConfig(robots={"here": FleetRobot(workcell="x"), "there": FleetRobot(workcell="x", at="join")})
    kinds = {"kill": 1.0, "partition": 1.0, "motor": 1.0, "broken": 1.0, "coordinator kill": 1.0}
    plan = RehearsalPlan(faults=3, every_s=0.5, kinds=kinds, step_s=0.01, steps=4, lease_s=4.0, person_s=0.5, seed=1)
    came = rehearse(fleet, plan, tmp_path)
    assert came.kept, came.promises
    assert sum(came.injected.values()) == 3
    more = rehearse(fleet, dataclasses.replace(plan, faults=4), tmp_path)
    assert more.kept, more.promises
    injected = read_journal(tmp_path / "injected.jsonl", "injected")
    assert [event["number"] for event in injected] == sorted({event["number"] for event in injected})
    assert len(injected) == 4
    assert more.episodes > came.episodes
    assert processes_of(tmp_path) == []


def processes_of(folder: Path) -> list[str]:
    """The processes that were started for a folder and still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").decode())
    return [words for words in found if str(folder) in words]
