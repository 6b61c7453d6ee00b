from __future__ import annotations

import threading

import pytest

from soar.prefetch import prefetched


def test_results_come_in_the_order_of_the_steps() -> None:
    later = threading.Event()

    def make(step: int) -> int:
        if step == 0:
            later.wait(600)  # until the second is made
        if step == 1:
            later.set()
        return step * step

    with prefetched(make, range(5)) as results:
        assert list(results) == [0, 1, 4, 9, 16]


def test_an_error_comes_where_its_result_was_due() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("step 2")
        return step

    with prefetched(make, range(5)) as results:
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="step 2"):
            next(results)


def test_no_thread_is_at_work_afterwards_and_little_was_made_ahead() -> None:
    made: list[int] = []
    with prefetched(made.append, range(1000)) as results:
        next(results)
    count = len(made)
    assert count <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
