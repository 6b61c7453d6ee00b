from __future__ import annotations

import numpy as np
import torch

from soar.datasets.buffers import Buffers

SHAPE = (4, 8, 8, 3)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again_when_nobody_refers_to_it() -> None:
    buffers = Buffers()
    first = buffers.empty(SHAPE)
    where = address(first)
    del first
    assert address(buffers.empty(SHAPE)) == where


def test_memory_is_not_used_again_while_a_view_or_a_tensor_refers_to_it() -> None:
    buffers = Buffers()
    arrays = [buffers.empty(SHAPE) for _ in range(3)]
    views = [arrays[0][2:], torch.from_numpy(arrays[1])[0], arrays[2].reshape(-1)[5:6]]
    for number, view in enumerate(views):
        view[...] = number
    del arrays
    others = [buffers.empty(SHAPE) for _ in range(6)]
    for other in others:
        other[...] = 99
    assert [set(np.asarray(view).ravel().tolist()) for view in views] == [{0}, {1}, {2}]


def test_arrays_are_writable_and_of_the_shape_that_was_asked_for() -> None:
    buffers = Buffers()
    for shape in (SHAPE, (2, 1, 1, 3)):
        array = buffers.empty(shape)
        array[...] = 7
        assert (array.shape, array.dtype, int(array.sum())) == (shape, np.uint8, 7 * int(np.prod(shape)))
