"""What robots are told, and when a person is called."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from soar.errors import SoarError, UnknownNameError
from soar.fleet.config import FaultBudget, Rest
from soar.fleet.status import SILENT, WAITING
from soar.fleet.supervision import SILENT_S, Supervisor
from soar.fleet.telemetry import metrics, read_asked
from soar.prometheus import Histogram
from tests.fleet.test_ledger import Clock

FAULT = {"kind": "fault", "fault": "motor", "detail": "joint 3 is hot"}
EPISODE = {"kind": "episode", "success": True}


class Called(list[tuple[str, str]]):
    """Who was called, and why."""

    def __call__(self, robot: str, why: str) -> None:
        self.append((robot, why))


def beat(*events: dict[str, Any], phase: str = "collecting") -> dict[str, Any]:
    return {"phase": phase, "scene": "scene", "instruction": "", "detail": "", "policy": "p", "events": list(events)}


def supervisor(called: Called | None = None, clock: Clock | None = None, *, rest: Rest | None = None) -> Supervisor:
    return Supervisor(
        ["one", "two"],
        faults=FaultBudget(most=2, of=4),
        rest=rest or Rest(after_h=0),
        call=called if called is not None else Called(),
        clock=clock or Clock(),
    )


def test_too_many_faults_in_the_last_attempts_call_a_person_once_and_the_robot_waits_until_it_is_released() -> None:
    called = Called()
    boss = supervisor(called)
    assert boss.hear("one", beat(FAULT, EPISODE, EPISODE, FAULT)) == {"do": "go", "released": 0}
    assert boss.hear("one", beat(EPISODE, EPISODE, FAULT))["do"] == "go"
    assert boss.hear("one", beat(FAULT, FAULT))["do"] == "hold"
    boss.hear("one", beat(FAULT, phase="paused"))
    assert [robot for robot, _ in called] == ["one"]
    assert "joint 3 is hot" in called[0][1]
    assert boss.status()[0].phase == WAITING
    assert boss.hear("two", beat())["do"] == "go"
    boss.resume(["one"])
    assert boss.hear("one", beat(FAULT)) == {"do": "go", "released": 1}
    assert len(called) == 1


def test_while_a_person_is_called_other_robots_are_heard_and_nobody_is_called_twice() -> None:
    calling, called = threading.Event(), threading.Event()
    names: list[str] = []

    def slowly(robot: str, why: str) -> None:
        names.append(robot)
        calling.set()
        assert called.wait(60)

    boss = Supervisor(["one", "two"], faults=FaultBudget(most=2, of=4), rest=Rest(after_h=0), call=slowly, clock=Clock())
    with ThreadPoolExecutor(1) as pool:
        telling = pool.submit(boss.hear, "one", beat({"kind": "person", "detail": "hot"}))
        assert calling.wait(60)
        assert boss.hear("two", beat(EPISODE))["do"] == "go"
        assert boss.hear("one", beat(FAULT))["do"] == "hold"
        boss.stop(["two"])
        boss.tick()
        called.set()
        assert telling.result()["do"] == "hold"
    assert names == ["one"]


def test_who_cannot_be_told_for_want_of_files_is_told_later_and_nobody_else_waits_for_that() -> None:
    told: list[str] = []
    full = [True]

    def tell(robot: str, why: str = "") -> None:
        if full[0] and robot == "one":
            raise OSError(24, "Too many open files")
        told.append(robot)

    clock = Clock()
    boss = Supervisor(
        ["one", "two"], faults=FaultBudget(most=2, of=4), rest=Rest(after_h=0), call=tell, lost=tell, lost_s=30, clock=clock
    )
    for robot in ("one", "two"):
        assert boss.hear(robot, beat({"kind": "person", "detail": "hot"}))["do"] == "hold"
    assert told == ["two"]
    clock.now_s += 60
    boss.tick()
    boss.tick()
    assert told == ["two", "two"]  # it is not heard of, either
    full[0] = False
    boss.tick()
    assert told == ["two", "two", "one", "one"]


def test_a_robot_that_cannot_be_recovered_calls_a_person() -> None:
    called = Called()
    boss = supervisor(called)
    assert boss.hear("one", beat({"kind": "person", "detail": "10 reboots did not help"}, phase="waiting"))["do"] == "hold"
    assert called == [("one", "10 reboots did not help")]


def test_a_coordinator_that_begins_again_goes_on_with_the_orders_of_the_one_before() -> None:
    events: list[dict[str, Any]] = [
        {"event": "orders", "do": "pause", "robots": "all"},
        {"event": "orders", "do": "resume", "robots": ["two"]},
        {"event": "person_needed", "robot": "one", "detail": "joint 3 is hot"},
        {"event": "person_told", "robot": "one"},
    ]
    called = Called()
    boss = supervisor(called)
    assert boss.remember(events) == []
    assert boss.standing() == ["one"]
    assert boss.hear("one", beat()) == {"do": "hold", "released": 0}
    assert boss.hear("two", beat()) == {"do": "go", "released": 0}
    assert (boss.status()[0].phase, boss.status()[0].detail) == (WAITING, "joint 3 is hot")
    boss.hear("one", beat({"kind": "person", "detail": "joint 3 is hot"}))  # its beat was not answered before
    assert called == []

    agreed = [*events, {"event": "orders", "do": "resume", "robots": "all"}]
    boss = supervisor(called)
    boss.remember(agreed)
    assert boss.hear("one", beat()) == {"do": "go", "released": 1}  # as the one before had said
    boss = supervisor(called)
    boss.remember([{"event": "orders", "do": "stop", "robots": "all"}, {"event": "orders", "do": "stop", "robots": ["one"]}])
    assert [boss.hear(robot, beat())["do"] for robot in ("one", "two")] == ["stop", "go"]


def test_a_person_whose_message_was_not_sent_is_told_by_the_next_coordinator() -> None:
    boss = supervisor()
    assert boss.remember([{"event": "person_needed", "robot": "one", "detail": "hot"}]) == [("one", "hot")]


def test_a_person_who_cannot_be_called_since_the_disk_is_full_is_called_later() -> None:
    full, called = [True], Called()

    def call(robot: str, why: str) -> None:
        if full[0]:
            raise SoarError("no space left")
        called(robot, why)

    boss = Supervisor(["one"], faults=FaultBudget(), rest=Rest(after_h=0), call=call, clock=Clock())
    assert boss.hear("one", beat({"kind": "person", "detail": "hot"}))["do"] == "hold"
    boss.tick()
    full[0] = False
    boss.hear("one", beat(phase="waiting"))
    assert called == [], "a beat waits for no disk"
    for _ in range(2):
        boss.tick()
    assert called == [("one", "hot")]


def test_a_robot_that_is_not_heard_of_is_silent_and_its_hours_are_counted() -> None:
    clock = Clock()
    boss = supervisor(clock=clock)
    boss.hear("one", beat())
    clock.now_s += SILENT_S + 1
    one, two = boss.status()
    assert (one.phase, two.phase) == (SILENT, "not started")
    clock.now_s += 5
    boss.hear("one", beat())
    assert boss.status()[0].seconds == {"not started": 0.0, "collecting": SILENT_S + 1, SILENT: 5.0}


def test_a_person_is_told_once_of_a_robot_that_is_not_heard_of_and_nothing_keeps_it_from_going_on() -> None:
    clock, lost = Clock(), list[str]()
    boss = Supervisor(["one"], faults=FaultBudget(), rest=Rest(after_h=0), lost=lost.append, lost_s=60, clock=clock)
    for told in (["one"], ["one", "one"]):
        assert boss.hear("one", beat())["do"] == "go"
        clock.now_s += 59
        boss.tick()
        assert lost == told[1:]
        clock.now_s += 2
        for _ in range(2):
            boss.tick()
        assert lost == told


def test_a_person_is_told_once_of_a_robot_that_never_comes_and_not_of_one_that_was_stopped() -> None:
    clock, lost = Clock(), list[str]()
    names = ["one", "two", "three"]
    boss = Supervisor(names, faults=FaultBudget(), rest=Rest(after_h=0), lost=lost.append, lost_s=60, clock=clock)
    boss.stop(["three"])
    for _ in range(4):
        clock.now_s += 25
        boss.hear("one", beat())
        boss.tick()
    assert (lost, boss.status()[1].phase) == (["two"], "not started")
    assert boss.hear("two", beat())["do"] == "go"


def test_a_robot_rests_after_its_hours_of_work() -> None:
    clock = Clock()
    boss = supervisor(clock=clock, rest=Rest(after_h=1, for_min=10))
    for _ in range(61):
        told = boss.hear("one", beat())["do"]
        clock.now_s += 60
    assert told == "rest"
    clock.now_s += 300
    assert boss.hear("one", beat(phase="resting"))["do"] == "rest"
    clock.now_s += 300
    assert boss.hear("one", beat(phase="resting"))["do"] == "go"


def test_orders_are_for_some_robots_or_for_all() -> None:
    boss = supervisor()
    boss.pause(["one"])
    assert [boss.hear(robot, beat())["do"] for robot in ("one", "two")] == ["pause", "go"]
    boss.stop()
    assert [boss.hear(robot, beat())["do"] for robot in ("one", "two")] == ["stop", "stop"]
    assert not boss.wanted("two")
    boss.resume()
    assert [boss.hear(robot, beat())["do"] for robot in ("one", "two")] == ["go", "go"]
    boss.enough(True)
    assert boss.hear("one", beat())["do"] == "pause"
    with pytest.raises(UnknownNameError, match="unknown robot 'thre'"):
        boss.pause(["one", "thre"])


def test_metrics_are_what_prometheus_reads() -> None:
    boss = supervisor()
    boss.hear("one", beat(EPISODE, FAULT | {"fault": 'a "motor"\n'}))
    for robot, took_s in (("one", 0.03), ("one", 3.0), ("two", 1000.0)):
        waits = Histogram()
        waits.add(took_s)
        asked = {"fallbacks": 2, "waits": {"subgoal": waits.plain()}}
        boss.hear(robot, beat({"kind": "asked"} | read_asked(asked | {"more": 1})))
    text = metrics(boss.status(), {"one": 5}, {"one": 1})
    assert 'soar_fleet_episodes_stored_total{robot="one"} 5\n' in text
    assert 'soar_fleet_faults_total{robot="one",kind="a \\"motor\\"\\n"} 1\n' in text
    assert 'soar_fleet_phase{robot="one",phase="collecting"} 1\n' in text
    assert 'soar_fleet_fallbacks_total{robot="one"} 4\n' in text
    for bound, count in (("0.02", 0), ("0.05", 1), ("5", 2), ("120", 2), ("+Inf", 3)):
        assert f'soar_fleet_model_wait_seconds_bucket{{kind="subgoal",le="{bound}"}} {count}\n' in text
    assert 'soar_fleet_model_wait_seconds_sum{kind="subgoal"} 1003.03\n' in text
    assert 'soar_fleet_model_wait_seconds_count{kind="subgoal"} 3\n' in text
    assert "policy" not in text
    assert all(line.startswith("#") or line.rpartition(" ")[2].replace(".", "").isdecimal() for line in text.splitlines())


def test_waits_that_cannot_be_read_are_nobodys() -> None:
    good = [0] * 14 + [0.0]
    for wrong in (None, [], [1.5, *good[1:]], [-1, *good[1:]], [True, *good[1:]], [*good[:-1], float("nan")], [*good, 1], "x"):
        asked = read_asked(
            {"fallbacks": "many", "saved": -3, "ended": 1.0, "waits": {"subgoal": wrong, "policy": good, "other": good}}
        )
        assert asked == {"fallbacks": 0, "saved": 0, "ended": 0, "waits": {"policy": good}}
    assert read_asked({"waits": [good]})["waits"] == {}


def test_episodes_on_the_disks_of_robots_that_are_heard_of_count() -> None:
    clock = Clock()
    boss = supervisor(clock=clock)
    boss.hear("one", beat() | {"waiting": 3})
    boss.hear("two", beat() | {"waiting": 2})
    assert boss.waiting() == 5
    clock.now_s += SILENT_S + 1
    boss.hear("two", beat() | {"waiting": 1})
    boss.status()
    assert boss.waiting() == 1  # who knows when the other one comes back
