from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from soar.tasks import PresenceChecker, presence_question, task_from_instruction
from soar.tasks.notification import MissingObjectWebhook

from .answering import IMAGE, Answering

TASK = task_from_instruction("put the carrot on the plate")


class Hook(BaseHTTPRequestHandler):
    """Refuses the first message of each test with 500."""

    received: ClassVar[list[dict[str, str]]] = []
    refusals = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if Hook.refusals:
            Hook.refusals -= 1
            self.send_response(500)
        else:
            Hook.received.append(body)
            self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Hook.received = []
    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()


def test_one_message_each_time_that_an_object_disappears(url: str) -> None:
    Hook.refusals = 1
    webhook = MissingObjectWebhook(url, "robot-3", wait_s=0.0)
    there = {presence_question("carrot"): "yes", presence_question("plate"): "yes"}
    vlm = Answering(there)
    checker = PresenceChecker(vlm, [TASK], webhook)
    for carrot in ("yes", "no", "no", "yes", "no"):
        vlm.answers = {**there, presence_question("carrot"): carrot}
        checker.check(IMAGE)
        webhook.flush()
    assert len(Hook.received) == 2
    assert Hook.received[0]["text"].startswith("robot-3: the carrot is missing")


def test_a_messenger_that_is_away_is_logged_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    webhook = MissingObjectWebhook("http://127.0.0.1:9/hook", "robot-3", wait_s=0.0)
    webhook("carrot")
    webhook.flush()
    assert "try 3 of 3" in caplog.text
