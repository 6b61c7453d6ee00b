"""One websocket to a server of openpi's protocol, on which one thing is asked after another.

    connect ─► TLS ─► handshake ─► what the server is        by `end_s`, a time of `time.monotonic`
    observation ─► chunk of actions                          by another one

The deadline is one over the whole exchange, as for all clients here (`soar.remote.transport`): a server that drips bytes, or
pings and says nothing, keeps nobody waiting. No thread reads in between; a server's pings are answered with the next exchange,
and one that has closed the connection meanwhile is connected to anew. The observation is then sent again, which is harmless: a
server that is asked for a plan moves nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore2
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from soar.errors import ModelServerError
from soar.policies.openpi.wire import MOST_BYTES, UnreadableError, packed, unpacked
from soar.remote.client import ModelAwayError
from soar.remote.transport import DeadlineNetwork, trust
from soar.remote.wire import plain

_PIECE = 2**16
_NETWORK = (httpcore2.NetworkError, httpcore2.TimeoutException, OSError)


class _ClosedError(Exception):
    """The server closed the connection before it said anything."""


class Connection:
    """A server that is asked, connected to when it is needed.

    Args:
        url: ws:// or wss:// address.
        headers: Of the handshake, such as the server's key.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url, self._headers = url, dict(headers)
        self._socket: _Socket | None = None
        self.said: Any = None
        """What the server said that it is, when it was connected to last."""

    def connect(self, end_s: float) -> None:
        """Connect, unless it is connected.

        Raises:
            ModelAwayError: Nobody is there, or says something else in time.
            ModelServerError: It refuses.
        """
        if self._socket is not None:
            return
        try:
            self._socket = _Socket(self.url, self._headers, end_s)
            self.said = self._understood(self._socket.receive(end_s))
        except (_ClosedError, *_NETWORK) as error:
            raise self._away(error) from error
        except ModelServerError:
            self.close()
            raise

    def ask(self, message: Mapping[str, Any], end_s: float) -> Any:
        """Return the answer to a message.

        Raises:
            ModelAwayError: There is none in time, or it cannot be read.
            ModelServerError: The server failed at it; the message has the last words of its traceback.
        """
        data = packed(message)
        kept = self._socket is not None
        self.connect(end_s)
        try:
            try:
                return self._asked(data, end_s)
            except (_ClosedError, httpcore2.NetworkError):
                if not kept:
                    raise
            # It was closed while nobody looked: another connection, once.
            self.close()
            self.connect(end_s)
            return self._asked(data, end_s)
        except (_ClosedError, *_NETWORK) as error:
            raise self._away(error) from error
        except ModelServerError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _asked(self, data: bytes, end_s: float) -> Any:
        assert self._socket is not None
        self._socket.send(data, end_s)
        return self._understood(self._socket.receive(end_s))

    def _understood(self, message: bytes | str) -> Any:
        if isinstance(message, str):
            last = [line for line in message.splitlines() if line.strip()] or ["nothing"]
            raise ModelServerError(f"{self.url} failed: {plain(last[-1].strip(), 300)}. Its own log says more.")
        try:
            return unpacked(message)
        except UnreadableError as error:
            hint = "Is it a server of openpi's protocol?"
            raise ModelAwayError(f"{self.url} said what is no answer ({error}). {hint}") from error

    def _away(self, error: Exception) -> ModelAwayError:
        self.close()
        late = isinstance(error, httpcore2.TimeoutException | TimeoutError)
        said = "no complete answer in time" if late else str(error) or type(error).__name__
        return ModelAwayError(f"{self.url}: {plain(' '.join(said.split()), 300)}")


class _Socket:
    """A websocket that is open."""

    def __init__(self, url: str, headers: Mapping[str, str], end_s: float) -> None:
        where = parse_uri(url)
        self._protocol = ClientProtocol(where, max_size=MOST_BYTES)
        self._frames: list[Frame] = []
        self._stream: httpcore2.NetworkStream = DeadlineNetwork().connect_tcp(where.host, where.port, end_s)
        try:
            if where.secure:
                self._stream = self._stream.start_tls(trust(), where.host, end_s)
            request = self._protocol.connect()
            for name, value in headers.items():
                request.headers[name] = value
            self._protocol.send_request(request)
            self._flush(end_s)
            while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
                self._read(end_s)
            if self._protocol.handshake_exc is not None:
                raise _refused(url, self._protocol.handshake_exc)
        except BaseException:
            self._stream.close()
            raise

    def send(self, data: bytes, end_s: float) -> None:
        """Send a message."""
        if self._protocol.state is not State.OPEN:
            raise _ClosedError(self._why())
        self._protocol.send_binary(data)
        self._flush(end_s)

    def receive(self, end_s: float) -> bytes | str:
        """Return the next message, a text as one."""
        parts: list[bytes] = []
        kind: Opcode | None = None
        while True:
            while self._frames:
                frame = self._frames.pop(0)
                if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    continue
                kind = kind or frame.opcode
                parts.append(bytes(frame.data))
                if frame.fin:
                    data = b"".join(parts)
                    return data.decode("utf-8", "replace") if kind is Opcode.TEXT else data
            if self._protocol.state is not State.OPEN:
                raise _ClosedError(self._why())
            self._read(end_s)

    def close(self) -> None:
        """Let go of it; nobody is waited for."""
        with contextlib.suppress(*_NETWORK):
            self._stream.close()

    def _read(self, end_s: float) -> None:
        data = self._stream.read(_PIECE, end_s)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        with contextlib.suppress(httpcore2.NetworkError):  # a pong, or a farewell to somebody who has gone
            self._flush(end_s)

    def _flush(self, end_s: float) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._stream.write(data, end_s)

    def _why(self) -> str:
        if self._protocol.parser_exc is not None and not isinstance(self._protocol.parser_exc, EOFError):
            return str(self._protocol.parser_exc)
        reason = self._protocol.close_reason
        return f"it closed the connection{f' ({reason})' if reason else ''}"


def _refused(url: str, error: Exception) -> ModelServerError:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        hint = "Its key is wrong or missing. " if status in (401, 403) else ""
        return ModelServerError(f"{url} refuses with status {status}. {hint}Is this the address of a policy server of openpi?")
    if isinstance(error, InvalidHandshake) or not isinstance(error, OSError):
        port = urlsplit(url).port
        return ModelServerError(f"{url}: whoever listens at port {port} speaks no websocket ({plain(str(error), 100)})")
    return ModelAwayError(f"{url}: {error}")
