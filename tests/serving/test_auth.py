"""Over raw sockets: what no well-behaved client would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from soar.errors import ConfigError
from soar.serving.auth import App, Auth, AuthConfig, Receive, Scope, Send

from .running import running

TOKEN = "0123456789abcdef"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    message = await receive()
    body = f"got {len(message['body'])}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def gated(app: App = echo, **changes: object) -> Auth:
    return Auth(app, AuthConfig(**{"token": TOKEN, "bytes": 100, "slow_s": 0.1, **changes}))


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with running(gated()) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        yield host, int(port)


def ask(address: tuple[str, int], text: str) -> str:
    with socket.create_connection(address, timeout=600) as connection:
        connection.sendall(text.replace("\n", "\r\n").encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer.decode()


def request(path: str = "/x", token: str = f"Bearer {TOKEN}", headers: str = "Content-Length: 3\n", body: str = "abc") -> str:
    authorization = f"Authorization: {token}\n" if token else ""
    return f"POST {path} HTTP/1.1\nHost: a\nConnection: close\n{authorization}{headers}\n{body}"


def test_the_token_opens_it_and_nothing_else_does(address: tuple[str, int]) -> None:
    assert ask(address, request()).endswith("got 3")
    for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"bearer {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}", "Bearer ä"):
        answer = ask(address, request(token=wrong))
        assert answer.startswith("HTTP/1.1 401"), wrong
        assert "a token is needed" in answer


def test_its_health_is_no_secret(address: tuple[str, int]) -> None:
    assert ask(address, request("/health", token="")).endswith("got 0"), "a body is not read"
    assert "401" in ask(address, request("/health/../x", token=""))


def test_what_is_too_long_is_refused_before_or_while_it_arrives(address: tuple[str, int]) -> None:
    assert "413" in ask(address, request(headers="Content-Length: 101\n", body=""))
    assert ask(address, request(headers=f"Content-Length: {'9' * 30}\n", body=""))[9:12] in ("400", "413")
    chunk = "28\n" + "a" * 40 + "\n"
    assert "413" in ask(address, request(headers="Transfer-Encoding: chunked\n", body=3 * chunk))
    assert ask(address, request(headers="Transfer-Encoding: chunked\n", body=2 * chunk + "0\n\n")).endswith("got 80")


def test_what_does_not_arrive_is_not_waited_for(address: tuple[str, int]) -> None:
    assert "408" in ask(address, request(headers="Content-Length: 50\n", body="abc"))


def test_without_a_token_anybody_may_ask() -> None:
    with running(gated(token=None)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        assert ask((host, int(port)), request(token="")).endswith("got 3")


@pytest.mark.parametrize("token", ["short", "with spaces in it all", "größtenteils-umlaute"])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="at least 16 ASCII characters"):
        AuthConfig(token=token, bytes=1)
