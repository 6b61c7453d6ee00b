"""Connections that nobody has shown a token on: how many there may be, and how slow.

    opened ─► headers, within `slow_s` ─► its request is answered ─► which is taken, within `slow_s` ─► waits for another one

Of more than `waiting` connections whose request is not there, the one that has waited longest is closed, so that strangers who
hold many keep nobody out. How many requests are answered at a time, and how long their bodies take, is `soar.serving.auth`'s.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

WAITING = 256


def bounded_protocol(slow_s: float, waiting: int = WAITING) -> type[H11Protocol]:
    """Return the protocol of one server, for `uvicorn.Config(http=…)`.

    Args:
        slow_s: Longest time for headers to come, and for an answer to be taken.
        waiting: Most connections without a request.
    """
    idle: dict[_Bounded, None] = {}  # in the order in which they began to wait

    class Protocol(_Bounded):
        """A connection of this server."""

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
        self.end_waiting()
        self.limit(None)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.begin_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.end_waiting()
        self.limit(None)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Note that a request is there."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.end_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        if not self.transport.is_closing():
            self.begin_waiting()
        super().on_response_complete()
