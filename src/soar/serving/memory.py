"""How much memory requests may take, all together: what is not free is refused before it is taken.

    request ─► its bytes are booked ─► read ─► its pixels are booked ─► decoded ─► answered, or given up ─► all given back

Pixels are known from the headers of pictures: some kilobytes can be a hundred megabytes. What is freed goes back to the system:
the C library keeps large pieces otherwise, one heap for each thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from soar.errors import SoarError

T = TypeVar("T")
_THREADS = 2


class NoRoomError(SoarError):
    """There is too little memory for a request.

    Attributes:
        ever: Whether there would be when nobody else asks.
    """

    def __init__(self, message: str, *, ever: bool) -> None:
        super().__init__(message)
        self.ever = ever


class Memory:
    """What all requests of a server may take. Used in one event loop.

    Args:
        total: Bytes.
        each: Bytes that all requests of one peer may take together; None: all.
    """

    def __init__(self, total: int, each: int | None = None) -> None:
        self.total, self.taken, self._since_trimmed = total, 0, 0
        self.each = total if each is None else each
        self.taken_by: Counter[str] = Counter()

    @contextmanager
    def booking(self, who: str = "") -> Iterator[Booking]:
        """Take part of it, for a request of a peer; it is given back at the end. `book` within adds to it."""
        booking = Booking(self, who)
        token = _booking.set(booking)
        try:
            yield booking
        finally:
            _booking.reset(token)
            self.taken -= booking.taken
            self.taken_by[who] -= booking.taken
            self._since_trimmed += booking.taken
            if self._since_trimmed > self.total // 4 and (self.taken == 0 or self._since_trimmed > self.total):
                self._since_trimmed = 0
                _threads().submit(_give_back)


class Booking:
    """What one request takes."""

    def __init__(self, memory: Memory, who: str) -> None:
        self._memory, self._who, self.taken = memory, who, 0

    def check(self, count: int) -> None:
        """Refuse what there is no room for now; nothing is taken.

        Raises:
            NoRoomError: So many bytes more are not there.
        """
        memory = self._memory
        if self.taken + count > memory.each:
            raise NoRoomError(
                f"this request would take {(self.taken + count) / 2**20:.0f} MB of memory, and all together may take "
                f"{memory.each / 2**20:.0f}: send fewer or smaller pictures, or start the server with a larger "
                "--max-total-megabytes",
                ever=False,
            )
        if memory.taken + count > memory.total:
            raise NoRoomError("other requests take all memory that there is; try again", ever=True)
        if memory.taken_by[self._who] + count > memory.each:
            raise NoRoomError("other requests with this token take all memory that there is for them; try again", ever=True)

    def add(self, count: int) -> None:
        """Take some bytes more.

        Raises:
            NoRoomError: They are not there.
        """
        self.check(count)
        memory = self._memory
        self.taken, memory.taken = self.taken + count, memory.taken + count
        memory.taken_by[self._who] += count


_booking: ContextVar[Booking] = ContextVar("booking")


def book(count: int) -> None:
    """Take so many bytes for the request that is being answered; outside of one, nothing happens.

    Raises:
        NoRoomError: They are not there.
    """
    if (booking := _booking.get(None)) is not None:
        booking.add(count)


async def aside(work: Callable[[], T]) -> T:
    """Do work in a thread. Who is cancelled meanwhile waits for its end, because its memory is booked."""
    job = _threads().submit(work)
    done = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        if not job.cancel():
            await asyncio.wait([done])
        raise


async def each_aside(works: Iterable[Callable[[], T]]) -> list[T]:
    """Do several pieces of work in threads, one after another. Others have their turn in between, and who is cancelled waits
    for one piece at most."""
    return [await aside(work) for work in works]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)
