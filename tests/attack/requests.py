"""What hostile clients send: many connections, many bytes, many values, many pixels, and nothing for a long time.

`python -m tests.attack.requests NAME HOST PORT` does one of them, in a process of its own, and prints how often which status
came.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from soar.remote.wire import pack

from .server_process import TOKEN

Address = tuple[str, int]
MEGABYTE = 2**20
STATE = [0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0]


def head(path: str, length: int | None, *, token: str = TOKEN, method: str = "POST") -> bytes:
    """The head of a request; without a length its body is chunked."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{size}\r\n\r\n".encode()


def send(address: Address, *parts: bytes, wait_s: float = 600.0) -> bytes:
    """Send bytes on a connection of its own, and return what comes back; empty when it is closed."""
    answer = b""
    with suppress(OSError), socket.create_connection(address, timeout=wait_s) as connection:
        with suppress(OSError):
            for part in parts:
                connection.sendall(part)
        while part := connection.recv(65536):
            answer += part
            if complete(answer):
                break
    return answer


def complete(answer: bytes) -> bool:
    """Whether an answer is there to its last byte."""
    front, blank, body = answer.partition(b"\r\n\r\n")
    for line in front.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return bool(blank) and len(body) >= int(line.split(b":")[1])
    return False


def status(answer: bytes) -> int:
    """The status of an answer; 0 when there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") and answer[9:12].isdigit() else 0


def post(address: Address, path: str, body: Any) -> int:
    """Post JSON, and return the status."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status(send(address, head(path, len(data)), data))


def at_once(count: int, work: Callable[[], Any]) -> list[Any]:
    """Do it in so many threads, and return all results."""
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def health_with_bodies(address: Address, connections: int = 60, megabytes: int = 64) -> list[Any]:
    """Bodies that nobody needs, without a token."""
    body = bytes(MEGABYTE)

    def one() -> int:
        return status(send(address, head("/health", megabytes * MEGABYTE, token=""), *[body] * megabytes))

    return at_once(connections, one)


def bodies_without_token(address: Address, connections: int = 60, megabytes: int = 16) -> list[Any]:
    """The same, to a path that needs one."""
    body = bytes(MEGABYTE)

    def one() -> int:
        return status(send(address, head("/v1/actions", megabytes * MEGABYTE, token="x" * 20), *[body] * megabytes))

    return at_once(connections, one)


def large_bodies(address: Address, connections: int = 20, megabytes: int = 16) -> list[Any]:
    """As long as is allowed, with the token, many at once."""
    text = b'{"items": [{"image": {"png": "' + b"A" * (megabytes * MEGABYTE - 100) + b'"}}]}'
    return at_once(connections, lambda: post(address, "/v1/actions", text))


def endless_chunks(address: Address, connections: int = 20, megabytes: int = 64) -> list[Any]:
    """Bodies that do not say how long they are."""
    chunk = b"100000\r\n" + b" " * MEGABYTE + b"\r\n"
    return at_once(connections, lambda: status(send(address, head("/v1/actions", None), *[chunk] * megabytes)))


def many_items(address: Address, connections: int = 4) -> list[Any]:
    """330,000 empty items in a megabyte."""
    return at_once(connections, lambda: post(address, "/v1/actions", b'{"items": [' + b"{}," * 330_000 + b"{}]}"))


def many_pixels(address: Address, connections: int = 6, count: int = 31, side: int = 2048) -> list[Any]:
    """Some kilobytes that are a gigabyte of pixels."""
    image = pack(np.zeros((side, side, 3), np.uint8))
    items = [{"image": image, "state": STATE, "goal": image, "plan_index": 0}] * count
    data = json.dumps({"items": items}).encode()
    return at_once(connections, lambda: post(address, "/v1/actions", data))


def some_pixels(address: Address, connections: int = 24) -> list[Any]:
    """Requests each of which is small enough."""
    return many_pixels(address, connections, count=2)


def idle_connections(address: Address, count: int = 600) -> list[Any]:
    """Connections that say nothing, or never end their headers."""
    held = []
    for i in range(count):
        with suppress(OSError):
            held.append(socket.create_connection(address, timeout=300))
            held[-1].sendall(b"GET /health HTTP/1.1\r\nX: " if i % 2 else b"")
    for connection in held:
        connection.close()
    return [len(held)]


def gone_clients(address: Address, count: int = 60) -> list[Any]:
    """Clients that ask and do not wait."""
    image = pack(np.zeros((1024, 1024, 3), np.uint8))
    data = json.dumps({"items": [{"image": image, "state": STATE, "goal": image, "plan_index": 0}] * 8}).encode()

    def one() -> int:
        with suppress(OSError), socket.create_connection(address, timeout=300) as connection:
            connection.sendall(head("/v1/actions", len(data)) + data)
        return 0

    return at_once(count, one)


ATTACKS = (
    health_with_bodies,
    bodies_without_token,
    large_bodies,
    endless_chunks,
    many_items,
    many_pixels,
    some_pixels,
    idle_connections,
    gone_clients,
)


def elsewhere(attack: Callable[[Address], list[Any]], address: Address) -> dict[str, int]:
    """Attack from another process, and return how often which status came.

    It takes only what processor is left: attackers have machines of their own.
    """
    command = ["nice", "-n", "19", sys.executable, "-m", __name__, attack.__name__, address[0], str(address[1])]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


if __name__ == "__main__":
    name, host, port = sys.argv[1:]
    (chosen,) = (attack for attack in ATTACKS if attack.__name__ == name)
    json.dump(Counter(map(str, chosen((host, int(port))))), sys.stdout)
