"""A person is called once, with the robot's last picture."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest

from soar.episodes import jpeg
from soar.errors import SoarError
from soar.event_log import Journal, read_journal
from soar.fleet.calling import PersonCaller, keep_picture, small_picture

PICTURE = np.full((480, 640, 3), (200, 30, 30), np.uint8)


@pytest.fixture
def messages() -> Iterator[tuple[str, Queue[Any]]]:
    came: Queue[Any] = Queue()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", came
        server.shutdown()


def test_a_message_says_what_happened_and_shows_the_last_picture(tmp_path: Path, messages: tuple[str, Queue[Any]]) -> None:
    url, came = messages
    journal = Journal(tmp_path / "events.jsonl")
    keep_picture(journal, "one", small_picture(PICTURE))
    PersonCaller(url, "lab", journal)("one", "joint 3 is hot")
    message = came.get(timeout=600)
    assert message["text"] == "lab: robot one waits for a person and does not move: joint 3 is hot"
    kind, _, data = message["picture"].partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = jpeg.decode(base64.b64decode(data))
    assert shown.shape == (240, 320, 3)
    assert np.abs(shown.astype(int) - (200, 30, 30)).max() < 10
    while not read_journal(journal.path, "person_told"):
        pass
    assert [event["event"] for event in read_journal(journal.path)] == ["person_needed", "person_told"]


def test_a_call_that_cannot_be_written_down_is_not_told_twice(tmp_path: Path, messages: tuple[str, Queue[Any]]) -> None:
    url, came = messages
    journal = Journal(tmp_path / "journal" / "events.jsonl")
    (tmp_path / "journal").write_text("no folder")
    call = PersonCaller(url, "lab", journal)
    for _ in range(2):
        with pytest.raises(SoarError, match="cannot write the journal"):
            call("one", "hot")
    (tmp_path / "journal").unlink()
    call("one", "hot")
    came.get(timeout=600)
    assert came.empty()
    assert len(read_journal(journal.path, "person_needed")) == 1
    call("one", "hot again")
    assert came.get(timeout=600)["text"].endswith("hot again")


@pytest.mark.parametrize("sent", [None, 7, "no base64!", base64.b64encode(b"no picture").decode(), "a" * 2**20])
def test_what_is_no_picture_is_not_kept(tmp_path: Path, sent: Any) -> None:
    keep_picture(Journal(tmp_path / "events.jsonl"), "one", sent)
    assert list(tmp_path.iterdir()) == []
