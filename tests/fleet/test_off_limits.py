"""Tasks that a person sets off limits while robots practise: none of them is begun from the next episode on."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.event_log import read_journal
from soar.tasks.off_limits import OffLimits
from tests.fleet.test_same_run import SHORT, collected
from tests.improve.tiny import write

CARROT, POT = "put the carrot on the plate", "put the carrot in the pot"
CELL = f"""
robot: {{driver: "soar.testing.light:LightRobot", options: {{step_s: 0.0001}}}}
workspace: {{low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}}
scene: {{tasks: [{CARROT}, {POT}]}}
"""
MODELS = Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")


def attempted(run: Path) -> list[str]:
    return [event["instruction"] for event in read_journal(run / "events.jsonl", "proposal")]


def test_robots_leave_a_task_alone_and_wait_when_none_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cell, run = write(tmp_path, "bench.yaml", CELL), tmp_path / "run"
    config = dataclasses.replace(SHORT, episodes=2, robots=1, watch_objects=False)
    collected(run, MODELS, cell, config=config)
    assert set(attempted(run)) == {CARROT, POT}
    limits = OffLimits(run)
    limits.write([POT])
    collected(run, MODELS, cell, config=dataclasses.replace(config, episodes=6))
    assert attempted(run)[2:] == [CARROT] * 4
    assert [event["off_limits"] for event in read_journal(run / "events.jsonl", "proposal")] == [[]] * 2 + [[POT]] * 4
    limits.write([POT, CARROT])
    more = dataclasses.replace(config, episodes=7)
    thread = threading.Thread(target=collected, args=(run, MODELS, cell), kwargs={"config": more}, daemon=True)
    thread.start()
    while "waits: a person has set all tasks of bench off limits" not in caplog.text:
        assert thread.is_alive()
        time.sleep(0.02)
    assert len(attempted(run)) == 6
    limits.write([CARROT])
    thread.join()
    assert attempted(run)[6:] == [POT]
