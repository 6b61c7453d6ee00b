"""Connections that nobody has shown a token on: how many there may be, and how slow.

    opened ─► TLS, within `SHAKE_S` ─► headers, within `slow_s` ─► its request is answered ─► which is taken, within `slow_s`
                                   └◄─ waits for another one, or for its end ◄─┘

Of more than `waiting` connections whose request is not there, the one that has waited longest is closed, so that strangers who
hold many keep nobody out. How many requests are answered at a time, and how long their bodies take, is `soar.serving.auth`'s.

A connection is counted from the moment it is accepted: TLS begins here and not in uvicorn, whose protocols hear of a connection
only when its TLS is there, which a stranger need never do.
"""

from __future__ import annotations

import asyncio
import ssl

from uvicorn.protocols.http.h11_impl import H11Protocol

WAITING = 256
SHAKE_S = 10.0
"""Longest time for the two sides of a connection to agree on TLS, and for the other one to confirm its end."""


def bounded_protocol(slow_s: float, waiting: int = WAITING, tls: ssl.SSLContext | None = None) -> type[H11Protocol]:
    """Return the protocol of one server, for `uvicorn.Config(http=…)`.

    Args:
        slow_s: Longest time for headers to come, and for an answer to be taken.
        waiting: Most connections without a request.
        tls: With the server's certificate; None for none.
    """
    idle: dict[_Bounded, None] = {}  # in the order in which they began to wait

    class Protocol(_Bounded):
        """A connection of this server."""

        encryption = tls

        def begin_waiting(self) -> None:
            idle[self] = None
            self.limit(slow_s)
            if len(idle) > waiting:
                next(iter(idle)).drop()

        def end_waiting(self) -> None:
            if self in idle:
                del idle[self]
                self.limit(None)

        def pause_writing(self) -> None:
            self.limit(slow_s)
            super().pause_writing()

        def resume_writing(self) -> None:
            if self not in idle:
                self.limit(None)
            super().resume_writing()

    return Protocol


class _Bounded(H11Protocol):
    """A connection with one time limit, which is that of what it waits for."""

    encryption: ssl.SSLContext | None = None
    _line: asyncio.Transport | None = None  # as it was accepted, below TLS; None: it is gone
    _shaking: asyncio.Task[None] | None = None
    _early = b""  # what came after TLS was there and before its task had its turn
    _late: asyncio.TimerHandle | None = None

    def begin_waiting(self) -> None:
        """It has no request."""
        raise NotImplementedError

    def end_waiting(self) -> None:
        """It has one, or is gone."""
        raise NotImplementedError

    def limit(self, limit_s: float | None) -> None:
        """Close it in so many seconds; None: never."""
        if self._late is not None:
            self._late.cancel()
        self._late = None if limit_s is None else self.loop.call_later(limit_s, self.drop)

    def drop(self) -> None:
        """Close it at once, whatever is still to be sent."""
        line = self._line
        self._forget()
        if line is not None:
            line.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, and before that for TLS."""
        self._line = transport
        if self.encryption is None:
            super().connection_made(transport)
        else:
            transport.pause_reading()  # nothing is read that is not for TLS
            self._shaking = self.loop.create_task(self._shake_hands(transport, self.encryption))
        self.begin_waiting()

    async def _shake_hands(self, line: asyncio.Transport, encryption: ssl.SSLContext) -> None:
        try:
            transport = await self.loop.start_tls(
                line, self, encryption, server_side=True, ssl_handshake_timeout=SHAKE_S, ssl_shutdown_timeout=SHAKE_S
            )
        except OSError:  # it speaks no TLS, or knows another certificate, or says nothing
            transport = None
        if transport is None or self._line is None:
            self.drop()
            return
        super().connection_made(transport)
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self.transport is None:
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._forget()
        if self.transport is not None:
            super().connection_lost(exc)

    def _forget(self) -> None:
        self._line = None
        self.end_waiting()
        self.limit(None)
        if self._shaking is not None:
            self._shaking.cancel()

    def handle_events(self) -> None:
        """Note that a request is there."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete and not self.transport.is_closing():
            self.end_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the connection's end."""
        if self._line is not None:
            self.begin_waiting()
        super().on_response_complete()
