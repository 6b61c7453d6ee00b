"""Robots as they are now, and orders to them, over HTTP and with a real coordinator."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from soar.collect.live import LiveView
from soar.collect.models import Models
from soar.collect.preset import load_collection
from soar.console.live import FORGOTTEN_S, STALE_S, Live
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.files import write_json
from soar.fleet.config import FleetConfig, FleetRobot
from soar.fleet.coordinator import Fleet, Tokens, coordinator_application
from soar.fleet.deploying import Deployments
from soar.policies.lineage import Lineage
from soar.policies.named import Named, write_named
from soar.run_folder import RunFolder
from soar.run_orders import Orders
from soar.tasks.off_limits import OffLimits
from tests.collect.test_live import step
from tests.console.building import TOKENS, Client, console, make_run
from tests.fleet.test_ledger import ledger
from tests.fleet.test_same_run import SHORT, collected
from tests.fleet.test_supervision import supervisor
from tests.improve.tiny import write
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


def test_what_a_hostile_robot_leaves_is_no_more_than_text_and_small_pictures(run: Path) -> None:
    LiveView(run / "live", "../..")(step(1))
    (path,) = (run / "live").glob("*.json")
    assert path.name == "%2E%2E%2F%2E%2E.json"
    said = json.loads(path.read_text())
    jpeg = base64.b64decode(said["camera"])
    at = jpeg.index(b"\xff\xc0") + 5
    giant = jpeg[:at] + (60_000).to_bytes(2) * 2 + jpeg[at + 4 :]
    said |= {"camera": base64.b64encode(giant).decode(), "subgoal": "<svg onload=alert(1)>"}
    said |= {
        "attempts": [None, 3, {"id": {"a": []}, "success": "yes", "probability": 0.5}],
        "answers": [["x"]],
        "faults": ["y"],
    }
    path.write_text(json.dumps(said))
    (robot,) = Live(open_sources([str(run)])["run"]).robots()
    assert (robot["robot"], robot["camera"], robot["subgoal"]) == ("../..", "", "")
    assert robot["attempts"] == [{"id": "{'a': []}", "success": "yes", "probability": 0.5}]
    assert robot["answers"] == robot["faults"] == []
    with console(run) as url:
        for version in ("9" * 5000, "²", "-1"):
            assert len(Client(url).get("/s/run/live/next", **{f"v{robot['key']}": version}).json()["robots"]) == 1


def test_a_page_is_answered_when_there_is_something_new(run: Path) -> None:
    view = LiveView(run / "live", "bench")
    view(step(1))
    with console(run) as url:
        client = Client(url)
        first = client.get("/s/run/live/next").json()["robots"][0]
        threading.Timer(0.5, lambda: LiveView(run / "live", "bench")(step(2))).start()
        second = client.get(f"/s/run/live/next?vbench={first['version']}").json()["robots"][0]
        assert second["step"] == 2, "who asks before there is anything new is answered once there is"
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


def test_an_operator_sets_a_task_off_limits_and_back_and_the_journal_says_who(run: Path, tmp_path: Path) -> None:
    limits = OffLimits(run)
    EpisodeStore(tmp_path / "store", mode="create")
    with console(run, tmp_path / "store") as url:
        client = Client(url)
        off = {"do": "set off limits", "who": "ada", "task": " open the drawer "}
        assert Client(url, "labeller").post("/s/run/orders", **off).status_code == 403
        for _ in range(2):  # what is off limits already is no news
            assert client.post("/s/run/orders", **off).json() == {"off_limits": ["open the drawer"]}
        assert limits.now() == {"open the drawer"}
        page = client.page("/s/run/run")
        assert 'data-allow="open the drawer"' in page
        assert "set off limits open the drawer" in page
        assert "data-allow" not in Client(url, "viewer").page("/s/run/run")
        assert client.post("/s/run/orders", **off | {"task": " "}).status_code == 422
        assert client.post("/s/store/orders", **off).status_code == 409
        assert client.post("/s/run/orders", **off | {"do": "allow", "who": "bob"}).json() == {"off_limits": []}
        assert limits.now() == frozenset()
    events = [
        tuple(event[key] for key in ("do", "task", "by", "token")) for event in read_journal(run / "events.jsonl", "ordered")
    ]
    set_off = ("set off limits", "open the drawer", "ada", "operator")
    assert events == [set_off, ("allow", "open the drawer", "bob", "operator")]


def test_two_consoles_that_set_tasks_off_limits_at_once_lose_none(run: Path) -> None:
    tasks = [f"task {number}" for number in range(24)]
    with console(run) as one, console(run) as other, ThreadPoolExecutor(8) as people:
        clients = [Client(one), Client(other)]

        def forbid(number: int) -> int:
            said = clients[number % 2].post("/s/run/orders", do="set off limits", who="ada", task=tasks[number])
            return said.status_code

        assert set(people.map(forbid, range(len(tasks)))) == {200}
    assert OffLimits(run).now() == set(tasks)


LIGHT = """
robot: {driver: "soar.testing.light:LightRobot", options: {step_s: 0.005}}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {tasks: [put the carrot on the plate, put the carrot in the pot]}
"""
PAGES = 100


class OpenPages:
    """Many live pages, a few of which look at the run and its episodes, too; a context manager."""

    def __init__(self, url: str) -> None:
        self._url, self._ended, self._answers = url, threading.Event(), [0] * PAGES
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> OpenPages:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def until_each_was_answered(self, times: int) -> None:
        while min(self._answers) < times:
            assert self._thread.is_alive()
            time.sleep(0.02)

    async def _page(self, client: httpx2.AsyncClient, number: int) -> None:
        query = ""
        while True:
            try:
                said = (await client.get(f"/s/run/live/next?{query}")).raise_for_status().json()
            except httpx2.TransportError:  # as a page does
                await asyncio.sleep(0.5)
                continue
            query = "&".join(f"v{robot['key']}={robot['version']}" for robot in said["robots"])
            if number % 50 == 0:
                with contextlib.suppress(httpx2.TransportError):
                    assert (await client.get("/s/run/run")).status_code == 200
                    assert (await client.get("/s/run/episodes")).status_code in (200, 400)  # there may be none yet
            self._answers[number] += 1

    async def _all(self) -> None:
        headers, limits = {"Authorization": f"Bearer {TOKENS['viewer']}"}, httpx2.Limits(max_connections=PAGES)
        async with httpx2.AsyncClient(base_url=self._url, headers=headers, timeout=600, limits=limits) as client:
            tasks = [asyncio.create_task(self._page(client, number)) for number in range(PAGES)]
            while not self._ended.is_set() and not any(task.done() for task in tasks):
                await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()  # raises what went wrong
                task.cancel()


def test_a_hundred_open_pages_change_nothing_in_what_a_robot_does(tmp_path: Path) -> None:
    cell = write(tmp_path, "bench.yaml", LIGHT)
    models = Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")
    config = replace(SHORT, episodes=5, robots=1)
    alone, watched = tmp_path / "alone", tmp_path / "watched" / "run"
    collected(alone, models, cell, config=config)
    LiveView(watched / "live", "a robot of before")(step(1))
    with console(watched) as url, OpenPages(url) as pages:
        pages.until_each_was_answered(1)  # all are open
        collected(watched, models, cell, config=config)
        pages.until_each_was_answered(2)  # and all saw the robot
    stores = [EpisodeStore(run / "episodes") for run in (alone, watched)]
    ids = [sorted(record.id for record in store.episodes()) for store in stores]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 5
    for id in ids[0]:
        mine, theirs = (store.read_encoded(id) for store in stores)
        assert (mine.instruction, mine.provenance) == (theirs.instruction, theirs.provenance)
        assert [bytes(frame) for frame in mine.frames] == [bytes(frame) for frame in theirs.frames]
        np.testing.assert_array_equal(mine.actions_TD, theirs.actions_TD)
        np.testing.assert_array_equal(mine.states_TD, theirs.states_TD)
    events = [Counter(event["event"] for event in read_journal(run / "events.jsonl")) for run in (alone, watched)]
    assert events[0] == events[1]


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
    (run / "config.yaml").write_text("command: soar fleet up\n")  # its coordinator has ended
    none = client.post("/s/run/orders", do="pause", who="ada")
    assert none.status_code == 409
    assert "is no fleet that runs" in none.text
    assert client.get("/s/run/fleet").json() == {"state": None}


def test_an_operator_pauses_resumes_stops_and_gives_another_policy_to_a_run_without_a_fleet(run: Path) -> None:
    for number in (0, 1):
        write_named(Named(id=f"gcbc-{number}", behind="x", name="x", folder=RunFolder(run).policy(number)), Lineage())
    RunFolder(run).policy(2).mkdir()  # which is being trained
    RunFolder(run).point_at(1)
    orders = Orders(run)
    with console(run) as url:
        client = Client(url)
        page = client.page("/s/run/live")
        for part in ("Pause all", "Resume all", "1: gcbc-1 (in use)", "0: gcbc-0<"):
            assert part in page
        assert "Pause all" not in Client(url, "viewer").page("/s/run/live")
        assert Client(url, "labeller").post("/s/run/orders", do="pause", who="ada").status_code == 403
        assert client.get("/s/run/fleet").json() == {"state": {"words": "", "works": False, "finished": ""}}
        said = client.post("/s/run/orders", do="pause", who=" ada ").json()["state"]["words"]
        assert said.startswith("Paused by ada since ")
        assert client.post("/s/run/orders", do="deploy", who="ada", policy="0").status_code == 200
        wrong = client.post("/s/run/orders", do="deploy", who="ada", policy="2")
        assert (wrong.status_code, "its robots may use 1, 0" in wrong.text) == (422, True)
        assert client.post("/s/run/orders", do="stop", who="bob").status_code == 200
        standing = orders.now()
        assert [order and order.by for order in (standing.paused, standing.deploy, standing.stopped)] == ["ada", "ada", "bob"]
        assert standing.deploy is not None
        assert standing.deploy.policy == 0
        client.post("/s/run/orders", do="resume", who="bob")
        assert orders.now().paused is None
        assert "deploy all: policy 0" in client.page("/s/run/run")
        (run / "config.yaml").write_text("command: soar collect\n")
        assert "which has one policy" in client.post("/s/run/orders", do="deploy", who="ada", policy="0").text
        assert "Deploy" not in client.page("/s/run/live")
    events = [(event["do"], event["by"], event["robots"]) for event in read_journal(run / "events.jsonl", "ordered")]
    assert events == [(do, by, "all") for do, by in (("pause", "ada"), ("deploy", "ada"), ("stop", "bob"), ("resume", "bob"))]


def test_a_stop_of_the_arms_is_done_as_without_the_console_and_journaled(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from soar.robots import stopping

    monkeypatch.setattr(stopping, "_folders", lambda: [tmp_path])
    switch = stopping.StopSwitch("bench")
    with console(run) as url:
        answer = Client(url).post("/s/run/orders", do="stop arms", who="ada")
        assert answer.json() == {"stopped": [{"name": "bench", "still": True}]}
    assert switch.pressed
    event = read_journal(run / "events.jsonl", "ordered")[-1]
    assert (event["do"], event["robots"], event["by"]) == ("stop arms", ["bench"], "ada")
