"""What a person tells robots without a fleet: they wait at home, go on, or end, between two episodes, and nothing is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import SoarError
from soar.event_log import read_journal
from soar.fleet.collection import collect
from soar.run_orders import Orders
from soar.testing.fakes import FakeVLM
from tests.fleet.test_same_run import SHORT, collected
from tests.improve.tiny import write
from tests.interrupts import heard

CELL = """
robot: {driver: "soar.testing.light:LightRobot", SIMULATED options: {step_s: 0.002}}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {tasks: [put the carrot on the plate, put the carrot in the pot]}
"""
MODELS = Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")
QUICK = dataclasses.replace(SHORT, watch_objects=False)


class Sure(FakeVLM):
    """A model that says yes to everything."""

    def __init__(self) -> None:
        super().__init__(lambda image, question: True)


def bench(folder: Path, simulated: bool = False) -> str:
    return write(folder, "bench.yaml", CELL.replace("SIMULATED", "simulated: true," if simulated else ""))


def does(run: Path) -> str:
    """What the one robot of a run does, as a page would say."""
    try:
        return str(json.loads((run / "live" / "bench.json").read_text())["phase"])
    except FileNotFoundError:
        return ""


def until(what: Callable[[], Any], alive: Callable[[], bool]) -> None:
    while not what():
        assert alive(), what
        time.sleep(0.02)


def test_a_robot_whose_run_is_paused_begins_no_episode_and_says_so_everywhere_until_somebody_resumes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, told = tmp_path / "run", list[tuple[int, dict[str, Any]]]()
    models = dataclasses.replace(MODELS, vlm="tests.fleet.test_orders:Sure")
    orders = Orders(run)

    def on_episode(done: int, total: int, last: dict[str, Any]) -> None:
        told.append((done, last))
        if done == 2 and "instruction" in last:
            orders.give("pause", "ada")

    config = dataclasses.replace(QUICK, episodes=4, robots=1)
    places: dict[str, Any] = {"workcell": bench(tmp_path), "store": run / "episodes", "journal": run / "events.jsonl"}
    how: dict[str, Any] = {"run": "run", "round": 0, "seed": 0, "config": config, "on_episode": on_episode}
    thread = threading.Thread(target=collect, args=(models,), kwargs=places | how, daemon=True)
    thread.start()
    until(lambda: does(run) == "paused by ada" and told[-1][1].get("paused") == "ada", thread.is_alive)
    assert "bench waits. Paused by ada since" in caplog.text
    proposals = len(read_journal(run / "events.jsonl", "proposal"))
    assert (proposals, EpisodeStore(run / "episodes").count()) == (2, 2)
    orders.give("resume", "bob")
    thread.join()
    assert [done for done, last in told if "instruction" in last] == [1, 2, 3, 4]
    assert (2, {"paused": "", "judged": 2}) in told
    assert does(run) == "goes home"
    assert EpisodeStore(run / "episodes").count() == 4
    # Whoever goes on counts what an earlier call made, too.
    how |= {"config": dataclasses.replace(config, episodes=5)}
    collect(models, **places, **how)
    assert [(done, last["judged"]) for done, last in told[-2:]] == [(4, 4), (5, 5)]


def begun(folder: Path, episodes: int = 4) -> subprocess.Popen[str]:
    """`soar collect` in a process of its own."""
    few = ["improvement.collection.rollout.subgoals=1", "improvement.collection.rollout.early_success.every=0"]
    models = ["--policy", MODELS.policy, "--subgoals", MODELS.subgoals, "--vlm", MODELS.vlm]
    what = ["--workcell", "bench.yaml", "--run", "run", "--episodes", str(episodes)]
    return subprocess.Popen(
        [sys.executable, "-m", "soar.cli", "collect", *what, *models, "--set", *few],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        preexec_fn=heard,  # noqa: PLW1509 - see there
    )


def test_a_paused_run_that_is_killed_loses_nothing_says_at_its_start_by_whom_and_ends_at_once_by_ctrl_c(tmp_path: Path) -> None:
    bench(tmp_path)
    run = tmp_path / "run"
    orders = Orders(run)
    first = begun(tmp_path)
    try:
        until(lambda: read_journal(run / "events.jsonl", "episode"), lambda: first.poll() is None)
        orders.give("pause", "ada")
        until(lambda: does(run) == "paused by ada", lambda: first.poll() is None)
        kept = {record.id: record for record in EpisodeStore(run / "episodes").episodes()}
        first.kill()
        first.wait()
        again = begun(tmp_path)
        assert again.stderr is not None
        until(lambda: "Paused by ada since" in again.stderr.readline(), lambda: again.poll() is None)  # type: ignore[union-attr]
        until(lambda: "waits. Paused by ada" in again.stderr.readline(), lambda: again.poll() is None)  # type: ignore[union-attr]
        again.send_signal(signal.SIGINT)
        assert again.wait(60) == 130
        assert {record.id: record for record in EpisodeStore(run / "episodes").episodes()} == kept
        orders.give("resume", "bob")
        last = begun(tmp_path)
        said, _ = last.communicate(timeout=120)
        assert last.returncode == 0
        assert said.startswith("4 episodes of round 0")
    finally:
        first.kill()
    after = {record.id: record for record in EpisodeStore(run / "episodes").episodes()}
    assert sorted(after) == [f"run-000-bench-{number:05d}" for number in range(4)]
    assert {id: after[id] for id in kept} == kept


def test_all_robots_in_processes_end_after_their_episodes_and_the_same_command_goes_on(tmp_path: Path) -> None:
    cell, run = bench(tmp_path, simulated=True), tmp_path / "run"
    config = dataclasses.replace(QUICK, episodes=40, robots=2)
    orders = Orders(run)

    def stop() -> None:
        until(lambda: read_journal(run / "events.jsonl", "episode"), lambda: True)
        orders.give("stop", "ada")

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(SoarError, match=r"stopped by ada: \d+ of the 40 episodes of round 1 are there and kept"):
        collected(run, MODELS, cell, config=config, workers=2)
    records = EpisodeStore(run / "episodes").episodes()
    assert len(records) < 40
    assert len(read_journal(run / "events.jsonl", "proposal")) == len(records), "what was begun was ended"
    more = dataclasses.replace(config, episodes=len(records) + 2)
    assert collected(run, MODELS, cell, config=more, workers=2) == len(records) + 2
