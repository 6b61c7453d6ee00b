"""Requests that come at about the same time become one batch.

    request ─► [a]          model is busy with an earlier batch, or a moment passes
    request ─► [a b c]      at most `max_batch` are taken together ─► one call of the model ─► each request gets its part
    request ─► [d]          … and wait here meanwhile; more than `most_waiting` are refused

Who is gone is not worked for; one whose items are in the batch that is being made waits for its end, because they are memory.
One batch that fails is tried again one by one, so that what one peer sends cannot spoil what others get. Whatever ends the
work, a panic of a library in Rust or the end of this process, all who wait for it get an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from soar.errors import ConfigError, SoarError
from soar.prometheus import Histogram, MetricsText

log = logging.getLogger(__name__)
In = TypeVar("In")
Out = TypeVar("Out")


class OverloadedError(SoarError):
    """Too many requests are waiting."""


class ModelFailedError(SoarError):
    """The model raised an error; its message names only the kind, because strangers read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How batches form.

    Attributes:
        max_batch: Most items of a batch.
        wait_ms: How long the first of a batch that is not full waits for others, when the model is idle.
        every_ms: After how long at the earliest a batch that is not full follows the one before, from beginning to beginning.
        most_waiting: Items that may wait.
    """

    max_batch: int = 8
    wait_ms: float = 5.0
    every_ms: float = 0.0
    most_waiting: int = 256

    def __post_init__(self) -> None:
        if self.max_batch < 1 or self.most_waiting < 1 or self.wait_ms < 0 or self.every_ms < 0:
            raise ConfigError(f"max_batch and most_waiting must be positive, wait_ms and every_ms not negative; got {self}")


class Batcher(Generic[In, Out]):
    """Calls a function with batches of what is asked for one by one. Used in one event loop; the function has one thread.

    Args:
        work: From some items to as many results.
        config: See `BatchConfig`.

    Attributes:
        batches: Calls of `work` so far.
        items: Items of those calls.
        refused: Items for which there was no place.
        failed: Items for which `work` failed.
        took: From when an item came until it was answered.
    """

    def __init__(self, work: Callable[[list[In]], Sequence[Out]], config: BatchConfig) -> None:
        self._work, self._config = work, config
        self._waiting: deque[tuple[In, asyncio.Future[Out]]] = deque()
        self._more, self._full = asyncio.Event(), asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._current: set[asyncio.Future[Out]] = set()
        self._over = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self.batches = self.items = self.refused = self.failed = 0
        self.took = Histogram()

    @property
    def waiting(self) -> int:
        """Items that wait for the model."""
        return len(self._waiting)

    async def __call__(self, items: Sequence[In]) -> list[Out]:
        """Return the results of some items.

        Raises:
            OverloadedError: Too many are waiting.
            ModelFailedError: `work` fails for one of them.
        """
        if len(self._waiting) + len(items) > self._config.most_waiting:
            self.refused += len(items)
            raise OverloadedError(f"{len(self._waiting)} items are waiting already")
        loop, begins = asyncio.get_running_loop(), time.perf_counter()
        if self._runner is None or self._runner.done():
            self._runner = loop.create_task(self._run())
        futures: list[asyncio.Future[Out]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        self._more.set()
        if len(self._waiting) >= self._config.max_batch:
            self._full.set()
        try:
            results = await asyncio.gather(*futures, return_exceptions=True)
        except asyncio.CancelledError:
            while not self._current.isdisjoint(futures):
                await self._over.wait()
            raise
        for result in results:
            self.took.add(time.perf_counter() - begins)
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    def close(self) -> None:
        """End; nobody asks any more."""
        if self._runner is not None:
            self._runner.cancel()
        self._thread.shutdown(wait=False)

    def metrics(self, prefix: str, labels: Mapping[str, str]) -> str:
        """Return what was counted, as Prometheus reads it."""
        text = MetricsText(prefix)
        text.add("batches_total", "counter", "Calls for one item or several.", [(labels, self.batches)])
        text.add("items_total", "counter", "Items of those calls.", [(labels, self.items)])
        text.add("refused_total", "counter", "Items for which there was no place.", [(labels, self.refused)])
        text.add("failed_total", "counter", "Items that failed.", [(labels, self.failed)])
        text.add("waiting", "gauge", "Items that wait.", [(labels, self.waiting)])
        text.histogram("seconds", "From when an item came until it was answered.", [(labels, self.took)])
        return str(text)

    async def _run(self) -> None:
        try:
            await self._batches()
        finally:  # nobody is left who would answer
            for future in [*self._current, *(future for _, future in self._waiting)]:
                _set(future, error=ModelFailedError("the model's server ends; ask again"))
            self._waiting.clear()
            self._current = set()
            self._over.set()

    async def _batches(self) -> None:
        next_s = -float("inf")
        while True:
            self._more.clear()
            if not self._waiting:
                await self._more.wait()
            if len(self._waiting) < self._config.max_batch:
                self._full.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(self._config.wait_ms / 1000, next_s - time.perf_counter())):
                        await self._full.wait()
            batch: list[tuple[In, asyncio.Future[Out]]] = []
            while self._waiting and len(batch) < self._config.max_batch:
                item, future = self._waiting.popleft()
                if not future.cancelled():  # else whoever asked is gone
                    batch.append((item, future))
            if batch:
                self._current = {future for _, future in batch}
                self._over.clear()
                next_s = time.perf_counter() + self._config.every_ms / 1000
                await self._do(batch)
                self._current = set()
                self._over.set()

    async def _do(self, batch: list[tuple[In, asyncio.Future[Out]]]) -> None:
        self.batches, self.items = self.batches + 1, self.items + len(batch)
        loop = asyncio.get_running_loop()
        results, error = await loop.run_in_executor(self._thread, self._try, [item for item, _ in batch])
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error  # which ends the process
        if error is None:
            for (_, future), result in zip(batch, results, strict=True):
                _set(future, result=result)
        elif len(batch) == 1:
            self.failed += 1
            log.error("the model failed", exc_info=error)
            _set(batch[0][1], error=ModelFailedError(f"the model failed ({type(error).__name__}); the server's log says more"))
        else:
            for one in batch:
                await self._do([one])

    def _try(self, items: list[In]) -> tuple[Sequence[Out], BaseException | None]:
        """Work, in the thread. An error is returned and not raised: nothing that the work raises is a cancellation here."""
        try:
            results = self._work(items)
            if len(results) != len(items):
                raise ValueError(f"{len(results)} results for {len(items)} items")
        except BaseException as error:  # noqa: BLE001 - a panic of Rust is no Exception
            return [], error
        return results, None


def _set(future: asyncio.Future[Out], *, result: Out | None = None, error: Exception | None = None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]
