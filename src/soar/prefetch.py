"""Work that is done ahead, by threads, and handed over in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
PREFETCH = 2
"""Results that are ready or being made before they are asked for."""


@contextmanager
def prefetched(make: Callable[[int], T], steps: Iterable[int], ahead: int = PREFETCH) -> Iterator[Iterator[T]]:
    """Yield an iterator over what `make` returns for each step, in order; `ahead` threads make the next ones meanwhile.

    An error of `make` is raised where its result was due. At the end of the context no thread is at work.
    """
    pool = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="batches")

    def results() -> Iterator[T]:
        pending: deque[Future[T]] = deque()
        upcoming = iter(steps)

        def fill() -> None:
            while len(pending) < ahead and (step := next(upcoming, None)) is not None:
                pending.append(pool.submit(make, step))

        fill()
        while pending:
            first = pending.popleft()
            # The threads go on while the caller works on what it gets.
            fill()
            yield first.result()

    try:
        yield results()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
