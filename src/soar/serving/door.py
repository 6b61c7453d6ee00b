"""The door of a model server, a process of its own: it says that the server lives, and hands every other connection on.

    connection ─► its first bytes ─► GET /health ─► answered here, whatever the server's process is busy with
                                  └► anything else ─► handed on as it came, nothing of it read

Python runs one thread of a process at a time. Where one parses sixteen megabytes, all others wait, and an answer waits a dozen
times for its turn: a process that works cannot promise when it answers. This one does nothing else.

The server says once in `BEAT_S` that it lives. When it has not for `SILENT_S`, /health answers 503, so that whoever watches may
start it again. Either process ends when the other one is gone. Connections that say nothing are bounded as everywhere
(`soar.serving.connections`).

It is started as a file and needs nothing but Python's own library: 10 MB, and there within a few hundredths of a second.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import sys
import time
from collections import deque

BEAT_S, SILENT_S = 1.0, 30.0
HEALTH = b"GET /health HTTP/1."
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_HEAD_BYTES = 2**14
_AT_ONCE = 64
"""Connections that are taken before those that are there have their turn."""


def _answer(status: str, content: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    return head.encode() + content


WELL, STUCK = _answer("200 OK", b'{"status":"ok"}'), _answer("503 Service Unavailable", b'{"status":"stuck"}')


class Door:
    """Takes connections; `run` returns when the server is gone.

    Args:
        listener: Where they come; it listens already.
        control: To the server, a stream: connections go there, and signs of life come from there.
        slow_s: Longest time for a first byte, and for the headers of a question for health.
        waiting: Most connections of which nothing has come, and most that the server has not taken yet.
        silent_s: After how long a silence the server is taken to be stuck.
    """

    def __init__(
        self, listener: socket.socket, control: socket.socket, *, slow_s: float, waiting: int, silent_s: float = SILENT_S
    ) -> None:
        self._listener, self._control = listener, control
        self._slow_s, self._waiting, self._silent_s = slow_s, waiting, silent_s
        self._heads: dict[socket.socket, tuple[bytes, float]] = {}  # what came of each, until when; the oldest first
        self._leaving: deque[socket.socket] = deque()
        self._lived_s = time.monotonic()
        self._selector = selectors.DefaultSelector()
        for one in (listener, control):
            one.setblocking(False)
            self._selector.register(one, _READ)

    def run(self) -> None:
        """Take connections until the server is gone."""
        while True:
            for key, events in self._selector.select(BEAT_S):
                if key.fileobj is self._listener:
                    self._take()
                elif key.fileobj is not self._control:
                    self._look(key.fileobj)  # type: ignore[arg-type]
                else:
                    if events & _READ and not self._server_lives():
                        return
                    if events & _WRITE:
                        self._hand_on()
            now_s = time.monotonic()
            for visitor in [visitor for visitor, (_, until_s) in self._heads.items() if until_s <= now_s]:
                self._drop(visitor)

    def _server_lives(self) -> bool:
        try:
            beats = self._control.recv(4096)
        except OSError:
            return False
        self._lived_s = time.monotonic()
        return bool(beats)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                visitor, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # it is gone again, or there are no more files to open
                if self._heads:
                    self._drop(next(iter(self._heads)))
                time.sleep(0.001)
                return
            visitor.setblocking(False)
            self._heads[visitor] = b"", time.monotonic() + self._slow_s
            self._selector.register(visitor, _READ)
            if len(self._heads) > self._waiting:
                self._drop(next(iter(self._heads)))
            self._look(visitor)

    def _look(self, visitor: socket.socket) -> None:
        """Answer or hand on, if enough has come to know."""
        if visitor not in self._heads:
            return  # dropped a moment ago
        head, until_s = self._heads[visitor]
        try:
            if not head and (first := visitor.recv(len(HEALTH), socket.MSG_PEEK)) and first != HEALTH:
                self._forget(visitor)
                self._leaving.append(visitor)
                self._hand_on()
                return
            part = visitor.recv(_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        head += part
        if part and b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
            self._heads[visitor] = head, until_s
            return
        if b"\r\n\r\n" in head:
            with contextlib.suppress(OSError):
                visitor.send(WELL if time.monotonic() - self._lived_s <= self._silent_s else STUCK)
                visitor.shutdown(socket.SHUT_WR)
        self._drop(visitor)

    def _hand_on(self) -> None:
        """Give the server what it takes; who has waited longest for that makes room."""
        with contextlib.suppress(OSError):  # it has no room for more, or is gone
            while self._leaving:
                socket.send_fds(self._control, [b"+"], [self._leaving[0].fileno()])
                self._leaving.popleft().close()
        while len(self._leaving) > self._waiting:
            self._leaving.popleft().close()
        self._selector.modify(self._control, _READ | _WRITE if self._leaving else _READ)

    def _forget(self, visitor: socket.socket) -> None:
        del self._heads[visitor]
        self._selector.unregister(visitor)

    def _drop(self, visitor: socket.socket) -> None:
        self._forget(visitor)
        visitor.close()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # whoever ends the server by them may send them to both
        signal.signal(number, signal.SIG_IGN)
    listening, controlling, slow, most = sys.argv[1:]
    Door(
        socket.socket(fileno=int(listening)), socket.socket(fileno=int(controlling)), slow_s=float(slow), waiting=int(most)
    ).run()
