"""Robots as they are now, and orders to them, over HTTP and with a real coordinator."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soar.collect.live import LiveView
from soar.collect.models import Models
from soar.collect.preset import load_collection
from soar.console.live import FORGOTTEN_S, STALE_S, Live
from soar.console.sources import open_sources
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.files import write_json
from soar.fleet.config import FleetConfig, FleetRobot
from soar.fleet.coordinator import Fleet, Tokens, coordinator_application
from soar.fleet.deploying import Deployments
from tests.collect.test_live import step
from tests.console.building import Client, console, make_run
from tests.fleet.test_ledger import ledger
from tests.fleet.test_supervision import supervisor
from tests.serving.running import running

FLEET_TOKEN = "the-token-of-the-fleet"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path, 2)


def test_robots_of_a_run_and_of_a_fleets_spools_are_shown(run: Path) -> None:
    LiveView(run / "live", "bench")(step(3))
    LiveView(run / "spool" / "left" / "live", "../..")(step(4))
    (run / "live" / "junk.json").write_text("[1, 2")
    (run / "live" / "other.json").write_text('{"schema": 99}')
    (run / "live" / "progress.json").write_text("{}")
    with console(run) as url:
        said = Client(url).get("/s/run/live/next").json()
    assert [(robot["robot"], robot["step"]) for robot in said["robots"]] == [("../..", 4), ("bench", 3)]
    assert all(robot["camera"] for robot in said["robots"])


def test_a_page_is_answered_when_there_is_something_new(run: Path) -> None:
    view = LiveView(run / "live", "bench")
    view(step(1))
    with console(run) as url:
        client = Client(url)
        first = client.get("/s/run/live/next").json()["robots"][0]
        threading.Timer(0.5, lambda: LiveView(run / "live", "bench")(step(2))).start()
        begun_s = time.monotonic()
        second = client.get(f"/s/run/live/next?vbench={first['version']}").json()["robots"][0]
        assert second["step"] == 2
        assert time.monotonic() - begun_s > 0.4
        assert client.get("/s/run/live/next", vbench="x" * 1000).status_code == 200


def test_a_robot_that_says_nothing_any_more_is_gone_and_later_forgotten(run: Path) -> None:
    LiveView(run / "live", "bench", clock=lambda: 1000.0)(step(1))
    source = open_sources([str(run)])["run"]
    for age_s, gone in ((1.0, [False]), (STALE_S + 1, [True]), (FORGOTTEN_S + 1, [])):
        assert [robot["gone"] for robot in Live(source, clock=lambda age_s=age_s: 1000.0 + age_s).robots()] == gone  # type: ignore[misc]


@pytest.fixture
def fleet(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Fleet]]:
    """A coordinator that works in the run, and the console beside it."""
    monkeypatch.setenv("SOAR_TOKEN", FLEET_TOKEN)
    journal = Journal(run / "events.jsonl")
    config = FleetConfig(robots={name: FleetRobot(workcell="sim:scene1", at="join") for name in ("one", "two")})
    made = Fleet(
        config=config,
        collection=load_collection("laptop", ()).improvement.collection,
        models=Models(policy="p", subgoals="s", vlm="v"),
        ledger=ledger(tmp_path / "ledger"),
        supervisor=supervisor(),
        journal=journal,
        deployments=Deployments(run / "deployed", journal, config.robots, round=0, first="old", decide=canary_verdict),
    )
    with running(coordinator_application(made, Tokens(operator=FLEET_TOKEN))) as coordinator, console(run) as url:
        write_json(run / "fleet.json", {"url": coordinator, "pid": 1})
        yield url, made


def told(fleet: Fleet, robot: str) -> str:
    return str(fleet.supervisor.hear(robot, {"phase": "collecting"})["do"])


def test_an_operator_pauses_resumes_and_releases_robots_and_the_journal_says_who(fleet: tuple[str, Fleet], run: Path) -> None:
    url, made = fleet
    client = Client(url)
    state = client.get("/s/run/fleet").json()["state"]
    assert [robot["name"] for robot in state["robots"]] == ["one", "two"]
    assert "Fleet" in client.page("/s/run/live")
    assert client.post("/s/run/orders", do="pause", who="ada", robots=["one"]).status_code == 200
    assert (told(made, "one"), told(made, "two")) == ("pause", "go")
    made.supervisor.hold("two", "it lies on its side")
    assert told(made, "two") == "hold"
    for robot in ("one", "two"):
        client.post("/s/run/orders", do="resume", who="bob", robots=[robot])
    assert (told(made, "one"), told(made, "two")) == ("go", "go")
    client.post("/s/run/orders", do="stop", who="ada")
    assert told(made, "one") == "stop"
    events: list[Any] = [(e["do"], e["robots"], e["by"]) for e in read_journal(run / "events.jsonl", "ordered")]
    assert events == [("pause", ["one"], "ada"), ("resume", ["one"], "bob"), ("resume", ["two"], "bob"), ("stop", "all", "ada")]
    assert "by ada" in client.page("/s/run/run")


def test_orders_that_cannot_be_given_are_explained(fleet: tuple[str, Fleet], run: Path) -> None:
    url, _ = fleet
    client = Client(url)
    unknown = client.post("/s/run/orders", do="pause", who="ada", robots=["three"])
    assert unknown.status_code == 502
    assert "three" in unknown.text
    assert client.post("/s/run/orders", do="pause", who="").status_code == 422
    assert client.post("/s/run/orders", do="dance", who="ada").status_code == 422
    assert client.post("/s/run/orders", do="deploy", who="ada", policy="/nowhere").status_code == 502
    (run / "fleet.json").unlink()
    none = client.post("/s/run/orders", do="pause", who="ada")
    assert none.status_code == 409
    assert "is no fleet that runs" in none.text
    assert client.get("/s/run/fleet").json() == {"state": None}


def test_a_stop_of_the_arms_is_done_as_without_the_console_and_journaled(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from soar.robots.stopping import StopSwitch

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    switch = StopSwitch("bench")
    with console(run) as url:
        answer = Client(url).post("/s/run/orders", do="stop arms", who="ada")
        assert answer.json() == {"stopped": [{"name": "bench", "still": True}]}
    assert switch.pressed
    event = read_journal(run / "events.jsonl", "ordered")[-1]
    assert (event["do"], event["robots"], event["by"]) == ("stop arms", ["bench"], "ada")
