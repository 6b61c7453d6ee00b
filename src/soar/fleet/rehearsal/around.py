"""What stands around a fleet that is rehearsed: ears for what its arms say, a person's telephone, a subgoal server."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from soar.event_log import Journal
from soar.fleet.rehearsal.lines import HOST
from soar.subgoals.loading import load_subgoal_model
from soar.untrusted import parse_json

FAKE = "soar.testing:Fake{}"
"""The models of a rehearsal."""


@contextlib.contextmanager
def motions(path: Path) -> Iterator[str]:
    """Write down what the arms say, within; yields the socket to which they say it."""
    with tempfile.TemporaryDirectory(prefix="soar-") as short, path.open("ab") as file:
        name = str(Path(short) / "told")
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.bind(name)

        def listen() -> None:
            while data := told.recv(256):
                file.write(data + b"\n")

        thread = threading.Thread(target=listen, name="motions", daemon=True)
        thread.start()
        try:
            yield name
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"", name)
            thread.join(10.0)
            told.close()


@contextlib.contextmanager
def telephone(journal: Journal) -> Iterator[str]:
    """Take the messages for persons, within; yields the webhook's URL."""

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = parse_json(self.rfile.read(int(self.headers["Content-Length"])).decode())
            journal.append("message", text=said["text"], picture=len(said.get("picture", "")))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, name="webhook", daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}/"
        finally:
            server.shutdown()


@contextlib.contextmanager
def subgoal_server(token: str) -> Iterator[int]:
    """Serve the fake subgoal model, within; yields the port."""
    import uvicorn  # needs what servers need

    from soar.serving.application import ServiceConfig
    from soar.serving.auth import Auth, AuthConfig
    from soar.serving.listening import listen, protected
    from soar.serving.subgoals import subgoal_application

    app = Auth(
        subgoal_application(load_subgoal_model(FAKE.format("Subgoals")), ServiceConfig()),
        AuthConfig(token=token, bytes=2**24),
    )
    listener = listen(HOST, 0)
    listener.listen()
    server = uvicorn.Server(protected(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="subgoals", daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10.0)
