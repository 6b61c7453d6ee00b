"""One robot's session outside of a fleet."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from soar.collect.config import CollectionConfig
from soar.collect.models import Models
from soar.errors import RobotFault
from soar.event_log import read_journal
from soar.fleet.session import SessionConfig, run_session
from soar.robots.workcell import open_workcell
from soar.tasks.proposal import ProposalConfig

CELL = """
name: bench
robot:
  driver: soar.testing.light:LightRobot
  options: {step_s: 0.0, faults: FAULTS}
scene: {tasks: [put the carrot on the plate]}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.25]}
"""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[Any]]]:
    """Its URL, and the messages that came."""
    received: list[Any] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", received
        server.shutdown()


def session(folder: Path, notify: str) -> SessionConfig:
    return SessionConfig(
        models=Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM"),
        workcell=str(folder / "bench.yaml"),
        robot="bench",
        image_size=None,
        store=str(folder / "episodes"),
        journal=str(folder / "events.jsonl"),
        episodes=1,
        run="night",
        round=0,
        seed=0,
        config=CollectionConfig(watch_objects=False, proposal=ProposalConfig(notify=notify)),
    )


def test_a_person_is_told_of_a_robot_that_cannot_be_recovered(tmp_path: Path, webhook: tuple[str, list[Any]]) -> None:
    url, received = webhook
    faults = tmp_path / "faults"
    faults.mkdir()
    (tmp_path / "bench.yaml").write_text(CELL.replace("FAULTS", str(faults)))
    with open_workcell(str(tmp_path / "bench.yaml")) as workcell:
        run_session(workcell, session(tmp_path, url))
        assert not received, "nothing is wrong"
        (faults / "broken").touch()
        with pytest.raises(RobotFault, match="bench: injected motor fault"):
            run_session(workcell, dataclasses.replace(session(tmp_path, url), episodes=2))
    (message,) = received
    assert message["text"].startswith("bench waits for a person and does not move: ")
    assert len(read_journal(tmp_path / "events.jsonl", "person_told")) == 1
