"""A coordinator at work: what it does not begin with, and who keeps whom from working."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from soar.errors import SoarError
from soar.evaluation.canary import canary_verdict
from soar.event_log import read_journal
from soar.fleet import running, underway
from soar.fleet.asking import ADDRESS
from soar.fleet.config import FleetConfig, FleetModels, FleetRobot
from soar.fleet.launching import RobotProcesses, Starter
from soar.fleet.link import Coordinator
from soar.remote.client import RemoteConfig
from soar.tasks.off_limits import FILE
from tests.fleet.test_coordinator import acquire
from tests.fleet.test_link import SECRET, coordinator
from tests.fleet.test_supervision import beat

FAKES = FleetModels(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")


def test_a_damaged_list_of_what_is_off_limits_is_one_error_before_any_robot_joins(tmp_path: Path) -> None:
    run, config = tmp_path / "run", FleetConfig(robots={"one": FleetRobot(workcell="sim:scene1", at="join")}, models=FAKES)
    run.mkdir()
    (run / FILE).write_text('{"sch')
    with pytest.raises(SoarError, match=r"off_limits\.json: cannot be read .*It says what no robot may attempt: mend it"):
        running.run_fleet(config, run, decide=canary_verdict, on_ready=lambda url: pytest.fail("it listens"))
    assert not (run / ADDRESS).exists()


def test_a_robot_that_brings_nothing_is_told_of_and_keeps_no_other_from_collecting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(underway, "PATIENCE_S", 0.5)
    over = threading.Event()
    with coordinator(tmp_path) as (fleet, url):
        fleet.config = replace(fleet.config, episodes=4)
        starter = Starter(url=url, token=SECRET, spool=tmp_path / "spool", logs=tmp_path / "logs")
        fleet.processes = RobotProcesses(robots=[], starter=starter, supervisor=fleet.supervisor)
        robots = Coordinator(RemoteConfig(url=url, retries=0), 60.0, token=SECRET)
        epochs = {name: acquire(robots, name) for name in ("one", "two")}

        def told(name: str, **said: Any) -> str:
            body = {"robot": name, "epoch": epochs[name]} | beat() | said
            return str(robots.request("POST", "/v1/beat", body)["do"])

        told("one", waiting=4)
        args = (fleet, lambda done, total, robots: None, over.is_set, lambda: False, False)
        thread = threading.Thread(target=running._watch, args=args, daemon=True)
        thread.start()
        try:
            for wanted in ("pause", "go"):
                while told("two") != wanted:
                    told("one", waiting=4)
                    assert thread.is_alive()
                    time.sleep(0.02)
        finally:
            over.set()
            for name in epochs:
                told(name, waiting=4 if name == "one" else 0, phase="stopped")
            thread.join()
    (event,) = read_journal(tmp_path / "events.jsonl", "undelivered")
    assert (event["robot"], event["waiting"]) == ("one", 4)
    assert "one has 4 episodes on its disk" in caplog.text
