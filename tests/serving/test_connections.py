"""Connections of strangers, with and without TLS: those that say nothing make room for others."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from soar.errors import ConfigError
from soar.serving import connections
from soar.serving.auth import Receive, Scope, Send
from soar.serving.listening import protected

from .running import certificate, needs_openssl, running

WAITING = 8
PATIENCE_S = 25.0
"""Of a test that would wait for ever; less than asyncio waits for the beginning and the end of TLS by itself."""
Address = tuple[str, int]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    said = f"{scope['scheme']} {len(body)}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(said)).encode())]})
    await send({"type": "http.response.body", "body": said})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def address(lab: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setattr(connections, "SHAKE_S", 600.0)
    with running(echo, 600.0, waiting=WAITING, **lab) as url:
        host, _, port = url.removeprefix("https://").partition(":")
        yield host, int(port)


@pytest.fixture
def connect(address: Address, lab: dict[str, str]) -> Iterator[Callable[[], socket.socket]]:
    """Opens connections to the server; `connect(tls=True)` those whose TLS is there."""
    trusting = ssl.create_default_context(cafile=lab["certificate"])
    with ExitStack() as stack:

        def one(*, tls: bool = False) -> socket.socket:
            plain = stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
            return stack.enter_context(trusting.wrap_socket(plain, server_hostname=address[0])) if tls else plain

        yield one


def asked(body: bytes = b"", closing: bool = False) -> bytes:
    end = "Connection: close\r\n" if closing else ""
    return f"POST / HTTP/1.1\r\nHost: a\r\n{end}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ended(connection: socket.socket) -> bool:
    """Whether it was closed, which is waited for."""
    with suppress(ConnectionError, ssl.SSLError):
        while connection.recv(65536):
            pass
    return True


@needs_openssl
def test_an_answer_that_is_encrypted_is_the_answer(connect: Callable[..., socket.socket]) -> None:
    line = connect(tls=True)
    for size in (0, 3_000_000, 10):
        line.sendall(asked(b"a" * size))
        said = b""
        while not said.endswith(f"https {size}".encode()):
            said += line.recv(65536)
        assert said.startswith(b"HTTP/1.1 200")


@needs_openssl
def test_who_never_begins_tls_makes_room_for_others(connect: Callable[..., socket.socket]) -> None:
    silent = [connect() for _ in range(3 * WAITING)]
    assert all(ended(one) for one in silent[: 2 * WAITING]), "the oldest ones are closed"
    line = connect(tls=True)
    line.sendall(asked(closing=True))
    assert b"200 OK" in line.recv(65536)
    for one in silent[-WAITING // 2 :]:
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(1)


@needs_openssl
def test_who_never_confirms_the_end_of_tls_makes_room_for_others(connect: Callable[..., socket.socket]) -> None:
    malformed = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n"
    for last in (asked(closing=True), malformed):
        lines = []
        for _ in range(3 * WAITING):
            lines.append(connect(tls=True))
            lines[-1].sendall(last)
            assert lines[-1].recv(65536)  # the answer; that nothing follows it is not confirmed
        for line in lines[: 2 * WAITING]:
            with socket.socket(fileno=line.detach()) as below:
                below.settimeout(PATIENCE_S)
                assert ended(below)


@needs_openssl
def test_who_does_not_finish_tls_in_time_or_speaks_something_else_is_closed(
    lab: dict[str, str], connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SHAKE_S", 0.05)
    assert ended(connect())
    plain = connect()
    with suppress(ConnectionError):
        plain.sendall(asked())
    assert ended(plain)


def test_a_server_whose_certificate_is_none_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are no certificate and its key without a password"):
        protected(echo, certificate=str(tmp_path / "no.pem"), key=str(tmp_path / "no.key"))
