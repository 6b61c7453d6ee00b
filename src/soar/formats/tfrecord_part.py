"""Some features of a record, without reading the others: vectors are a few kilobytes beside megabytes of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from soar.errors import FormatError
from soar.formats import tfrecord

_HEAD_BYTES = 512
"""The name of a feature is within so many bytes."""


def read_part(record: tfrecord.Record, wanted: Callable[[str, int], bool]) -> bytes:
    """Return a `tf.train.Example` with some of the features of a record; what is not wanted is not read, nor verified.

    Args:
        record: Which one.
        wanted: Is asked with the name and the size in bytes of each feature.

    Raises:
        FormatError: It is damaged or truncated.
    """
    if record.length is None:
        return tfrecord.read(record)
    parts = []
    try:
        with tfrecord.opened(record.path, record.packed) as (file, _):
            begin = record.offset + tfrecord.HEADER.size
            end = begin + record.length
            size, place = _field(_at(file, begin), 0)
            begin += place
            if begin + size != end:
                return tfrecord.read(record)
            while begin < end:
                head = _at(file, begin)
                size, place = _field(head, 0)
                length, name = _field(head, place)
                if begin + place + size > end or name + length > len(head):
                    return tfrecord.read(record)
                if wanted(head[name : name + length].decode(), size):
                    file.seek(begin)
                    parts.append(file.read(place + size))
                begin += place + size
    except OSError as error:
        raise FormatError(f"cannot read {record.path}: {error.strerror or error}") from error
    except (IndexError, ValueError):
        # Another program may order it otherwise.
        return tfrecord.read(record)
    features = b"".join(parts)
    return b"\x0a" + _varint(len(features)) + features


def _at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(_HEAD_BYTES)


def _field(data: bytes, place: int) -> tuple[int, int]:
    """Return the size of the first field of a message, which must have a length, and where its content begins."""
    if data[place] != 0x0A:
        raise ValueError(f"expected a field with a length at {place}")
    size = shift = 0
    while True:
        place += 1
        size |= (data[place] & 0x7F) << shift
        shift += 7
        if not data[place] & 0x80:
            return size, place + 1


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
