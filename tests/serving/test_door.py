"""The process at a server's door: it answers for the server's health, and hands on whoever wants anything else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from soar.serving.door import Door

Address = tuple[str, int]
ASKED = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


def said(connection: socket.socket) -> bytes:
    """All that comes until the other side is done."""
    answer = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
    return answer


def ask(address: Address, text: bytes = ASKED) -> bytes:
    with socket.create_connection(address, timeout=600) as connection:
        connection.sendall(text)
        return said(connection)


@contextmanager
def door(**changes: Any) -> Iterator[tuple[Address, socket.socket, threading.Thread]]:
    """A door in a thread: where it is, the server's end of the line, and the thread."""
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener, ours, theirs:
        one = Door(listener, theirs, **{"slow_s": 60.0, "waiting": 8, **changes})
        thread = threading.Thread(target=one.run)
        thread.start()
        try:
            yield listener.getsockname(), ours, thread
        finally:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            thread.join()


def handed_on(control: socket.socket) -> socket.socket:
    data, (handle,), _, _ = socket.recv_fds(control, 1, 1)
    assert data == b"+"
    connection = socket.socket(fileno=handle)
    connection.setblocking(True)
    return connection


def test_health_is_answered_and_all_else_is_handed_on_unread() -> None:
    with door() as (address, control, _):
        assert ask(address).startswith(b"HTTP/1.1 200 OK\r\n")
        for text in (
            b"POST /health HTTP/1.1\r\n\r\n",
            b"GET /healthy HTTP/1.1\r\n\r\n",
            b"GET /v1/model HTTP/1.1\r\n\r\n",
            b"G",
        ):
            with socket.create_connection(address) as client:
                client.sendall(text)
                with handed_on(control) as connection:
                    assert connection.recv(100) == text
                    connection.sendall(b"yes")
                assert said(client) == b"yes"


def test_a_question_may_come_in_pieces_and_with_a_body_that_nobody_reads() -> None:
    with door() as (address, _, _):
        with socket.create_connection(address) as client:
            client.sendall(ASKED[:20])
            client.sendall(ASKED[20:] + b"x" * 100)
            assert b'{"status":"ok"}' in said(client)
        with socket.create_connection(address) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nX: " + b"x" * 2**15)
            assert said(client) == b"", "headers have an end"


def test_a_server_that_gives_no_sign_of_life_is_stuck_until_it_gives_one() -> None:
    with door(silent_s=0.0) as (address, _, _):
        assert ask(address).startswith(b"HTTP/1.1 503")
    with door(silent_s=1000.0) as (address, control, _):
        control.sendall(b".")
        assert b'{"status":"ok"}' in ask(address)


def test_those_who_say_nothing_make_room_for_others_and_are_not_waited_for() -> None:
    with door() as (address, _, _), ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address)) for _ in range(12)]
        for connection in held[:4]:
            assert said(connection) == b""
        assert b'{"status":"ok"}' in ask(address)
    with door(slow_s=0.05) as (address, _, _), socket.create_connection(address) as slow:
        slow.sendall(ASKED[:-2])
        assert said(slow) == b""


def test_those_whom_the_server_does_not_take_are_bounded_and_health_is_answered_meanwhile() -> None:
    with door() as (address, _, _), ExitStack() as stack:
        # More than fit on the line to a server that takes none; the oldest of those who wait for it are closed.
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(400)]
        for client in clients:
            client.sendall(b"POST / HTTP/1.1\r\n\r\n")
        closed = threading.Event()

        def wait_for_one_that_is_closed(client: socket.socket) -> None:
            if said(client) == b"":
                closed.set()

        for client in clients:
            threading.Thread(target=wait_for_one_that_is_closed, args=(client,), daemon=True).start()
        closed.wait()
        assert b'{"status":"ok"}' in ask(address)


def test_the_door_ends_with_its_server() -> None:
    with door() as (_, control, thread):
        control.close()
        thread.join()


SERVER = """
import sys
from soar.errors import SoarError
from soar.serving.listening import listen, protected
from soar.serving.visitors import DoorServer

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})

listener = listen("127.0.0.1", 0)
listener.listen()
server = DoorServer(protected(app), listener)
print(*listener.getsockname(), flush=True)
try:
    server.run()
except SoarError as error:
    print(error)
"""


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], Address]]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host, port = process.stdout.readline().split()
        try:
            yield process, (host, int(port))
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def test_a_server_that_does_nothing_for_a_while_is_not_dead_and_ends_with_its_door() -> None:
    with serving() as (process, address):
        assert ask(address, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(b"hi")
        process.send_signal(signal.SIGSTOP)
        assert b'{"status":"ok"}' in ask(address)
        with socket.create_connection(address, timeout=600) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b'{"status":"ok"}' in ask(address)
            process.send_signal(signal.SIGCONT)
            assert said(client).endswith(b"hi"), "who came meanwhile is answered"
        process.terminate()
        assert process.wait() == -signal.SIGTERM
        with pytest.raises(OSError, match="refused"):
            ask(address)


def test_nobody_can_come_to_a_server_that_was_killed() -> None:
    with serving() as (process, address):
        assert b'{"status":"ok"}' in ask(address)
        process.kill()
        process.wait()
        while True:  # the door notices by itself
            try:
                ask(address)
            except OSError:
                break


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_server_whose_door_was_ended_ends_and_says_why() -> None:
    with serving() as (process, address):
        assert b'{"status":"ok"}' in ask(address)
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert process.stdout is not None
        assert "the process at the server's door was ended" in process.stdout.read()
