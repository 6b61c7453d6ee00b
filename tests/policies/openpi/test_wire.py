from __future__ import annotations

import contextlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.policies.openpi.wire import UnreadableError, packed, unpacked
from soar.testing import openpi_server

ARRAYS = [
    np.zeros((3, 4, 3), np.uint8),
    np.arange(14, dtype=np.float32).reshape(2, 7),
    np.array(2.5),
    np.zeros((0, 7)),
    np.array([True, False]),
    np.arange(6).reshape(2, 3)[:, ::-1],
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_arrive_as_they_were_at_servers_and_from_them(array: np.ndarray[Any, Any]) -> None:
    for there, back in ((packed, openpi_server.unpacked), (openpi_server.packed, unpacked)):
        found = back(there({"a": array, "deep": [{"b": array}]}))
        for arrived in (found["a"], found["deep"][0]["b"]):
            assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
            assert np.array_equal(arrived, array)


def test_a_number_of_numpy_arrives_as_a_number() -> None:
    assert unpacked(openpi_server.packed({"infer_ms": np.float32(0.5)})) == {"infer_ms": 0.5}
    assert unpacked(packed({"n": np.int64(3)})) == {"n": 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({b"dtype": "|O8"}, "no numbers"),
        ({b"dtype": "<U4"}, "no numbers"),
        ({b"dtype": 3}, "no numbers"),
        ({b"shape": [3]}, r"shape \[3\]"),
        ({b"shape": [-2]}, "without shape"),
        ({b"shape": "2"}, "without shape"),
        ({b"data": "text"}, "without shape or bytes"),
        ({b"shape": [2**62, 4]}, "bytes"),
    ],
)
def test_an_array_that_is_none_is_refused(change: dict[bytes, Any], words: str) -> None:
    array = {b"__ndarray__": True, b"data": bytes(8), b"dtype": "<f4", b"shape": [2], **change}
    with pytest.raises(UnreadableError, match=words):
        unpacked(msgpack.packb({"actions": array}))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    with contextlib.suppress(UnreadableError):
        unpacked(data)


def test_a_message_that_is_nested_without_end_is_refused() -> None:
    with pytest.raises(UnreadableError):
        unpacked(b"\x91" * 100_000)
