"""One request at a time to a WidowX server: ZeroMQ, LZ4 around pickles of plain data.

    ask ──► dumps ──► lz4 ──► REQ socket ──────────────► the server, which does one thing after another
        ◄── loads ◄── lz4 (bounded) ◄── within its time ─┘
                                        otherwise the socket is thrown away: LOST

Lost. A request that got no answer in time may still be executed, later. Nothing more is asked until `reconnect` has had answers
again, and no request is ever sent twice. A server takes what clients sent in turn, so that its second answer to a client comes
after all that an earlier one of ours has asked for: then, and not before, it is known that nothing is under way.
"""

from __future__ import annotations

import time
from typing import Any

import lz4.frame
import zmq

from soar.errors import RobotFault
from soar.pickle_reader import LONGEST, PickleError, loads
from soar.pickle_writer import dumps

HASH_S = 3.0
"""How long a server may take to say who it is [s]."""


class Wire:
    """A connection to one server.

    Args:
        host: Its address.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.address = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        self.lost = True
        self.halted = False
        """Whether it was stopped: nothing is sent any more."""
        # One for the process, which nobody ends: ending one waits for sockets, and somebody who was stopped leaves his open.
        self._context: zmq.Context[Any] = zmq.Context.instance()
        self._socket: zmq.Socket[Any] | None = None

    def connect(self, hash_s: float = HASH_S) -> Any:
        """Connect, and return what the server says of itself.

        Raises:
            RobotFault: `connection`: nobody answers, or nobody of this kind.
        """
        self._renew()
        description = self._exchange({"type": "hash"}, hash_s)
        self.lost = False
        return description

    def reconnect(self, limit_s: float, hash_s: float = HASH_S) -> Any:
        """Ask who is there until there are two answers in a row, and return the last one.

        Raises:
            RobotFault: `connection`: there was none in `limit_s` seconds.
        """
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                self.connect(hash_s)
                return self.ask({"type": "hash"}, hash_s)
            except RobotFault:
                if self.halted or time.monotonic() > deadline_s:
                    raise

    def ask(self, message: Any, timeout_s: float) -> Any:
        """Send a request and return the answer.

        Raises:
            RobotFault: `connection`: there is no answer in time, or none that is data. Nothing else is asked until `reconnect`.
        """
        if self.lost:
            raise RobotFault("connection", f"{self.address}: not asked, since an earlier request had no answer")
        return self._exchange(message, timeout_s)

    def break_off(self, message: Any) -> None:
        """Send a request and do not wait for its answer; nothing is asked any more until `reconnect`."""
        self.lost = True
        if self._socket is not None and self._socket.poll(int(HASH_S * 1000), zmq.POLLOUT):
            self._socket.send(lz4.frame.compress(dumps(message)))

    def close(self) -> None:
        """Let go of the server; what it was asked for may still happen."""
        self.lost = True
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _renew(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST)
        # Nothing waits here for a server that is away, to be executed when it comes back.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.IPV6, 1)
        self._socket.connect(self.address)

    def _exchange(self, message: Any, timeout_s: float) -> Any:
        assert self._socket is not None
        data = lz4.frame.compress(dumps(message))
        what = message.get("key", message["type"])
        if self.halted:
            raise RobotFault("unrecoverable", f"{what}: not sent, since the arm was stopped")
        self.lost = True
        deadline_s = time.monotonic() + timeout_s
        if not self._socket.poll(int(timeout_s * 1000), zmq.POLLOUT):
            raise RobotFault("connection", f"{what}: nobody can be reached at {self.address}; it was not sent")
        self._socket.send(data)
        if not self._socket.poll(max(1, int((deadline_s - time.monotonic()) * 1000)), zmq.POLLIN):
            raise RobotFault("connection", f"{what}: no answer from {self.address} in {timeout_s:g} s; it is not sent again")
        try:
            answer = loads(decompressed(self._socket.recv()))
        except PickleError as error:
            raise RobotFault("connection", f"{what}: the answer of {self.address} is refused: {error}") from error
        self.lost = False
        return answer


def decompressed(data: bytes) -> bytes:
    """Return what is in an LZ4 frame.

    Raises:
        PickleError: It is none, or more than `LONGEST` bytes.
    """
    machine = lz4.frame.LZ4FrameDecompressor()
    try:
        content = machine.decompress(data, max_length=LONGEST + 1)
    except (RuntimeError, EOFError) as error:
        raise PickleError(f"no LZ4 frame ({str(error)[:60]})") from error
    if len(content) > LONGEST:
        raise PickleError(f"more than {LONGEST} bytes when decompressed")
    if not machine.eof:
        raise PickleError("an LZ4 frame that was cut off")
    return bytes(content)
