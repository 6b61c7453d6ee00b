"""Over raw sockets: what no well-behaved client would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from soar.errors import ConfigError
from soar.fleet.tokens import Bearer, TokenAuth, Tokens
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
        return said_by(connection)


def said_by(connection: socket.socket) -> str:
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


def where(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


LOOKS = "the-token-of-the-viewer"
LONGEST = 2**26


def coordinator() -> TokenAuth:
    """What stands before a fleet's coordinator, with a token that may only look."""
    tokens = Tokens(operator=TOKEN, others={"viewer": Bearer(token=LOOKS, may=("look",))})
    return TokenAuth(echo, tokens, longest=LONGEST, binary="/v1/commit/", requests=40)


@pytest.fixture
def fleet() -> Iterator[tuple[str, int]]:
    with running(coordinator()) as url:
        yield where(url)


def slow(address: tuple[str, int], stack: ExitStack, length: int, body: str = "") -> socket.socket:
    """Send part of a request whose sender may only look."""
    connection = stack.enter_context(socket.create_connection(address, timeout=600))
    text = request("/v1/status", f"Bearer {LOOKS}", f"Content-Length: {length}\n", body)
    connection.sendall(text.replace("\n", "\r\n").encode())
    return connection


def test_what_is_announced_takes_no_memory_before_it_comes(fleet: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(8):  # of which four would take all memory
            slow(fleet, stack, LONGEST)
        assert ask(fleet, request("/v1/orders")).endswith("got 3")


def test_one_token_takes_not_all_memory_with_what_has_come() -> None:
    app = coordinator()
    with running(app) as url, ExitStack() as stack:
        fleet = where(url)
        almost = [slow(fleet, stack, LONGEST, "a" * (LONGEST - 1)) for _ in range(3)]
        while app.memory.taken < 12 * (LONGEST - 1):
            pass  # the last of it is on its way
        refused = ask(fleet, request("/v1/status", f"Bearer {LOOKS}", "Content-Length: 100\n", "a" * 100))
        assert refused.startswith("HTTP/1.1 503")
        assert "other requests with this token take all memory that there is for them" in refused
        delivery = request("/v1/commit/one/1", headers=f"Content-Length: {2**24}\n", body="a" * 2**24)
        assert ask(fleet, delivery).startswith("HTTP/1.1 200")
        for one in almost:
            one.sendall(b"a")
            assert said_by(one).startswith("HTTP/1.1 200")


def test_one_token_takes_not_all_places(fleet: tuple[str, int]) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            slow(fleet, stack, 10)
        refused = ask(fleet, request("/v1/status", f"Bearer {LOOKS}"))
        assert refused.startswith("HTTP/1.1 503")
        assert "20 requests with this token are in flight" in refused
        assert ask(fleet, request("/v1/orders")).endswith("got 3")
    with running(gated(requests=40, others=False, slow_s=600.0)) as url, ExitStack() as stack:
        one = where(url)
        for _ in range(39):
            connection = stack.enter_context(socket.create_connection(one))
            connection.sendall(request(headers="Content-Length: 10\n").replace("\n", "\r\n").encode())
        assert ask(one, request()).endswith("got 3"), "where there is one token it has all places"


def test_a_get_has_no_body(address: tuple[str, int]) -> None:
    for headers in ("Content-Length: 3\n", "Transfer-Encoding: chunked\n"):
        answer = ask(address, request(headers=headers, body="3\nabc\n0\n\n").replace("POST", "GET"))
        assert answer.startswith("HTTP/1.1 413")
        assert "a GET has no body" in answer
    assert ask(address, request(headers="", body="").replace("POST", "GET")).endswith("got 0")


def test_without_a_token_anybody_may_ask() -> None:
    with running(gated(token=None)) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        assert ask((host, int(port)), request(token="")).endswith("got 3")


@pytest.mark.parametrize("token", ["short", "with spaces in it all", "größtenteils-umlaute"])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match="at least 16 ASCII characters"):
        AuthConfig(token=token, bytes=1)
