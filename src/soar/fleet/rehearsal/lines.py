"""What lies between a robot and a server, as a person with pliers would have it: cut, slow, wrong, or closed.

passes     all bytes, both ways
cut        nothing passes, and nobody is told; what was on its way arrives when the line is whole again, as with TCP
refuses    connections are closed
slow       answers come `SLOW_S` later
wrong      bits of the bodies of answers are flipped
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Literal

from soar.seeding import generator

State = Literal["passes", "cut", "refuses", "slow", "wrong"]
SLOW_S = 1.0
_PIECE = 2**16
_LOOKS_S = 0.05
_WRONG_EVERY = 200
"""One byte of so many is wrong."""
HOST = "127.0.0.1"


class Line:
    """One line to a server on this computer.

    Args:
        port: Of the server.
        seed: Of what is wrong.
    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self.state: State = "passes"
        self.port = 0
        self._server, self._rng = port, generator(seed, "line")
        self._open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> asyncio.Server:
        """Listen on any port that is free, which `port` says then."""
        server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = int(server.sockets[0].getsockname()[1])
        return server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._while_cut()
            if self.state == "refuses":
                return
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(HOST, self._server)
                self._open.add(back)
                try:
                    ways = [self._pass(reader, back, answers=False), self._pass(there, writer, answers=True)]
                    await asyncio.gather(*ways)
                finally:
                    self._open.discard(back)
                    back.close()
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(_PIECE):
                await self._while_cut()
                if self.state == "refuses":
                    break
                if answers and self.state == "slow":
                    await asyncio.sleep(SLOW_S)
                if answers and self.state == "wrong":
                    data = self._wrong(data)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def _while_cut(self) -> None:
        while self.state == "cut":
            await asyncio.sleep(_LOOKS_S)

    def _wrong(self, data: bytes) -> bytes:
        begins = data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0
        wrong = bytearray(data)
        for _ in range(0, len(data) - begins, _WRONG_EVERY):
            wrong[int(self._rng.integers(begins, len(data)))] ^= 1 << int(self._rng.integers(8))
        return bytes(wrong)


class Lines:
    """Lines, and the thread in which they work; a context manager that closes them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Lines:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close all."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    def line_to(self, port: int, seed: int = 0) -> Line:
        """Return a line to a port of this computer."""
        line = Line(port, seed)
        self._servers.append(asyncio.run_coroutine_threadsafe(line.listen(), self._loop).result(10.0))
        return line

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
