"""Batches for a training loop of your own; `soar.training` draws and shares them in the same way.

The samples of a batch are a function of the seed and the number of the step, and of nothing else. So a loop resumes exactly by
beginning at the step that it had reached, in whatever number of threads and processes batches are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from soar.datasets.mixture import HindsightBatch, Mixture
from soar.prefetch import PREFETCH, prefetched
from soar.seeding import generator


@contextmanager
def batches(
    mixture: Mixture,
    batch_size: int,
    *,
    seed: int,
    steps: range,
    rank: int = 0,
    processes: int = 1,
    ahead: int = PREFETCH,
) -> Iterator[Iterator[HindsightBatch]]:
    """Yield an iterator over the batches of some steps, which are made ahead by threads.

    Args:
        mixture: The data.
        batch_size: Samples a step, of all processes together.
        seed: Of the draws.
        steps: Which steps; `range(reached, total)` resumes.
        rank: Number of this process, which gets the samples `rank`, `rank + processes`, … of each batch.
        processes: How many share a batch.
        ahead: Batches that are made at once, and held.

    Raises:
        ValueError: The processes cannot share a batch of this size equally, or there is none of this rank.
    """
    if batch_size < 1 or processes < 1 or batch_size % processes or not 0 <= rank < processes:
        raise ValueError(f"process {rank} of {processes} has no equal part of a batch of {batch_size}; choose a multiple")

    def make(step: int) -> HindsightBatch:
        drawn = mixture.draw(generator(seed, "batch", step), batch_size)
        return mixture.gather(drawn[rank::processes])

    with prefetched(make, steps, ahead) as made:
        yield made
