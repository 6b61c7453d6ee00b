"""A small HTTP server on the loopback that drips, bloats and lies."""

from __future__ import annotations

import functools
import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Bytes = Iterator[bytes]
_PAUSE_S = 0.02
MEGABYTE = 2**20


def head(length: int | None, *lines: str, status: str = "200 OK") -> bytes:
    size = ["Transfer-Encoding: chunked"] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Type: application/json", *size, *lines, "", ""]).encode()


def whole(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    return head(len(body), *lines, status=status) + body


def dripped_headers() -> Bytes:
    """A header that never ends."""
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    while True:
        yield b"a"


def endless_103() -> Bytes:
    """Early hints, for ever."""
    while True:
        yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def dripped_body() -> Bytes:
    """Spaces, which JSON may begin with."""
    yield head(10 * MEGABYTE)
    while True:
        yield b" "


def dripped_chunks() -> Bytes:
    yield head(None)
    while True:
        yield b"1\r\n \r\n"


def dripped_events() -> Bytes:
    """A stream of server-sent events that says nothing."""
    yield head(None, "Cache-Control: no-store")
    while True:
        yield b"6\r\n: hi\r\n\r\n"


def silent() -> Bytes:
    while True:
        yield b""


DRIPPING = (dripped_headers, endless_103, dripped_body, dripped_chunks, dripped_events, silent)


def large() -> Bytes:
    """As many bytes as somebody takes."""
    yield head(2**40)
    while True:
        yield b" " * MEGABYTE


def large_chunks() -> Bytes:
    yield head(None)
    while True:
        yield b"100000\r\n" + b" " * MEGABYTE + b"\r\n"


@functools.cache
def _packed() -> bytes:
    return gzip.compress(bytes(64 * MEGABYTE))


def bomb() -> Bytes:
    """A megabyte that unpacks to a thousand."""
    yield whole(_packed() * 16, "Content-Encoding: gzip")


def many_values() -> Bytes:
    """Three bytes each."""
    yield whole(b'{"choices": [' + b"{}," * (2 * MEGABYTE) + b"{}]}")


def many_headers() -> Bytes:
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X: " + b"y" * 1000 + b"\r\n"


def deep() -> Bytes:
    yield whole(b"[" * 100_000)


BLOATING = (large, large_chunks, bomb, many_values, many_headers, deep)


class Hostile:
    """What the server does, and who asked.

    Attributes:
        url: Its address.
        play: What is sent to the next request.
        requests: First line and body of each request so far.
    """

    def __init__(self, play: Callable[[], Bytes]) -> None:
        self.play, self.url = play, ""
        self.requests: list[tuple[str, bytes]] = []


@contextmanager
def hostile(play: Callable[[], Bytes] = silent) -> Iterator[Hostile]:
    """Run one."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    state = Hostile(play)
    state.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(peer: socket.socket) -> None:
        with peer, suppress(OSError, ValueError):
            stream = peer.makefile("rb")
            while not over.is_set() and (request := read_request(stream)):
                state.requests.append(request)
                for data in state.play():
                    peer.sendall(data)
                    if len(data) < 100 and over.wait(_PAUSE_S):
                        return

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_request(stream: Any) -> tuple[str, bytes] | None:
    """The first line and the body of the next request on a connection."""
    first, length = stream.readline().decode("latin-1").strip(), 0
    while (line := stream.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return (first, stream.read(length)) if first else None


def says(body: Any, *lines: str, status: str = "200 OK") -> Callable[[], Bytes]:
    """Say one thing."""
    data = whole(body if isinstance(body, bytes) else json.dumps(body).encode(), *lines, status=status)
    return lambda: iter([data])
