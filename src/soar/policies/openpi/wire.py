"""What is said to openpi's servers and by them: msgpack, in which an array is a map. Nothing is pickled.

    {b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [10, 7]}      an array
    {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}                         one number

Of what comes back, arrays of numbers and truth values are believed, whose bytes are as many as dtype and shape say.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
import numpy as np

from soar.errors import SoarError

MOST_BYTES = 16 * 2**20
"""Of one message."""
_MOST_VALUES = 100_000
_DTYPE = re.compile(r"[<>|=]?[biuf][1248]")
_MOST_AXES = 8


class UnreadableError(SoarError):
    """What a server said is no message of this protocol."""


def packed(message: Any) -> bytes:
    """Return a message of maps, lists, texts, numbers and arrays as bytes."""
    data: bytes = msgpack.packb(message, default=_as_map)
    return data


def unpacked(data: bytes) -> Any:
    """Return the message in bytes.

    Raises:
        UnreadableError: There is none, or it holds an array that is none.
    """
    try:
        return msgpack.unpackb(data, object_hook=_as_array, max_array_len=_MOST_VALUES, max_map_len=_MOST_VALUES)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise UnreadableError(f"not msgpack: {error or type(error).__name__}") from error


def _as_map(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value)
        return {b"__ndarray__": True, b"data": data.tobytes(), b"dtype": data.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"a {type(value).__name__} cannot be sent")


def _as_array(found: dict[Any, Any]) -> Any:
    if b"__npgeneric__" in found:
        return found.get(b"data")
    if b"__ndarray__" not in found:
        return found
    dtype, shape, data = (found.get(name) for name in (b"dtype", b"shape", b"data"))
    if not (isinstance(dtype, str) and _DTYPE.fullmatch(dtype)):
        raise ValueError(f"an array of {str(dtype)[:40]!r}, which are no numbers")
    if not (isinstance(shape, list) and isinstance(data, bytes) and len(shape) <= _MOST_AXES):
        raise ValueError("an array without shape or bytes")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array without shape")
    kind = np.dtype(dtype)
    if len(data) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} with {len(data)} bytes")
    return np.frombuffer(data, kind).reshape(shape)
