"""A robot behind HTTP, for a client in another environment (`soar.robots.remote`). Python's own library and the core suffice.

    client ── one connection ──►  token, sizes  ──►  RobotHost: session  ──►  SafeRobot  ──►  Driver  ──►  the user's driver

The connection that says `open` is the session; from any other one `halt` stops the arm, as `soar robot stop` does here.
A call that comes while another one is in flight ends the session; so do `close`, the loss of the connection (noticed within
`_GONE_S`, also when the other machine lost its power), and `silence_s` without a call. Then the driver's `close` leaves the arm
safe, as it does when this process ends.

A request is complete within `_SLOW_S` of its first byte, or dropped. Of more than `_STRANGERS` connections without a session
the oldest is closed, so that nobody is kept out by those who hold many.
"""

from __future__ import annotations

import contextlib
import hmac
import http.server
import io
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from soar.errors import ConfigError
from soar.robots.remote import PATH
from soar.serving.robot_host import REQUEST_BYTES, RefusedError, RobotHost, RobotServerConfig
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
_STRANGERS, _CONNECTIONS = 16, 64
_SLOW_S = 10.0
"""Longest time that a request takes to come, or an answer to be taken."""
_GONE_S = 10


@contextlib.contextmanager
def serving(config: RobotServerConfig) -> Iterator[RobotServer]:
    """Offer a robot, and yield the server, whose `serve_forever` answers; at the end the arm is left safe.

    Raises:
        ConfigError: The driver cannot be used, or the port is taken.
    """
    try:
        server = RobotServer(config)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror or error}. Choose another --port, or 0 for any."
        ) from error
    try:
        server.host = RobotHost(config)
        yield server
    finally:
        server.server_close()
        if server.host is not None:
            server.host.end()


class RobotServer(http.server.ThreadingHTTPServer):
    """Listens; a thread a connection, and not too many of them."""

    daemon_threads = True
    request_queue_size = _CONNECTIONS
    host: RobotHost | None = None

    def __init__(self, config: RobotServerConfig) -> None:
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._strangers: dict[socket.socket, None] = {}  # in the order in which they came
        self._lock = threading.Lock()
        self.token = f"Bearer {config.token}".encode()
        self.address_family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        super().__init__((config.host, config.port), _Handler)
        self.url = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own; one that came long ago, and has no session, makes room."""
        with self._lock:
            self._strangers[request] = None
            oldest = next(iter(self._strangers)) if len(self._strangers) > _STRANGERS else None
            if oldest is not None:
                del self._strangers[oldest]
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread finds out
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.is_known(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.is_known(request)
            self._places.release()

    def is_known(self, request: Any) -> None:
        """Do not close this connection for others: it has a session, or is gone."""
        with self._lock:
            self._strangers.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what is no client that is gone."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request failed; its session ends")


class _Reader(io.RawIOBase):
    """The bytes of a connection, until a time.

    Attributes:
        end_s: Of `time.monotonic`; None: only what is there already.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.end_s: float | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Return how many bytes came; None when none are there and none are waited for."""
        left_s = 0.0 if self.end_s is None else self.end_s - time.monotonic()
        if self.end_s is not None and left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        try:
            return self._connection.recv_into(buffer)
        except BlockingIOError:
            return None


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "soar", ""
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Notice a peer whose machine or network is gone."""
        super().setup()
        self._reader, self._silence_s = _Reader(self.connection), _SLOW_S
        self.rfile.close()
        self.rfile = io.BufferedReader(self._reader)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", _GONE_S // 2), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 2)):
            if hasattr(socket, option):
                self.connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def finish(self) -> None:
        """Leave the arm safe when this was its session."""
        try:
            with contextlib.suppress(OSError):
                super().finish()
        finally:
            self._host.leave(self)

    def handle_one_request(self) -> None:
        """Wait for a request to begin; it must then come quickly."""
        try:
            self._reader.end_s = time.monotonic() + self._silence_s
            self.rfile.peek(1)  # type: ignore[attr-defined]
            self._reader.end_s = time.monotonic() + _SLOW_S
        except TimeoutError:
            self.close_connection = True
            return
        super().handle_one_request()

    def do_GET(self) -> None:
        """Say what there is."""
        self._respond(lambda: self._host.about() if self.path == PATH else self._unknown())

    def do_POST(self) -> None:
        """Obey a call."""
        self._respond(self._call)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    @property
    def _host(self) -> RobotHost:
        host = cast(RobotServer, self.server).host
        if host is None:
            raise RefusedError(503, "the robot is being opened")
        return host

    def _call(self) -> dict[str, Any]:
        prefix, _, name = self.path.rpartition("/")
        if prefix != PATH:
            self._unknown()
        body = self._body()
        if name == "halt":  # whoever has the token may stop the arm, with or without a session, while any call is in flight
            self._host.halt()
            return {"result": None}
        if name == "open":
            self._host.begin(self, body)
            answer: dict[str, Any] = {"result": None}
            self._silence_s = self._host.config.silence_s
            cast(RobotServer, self.server).is_known(self.request)
        else:
            answer = self._host.call(self, name, body)
        if self._more():
            raise RefusedError(409, "a call came while another one was in flight; the session ends")
        return answer

    def _respond(self, work: Callable[[], dict[str, Any]]) -> None:
        status = 200
        try:
            self._check_token()
            answer = work()
        except RefusedError as refused:
            status, answer = refused.status, {"error": {"message": str(refused), "type": "refused"}}
            self.close_connection = True  # what is left of the request is not read
        data = json.dumps(answer).encode()
        self.connection.settimeout(_SLOW_S)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, cast(RobotServer, self.server).token):
            raise RefusedError(401, "a token is needed: Authorization: Bearer TOKEN")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 10) or "Transfer-Encoding" in self.headers:
            raise RefusedError(411, "a request says how long it is")
        if int(length) > REQUEST_BYTES:
            raise RefusedError(413, f"a request may have {REQUEST_BYTES} bytes")
        try:
            body = parse_json(self.rfile.read(int(length)))
        except ValueError as error:
            raise RefusedError(400, "a request is a JSON object") from error
        if not isinstance(body, dict):
            raise RefusedError(400, "a request is a JSON object")
        return body

    def _more(self) -> bool:
        """Whether something came while a call was in flight."""
        self._reader.end_s = None
        try:
            return bool(self.rfile.peek(1))  # type: ignore[attr-defined]
        except OSError:
            return False  # it is gone, which the next read tells

    def _unknown(self) -> dict[str, Any]:
        raise RefusedError(404, f"there is {PATH} and what is below it")
