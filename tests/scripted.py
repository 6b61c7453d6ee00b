"""An HTTP server in a thread that answers whatever a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Scripted:
    """What to say: the same to everybody, or by path.

    Attributes:
        status: Of every answer.
        headers: Of every answer.
        body: Of every answer whose path has none of its own.
        bodies: By path.
        paths: What was asked for.
        sent: Headers and bodies of requests.
    """

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.headers: dict[str, str] = {}
        self.bodies: dict[str, Any] = {}
        self.paths: list[str] = []
        self.sent: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    def says(self, **bodies: Any) -> None:
        """Say these things, by the last part of the path."""
        self.status, self.headers, self.bodies = 200, {}, bodies


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Run one."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply()

        def do_POST(self) -> None:
            self.reply()

        def reply(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.paths.append(self.path)
            script.sent.append((dict(self.headers), data))
            found = script.bodies.get(self.path.rpartition("/")[2])
            body = script.body if found is None else found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response_only(script.status)
            for name, value in {"Content-Length": str(len(body)), **script.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
