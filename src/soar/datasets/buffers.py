"""Memory for batches of images that is used again.

A batch of 256 pairs at 256 pixels is 100 MB. Memory of that size comes from the operating system page by page, every time, and
that costs a third of what decoding the images costs. Here the memory of a batch goes back when the last array that refers to
it is gone, and the next batch gets it. So the memory that a loader holds is that of the batches that are alive at once.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KEPT = 8
"""Free buffers of one size; more are not kept."""


class _Lease:
    """Lends memory to one array and its views; NumPy keeps the lease alive as long as any of them."""

    def __init__(self, memory: NDArray[np.uint8], free: list[NDArray[np.uint8]]) -> None:
        self._memory, self._free = memory, free

    @property
    def __array_interface__(self) -> dict[str, Any]:
        interface: dict[str, Any] = self._memory.__array_interface__
        return interface

    def __del__(self) -> None:
        if len(self._free) < _KEPT:
            self._free.append(self._memory)


class Buffers:
    """Makes uint8 arrays, from memory that an earlier one no longer needs if there is some. Threads may share it."""

    def __init__(self) -> None:
        self._free: defaultdict[tuple[int, ...], list[NDArray[np.uint8]]] = defaultdict(list)

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return an array of any content; it is the caller's until the last reference to it or to a view of it is gone."""
        free = self._free[shape]
        try:
            memory = free.pop()
        except IndexError:
            memory = np.empty(shape, np.uint8)
        return np.asarray(_Lease(memory, free))
