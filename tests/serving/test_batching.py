from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from soar.errors import ConfigError
from soar.serving.batching import BatchConfig, Batcher, ModelFailedError, OverloadedError

Test = Callable[[], Awaitable[None]]


class Doubling:
    """Doubles numbers; the first batch waits until it is let go, and a negative number breaks any batch."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.begun.set()
        self.go.wait(600)
        if min(items) < 0:
            raise ArithmeticError(f"{min(items)} is negative")
        return [2 * item for item in items]


async def busy(model: Doubling, batcher: Batcher[int, int]) -> asyncio.Task[list[int]]:
    """Make the model busy with a first batch."""
    first = asyncio.create_task(batcher([0]))
    await asyncio.to_thread(model.begun.wait)
    return first


def batcher(model: Callable[[list[int]], list[int]], **changes: Any) -> Batcher[int, int]:
    return Batcher(model, BatchConfig(**{"max_batch": 4, "wait_ms": 0.0, **changes}))


def test_what_comes_while_the_model_is_busy_is_one_batch_and_each_gets_its_part() -> None:
    async def run() -> None:
        model = Doubling()
        ask = batcher(model)
        first = await busy(model, ask)
        others = [asyncio.create_task(ask(items)) for items in ([1], [2, 3], [4, 5])]
        await asyncio.sleep(0)
        model.go.set()
        assert await first == [0]
        assert await asyncio.gather(*others) == [[2], [4, 6], [8, 10]]
        assert model.batches == [[0], [1, 2, 3, 4], [5]], "at most four at a time, in order"
        assert (ask.batches, ask.items) == (3, 6)

    asyncio.run(run())


def test_batches_that_are_not_full_keep_a_distance_and_a_full_one_waits_for_nothing() -> None:
    async def run() -> None:
        model = Doubling()
        model.go.set()
        ask = batcher(model, max_batch=3, every_ms=1e9)
        assert await ask([1]) == [2], "nothing came before it"
        pair = asyncio.create_task(ask([2, 3]))
        done, _ = await asyncio.wait([pair], timeout=0.05)
        assert not done
        assert model.batches == [[1]]
        assert await ask([4]) == [8]
        assert await pair == [4, 6]
        assert model.batches == [[1], [2, 3, 4]]

    asyncio.run(run())


def test_what_breaks_a_batch_breaks_it_for_nobody_else() -> None:
    async def run() -> None:
        model = Doubling()
        ask = batcher(model)
        first = await busy(model, ask)
        good, bad, fine = (asyncio.create_task(ask([item])) for item in (1, -2, 3))
        await asyncio.sleep(0)
        model.go.set()
        assert (await first, await good, await fine) == ([0], [2], [6])
        with pytest.raises(ModelFailedError, match=r"failed \(ArithmeticError\)"):
            await bad
        assert await ask([7]) == [14], "and it goes on"

    asyncio.run(run())


class Panic(BaseException):
    """As a panic of Rust comes: it is no Exception."""


@pytest.mark.parametrize("kind", [Panic, asyncio.CancelledError, GeneratorExit])
def test_a_panic_breaks_a_batch_for_nobody_else_either(kind: type[BaseException]) -> None:
    def work(items: list[int]) -> list[int]:
        if min(items) < 0:
            raise kind("index out of bounds")
        return items

    async def run() -> None:
        ask = batcher(work)
        answers = await asyncio.wait_for(asyncio.gather(*(ask([item]) for item in (1, -2, 3)), return_exceptions=True), 60)
        assert (answers[0], answers[2]) == ([1], [3])
        assert isinstance(answers[1], ModelFailedError)
        assert f"failed ({kind.__name__})" in str(answers[1])
        assert (await ask([7]), ask.failed) == ([7], 1), "and it goes on"

    asyncio.run(run())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_process_ends_it_and_all_who_wait_get_an_error(kind: type[BaseException]) -> None:
    begun, go, answered = threading.Event(), threading.Event(), list[int]()

    def work(items: list[int]) -> list[int]:
        begun.set()
        go.wait(600)
        raise kind

    async def one(ask: Batcher[int, int], item: int) -> None:
        try:
            with pytest.raises((ModelFailedError, asyncio.CancelledError)):
                await ask([item])
        finally:
            answered.append(item)

    async def run() -> None:
        ask = batcher(work, max_batch=2)
        tasks = [asyncio.create_task(one(ask, item)) for item in range(5)]
        await asyncio.to_thread(begun.wait)
        go.set()
        await asyncio.wait(tasks)

    with pytest.raises(kind):
        asyncio.run(run())
    assert sorted(answered) == [0, 1, 2, 3, 4]


def test_who_waits_for_a_model_that_is_closed_gets_an_error() -> None:
    async def run() -> None:
        model = Doubling()
        ask = batcher(model)
        first = await busy(model, ask)
        waiting = asyncio.create_task(ask([1]))
        await asyncio.sleep(0)
        ask.close()
        for asked in (first, waiting):
            with pytest.raises(ModelFailedError, match="the model's server ends"):
                await asyncio.wait_for(asked, 60)
        model.go.set()

    asyncio.run(run())


def test_too_many_are_refused_at_once() -> None:
    async def run() -> None:
        model = Doubling()
        ask = batcher(model, most_waiting=3)
        first = await busy(model, ask)
        waiting = asyncio.create_task(ask([1, 2]))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="2 items are waiting"):
            await ask([3, 4])
        model.go.set()
        assert (await first, await waiting) == ([0], [2, 4])

    asyncio.run(run())


def test_nobody_works_for_one_who_is_gone() -> None:
    async def run() -> None:
        model = Doubling()
        ask = batcher(model)
        first = await busy(model, ask)
        gone, here = asyncio.create_task(ask([1])), asyncio.create_task(ask([2]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.go.set()
        assert (await first, await here) == ([0], [4])
        assert model.batches == [[0], [2]]

    asyncio.run(run())


def test_a_model_that_loses_answers_is_broken() -> None:
    with pytest.raises(ModelFailedError, match="ValueError"):
        asyncio.run(batcher(lambda items: [])([1]))


def test_wrong_numbers_are_refused() -> None:
    for wrong in ({"max_batch": 0}, {"wait_ms": -1.0}, {"most_waiting": 0}):
        with pytest.raises(ConfigError, match="must be positive"):
            BatchConfig(**wrong)
