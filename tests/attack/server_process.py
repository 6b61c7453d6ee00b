"""A server as people run it, `soar serve`, with its memory and how long it takes to say that it is well."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TOKEN = "correct-horse-battery"


class Watched:
    """A server, and what is seen of it from outside.

    Attributes:
        address: Host and port.
        idle_bytes: Resident memory before anything was asked.
        most_bytes: Most since `begin`.
        slowest_s: Longest time that /health took since `begin`.
        unwell: How often /health did not answer since `begin`.
    """

    def __init__(self, pid: int, address: tuple[str, int]) -> None:
        self.pid, self.address = pid, address
        self.idle_bytes = self.resident()
        self.begin()

    def begin(self) -> None:
        """Forget what was seen."""
        self.most_bytes, self.slowest_s, self.unwell, self.looks = 0, 0.0, 0, 0

    def resident(self) -> int:
        """Resident memory of the process [bytes]."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def look(self) -> None:
        """Ask once, with a connection of its own, as a supervisor does."""
        self.most_bytes = max(self.most_bytes, self.resident())
        began_s = time.monotonic()
        answer = b""
        with suppress(OSError), socket.create_connection(self.address, timeout=300) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            while part := connection.recv(65536):
                answer += part
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        self.unwell += b'{"status":"ok"}' not in answer
        self.looks += 1

    @contextmanager
    def watched(self, every_s: float = 0.02) -> Iterator[None]:
        """Look again and again meanwhile."""
        self.begin()
        over = threading.Event()

        def work() -> None:
            while not over.wait(every_s):
                self.look()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def server_process(kind: str, *flags: str) -> Iterator[Watched]:
    """Run one with the model that comes with SOAR."""
    command = [sys.executable, "-m", "soar.cli", "serve", kind, "--port", "0", *flags]
    with subprocess.Popen(command, env=os.environ | {"SOAR_TOKEN": TOKEN}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = next(line for line in process.stdout if " is served at " in line).split()[-1]
            host, _, port = url.removeprefix("http://").partition(":")
            yield Watched(process.pid, (host, int(port)))
        finally:
            process.terminate()
            process.wait()
