"""Plain data and NumPy arrays as pickles that any Python 3.4 or newer can read, with NumPy 1 or 2.

Byte for byte what `pickle.dumps` of Python 3.8 writes when NumPy is 1.24: robots' servers run those, and cannot read the arrays
that NumPy 2 describes. Written by hand, since what `pickle` writes depends on the NumPy that is installed.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

_FRAME = 64 * 1024
_MODULE = "numpy.core.multiarray"


def dumps(value: Any) -> bytes:
    """Return a value as a pickle.

    Args:
        value: None, bool, int, float, str, bytes, arrays of numbers, and tuples, lists, sets and dictionaries of them.

    Raises:
        TypeError: It is something else.
    """
    writer = _Writer()
    writer.save(value)
    return writer.finished()


class _Writer:
    """Writes one pickle: instructions, collected in frames of 64 kB."""

    def __init__(self) -> None:
        self._out = bytearray(b"\x80\x04")
        self._frame = bytearray()
        self._memo: dict[tuple[str, Any], int] = {}
        self._next = 0

    def finished(self) -> bytes:
        """Return the pickle."""
        self._frame += b"."
        self._end_frame()
        return bytes(self._out)

    def save(self, value: Any) -> None:
        """Write one value, and what is in it."""
        if value is None or value is True or value is False:
            self._frame += {None: b"N", True: b"\x88", False: b"\x89"}[value]
        elif type(value) is int:
            self._frame += _integer(value)
        elif type(value) is float:
            self._frame += b"G" + struct.pack(">d", value)
        elif type(value) is str:
            self._once(("text", value), lambda: self._text(value))
        elif type(value) is bytes:
            # One byte is one object in CPython, whoever makes it.
            self._once(("byte", value) if len(value) == 1 else None, lambda: self._bytes(value))
        elif type(value) in (list, tuple, set, dict):
            self._collection(value)
        elif isinstance(value, np.ndarray):
            self._array(value)
        else:
            raise TypeError(f"a {type(value).__name__} cannot be sent")
        if len(self._frame) >= _FRAME:
            self._end_frame()

    def _collection(self, value: Any) -> None:
        if type(value) is tuple:
            if 0 < len(value) <= 3:
                for item in value:
                    self.save(item)
                self._memoized(bytes([0x84 + len(value)]))
            elif value:
                self._frame += b"("
                for item in value:
                    self.save(item)
                self._memoized(b"t")
            else:
                self._frame += b")"
            return
        kind: Any = type(value)
        self._memoized({list: b"]", set: b"\x8f", dict: b"}"}[kind])
        items = list(value.items()) if kind is dict else [(item,) for item in value]
        one, many = {list: (b"a", b"e"), set: (b"", b"\x90"), dict: (b"s", b"u")}[kind]
        for start in range(0, len(items), 1000):
            batch = items[start : start + 1000]
            single = len(batch) == 1 and bool(one)
            self._frame += b"" if single else b"("
            for entry in batch:
                for part in entry:
                    self.save(part)
            self._frame += one if single else many

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        dtype = array.dtype
        if dtype.kind not in "biuf":
            raise TypeError(f"an array of {dtype} cannot be sent")
        self._name(_MODULE, "_reconstruct")
        self._name("numpy", "ndarray")
        self.save((0,))
        self.save(b"b")
        self._memoized(b"\x87")
        self._memoized(b"R")
        self._frame += b"("
        self.save(1)
        self.save(tuple(int(side) for side in array.shape))
        self._once(("dtype", dtype.str), lambda: self._dtype(dtype))
        self.save(False)
        self._bytes(np.ascontiguousarray(array).tobytes())
        self._memoized(b"t")
        self._frame += b"b"

    def _dtype(self, dtype: np.dtype[Any]) -> None:
        self._name("numpy", "dtype")
        for part in (dtype.str[1:], False, True):
            self.save(part)
        self._memoized(b"\x87")
        self._memoized(b"R", ("dtype", dtype.str))
        self.save((3, dtype.str[0], None, None, None, -1, -1, 0))
        self._frame += b"b"

    def _name(self, module: str, name: str) -> None:
        def write() -> None:
            self.save(module)
            self.save(name)
            self._memoized(b"\x93", ("name", (module, name)))

        self._once(("name", (module, name)), write)

    def _text(self, text: str) -> None:
        data = text.encode()
        head = b"\x8c" + bytes([len(data)]) if len(data) < 256 else b"X" + struct.pack("<I", len(data))
        self._long(head, data)
        self._memoized(b"", ("text", text))

    def _bytes(self, data: bytes) -> None:
        head = b"C" + bytes([len(data)]) if len(data) < 256 else b"B" + struct.pack("<I", len(data))
        self._long(head, data)
        self._memoized(b"", ("byte", data) if len(data) == 1 else None)

    def _long(self, head: bytes, data: bytes) -> None:
        """Write bytes, outside of a frame if they would fill one."""
        if len(data) >= _FRAME:
            self._end_frame()
            self._out += head + data
        else:
            self._frame += head + data

    def _once(self, key: tuple[str, Any] | None, write: Any) -> None:
        """Refer to what was written before, or write it."""
        place = self._memo.get(key) if key is not None else None
        if place is None:
            write()
        else:
            self._frame += b"h" + bytes([place]) if place < 256 else b"j" + struct.pack("<I", place)

    def _memoized(self, instruction: bytes, key: tuple[str, Any] | None = None) -> None:
        self._frame += instruction + b"\x94"
        if key is not None:
            self._memo[key] = self._next
        self._next += 1

    def _end_frame(self) -> None:
        if len(self._frame) >= 4:
            self._out += b"\x95" + struct.pack("<Q", len(self._frame))
        self._out += self._frame
        self._frame.clear()


def _integer(value: int) -> bytes:
    if 0 <= value < 2**8:
        return b"K" + bytes([value])
    if 0 <= value < 2**16:
        return b"M" + struct.pack("<H", value)
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) > 255:
        raise TypeError(f"an integer of {len(data)} bytes cannot be sent")
    return b"\x8a" + bytes([len(data)]) + data
