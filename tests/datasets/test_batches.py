from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.datasets import HindsightSampler, Mixture
from soar.datasets.batches import batches
from tests.episodes.builders import make_arrays

MIXTURE = Mixture([("a", HindsightSampler(make_arrays([20, 30])), 0.8), ("b", HindsightSampler(make_arrays([9])), 0.2)])


def rows(start: int, stop: int, **options: int) -> list[list[int]]:
    with batches(MIXTURE, 12, seed=5, steps=range(start, stop), **options) as made:
        return [batch.rows_B.tolist() for batch in made]


@given(reached=st.integers(0, 9), ahead=st.integers(1, 4))
@settings(max_examples=20)
def test_a_loop_that_resumes_sees_the_batches_that_it_would_have_seen(reached: int, ahead: int) -> None:
    assert rows(0, 9)[reached:] == rows(reached, 9, ahead=ahead)


@pytest.mark.parametrize("processes", [1, 2, 3, 12])
def test_processes_share_each_batch_without_rest_or_repetition(processes: int) -> None:
    whole = rows(0, 3)
    parts = [rows(0, 3, rank=rank, processes=processes) for rank in range(processes)]
    for step in range(3):
        assert np.stack([part[step] for part in parts], 1).ravel().tolist() == whole[step]


@pytest.mark.parametrize(("rank", "processes"), [(0, 5), (2, 2), (-1, 2), (0, 0)])
def test_parts_that_do_not_exist_are_refused(rank: int, processes: int) -> None:
    with pytest.raises(ValueError, match="no equal part of a batch of 12"):
        rows(0, 1, rank=rank, processes=processes)
