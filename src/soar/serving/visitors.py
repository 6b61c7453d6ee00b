"""A server behind a door (`soar.serving.door`): who comes, comes from there.

    serve ─► startup: the door's process begins, with the listening socket ─► connections as file descriptors, one a byte
                      a sign of life every second ─►
             shutdown: the door is told first, so that nobody comes any more ─► the last answers

When the door's process is gone nobody can come any more: the server ends, and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys

import uvicorn

from soar.errors import SoarError
from soar.serving import door
from soar.serving.connections import WAITING
from soar.serving.listening import SLOW_S

log = logging.getLogger(__name__)
_AT_ONCE = 32
"""Connections that are taken before those that are there have their turn."""
_ENDING_S = 10.0


class DoorServer(uvicorn.Server):
    """Serves those whom the door lets in.

    Args:
        config: As of any server.
        listener: Bound, and listening.
    """

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._arriving: set[asyncio.Task[object]] = set()
        self._beats: asyncio.TimerHandle | None = None
        self._lost = False

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until Ctrl-C or SIGTERM, which is raised again.

        Raises:
            SoarError: The door is gone, and nobody can come any more.
        """
        super().run(sockets)
        if self._lost:
            raise SoarError("the process at the server's door was ended (by a person, or for want of memory?); start it again")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and open the door."""
        await super().startup(sockets=[])
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        handles = self._listener.fileno(), theirs.fileno()
        # A group of its own: Ctrl-C in the terminal is this process's business, and the door ends with it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", door.__file__, *map(str, handles), str(SLOW_S), str(WAITING)],
            pass_fds=handles,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        self._listener.close()
        asyncio.get_running_loop().add_reader(self._control, self._take)
        self._live()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, and end when the last answers are out."""
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        if self._beats is not None:
            self._beats.cancel()
        await super().shutdown(sockets)
        try:
            self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _live(self) -> None:
        with contextlib.suppress(OSError):  # it does not read, or is gone, which `_take` notices
            self._control.send(b".")
        self._beats = asyncio.get_running_loop().call_later(door.BEAT_S, self._live)

    def _take(self) -> None:
        """Take connections that wait to be taken."""
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            try:
                data, handles, _, _ = socket.recv_fds(self._control, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                data, handles = b"", []
            if not data:
                loop.remove_reader(self._control)
                self._lost = self.should_exit = True
                return
            for handle in handles:
                visitor = socket.socket(fileno=handle)
                visitor.setblocking(False)
                task = loop.create_task(self._let_in(visitor))
                self._arriving.add(task)
                task.add_done_callback(self._arriving.discard)

    async def _let_in(self, visitor: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            config = self.config
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )

        with contextlib.suppress(OSError):  # it is gone again
            await loop.connect_accepted_socket(protocol, visitor)
