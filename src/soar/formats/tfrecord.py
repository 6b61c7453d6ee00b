"""TFRecord files, plain or packed by gzip or zlib, and the `tf.train.Example` in them, without TensorFlow.

```
record   length (u64)   CRC of the length (u32)   data (length bytes)   CRC of the data (u32)     all little-endian
```

The CRCs are CRC32C, masked. Both are verified. A record whose data is damaged is lost alone; after a damaged length nobody
knows where the next record begins, so the rest of the file is lost.

A packed file cannot be read from the middle. It is unpacked into a temporary file that has no name, one at a time.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from soar.errors import FormatError

HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_BLOCK_BYTES = 2**20
_GZIP_OR_ZLIB = 47
"""What zlib calls either, told apart by the header."""
_FOREIGN = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip"}

Values = list[bytes] | NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where a record is.

    Attributes:
        path: Of the file.
        number: Of the record in the file, from 0.
        offset: Of its first byte in the file.
        length: Of its data in bytes; None where the length itself is damaged and the file ends for us.
        crc: Of its data, as the file has it; 0 where the length is damaged.
        packed: Whether the file is; the offset is in what it holds.
    """

    path: Path
    number: int
    offset: int
    length: int | None
    crc: int = 0
    packed: bool = False

    @property
    def place(self) -> str:
        """File and offset, for messages."""
        return f"{self.path} at offset {self.offset} (record {self.number})"


def scan(path: Path) -> list[Record]:
    """Return where the records of a file are; only their lengths and checksums are read.

    Raises:
        FormatError: The file cannot be read, or is packed by another program.
    """
    try:
        packed = _is_packed(path)
        with opened(path, packed) as (file, whole):
            return _scan(path, file, packed, whole)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error


def read(record: Record) -> bytes:
    """Return the data of a record, verified.

    Raises:
        FormatError: It is damaged or truncated.
    """
    if record.length is None:
        raise FormatError(
            f"{record.place}: the length is damaged or the file is truncated; what follows in this file cannot be found. "
            "Download the file again"
        )
    try:
        with opened(record.path, record.packed) as (file, _):
            file.seek(record.offset + HEADER.size)
            data = file.read(record.length)
            crc = file.read(_CRC.size)
    except OSError as error:
        raise FormatError(f"cannot read {record.path}: {error.strerror or error}") from error
    if len(crc) != _CRC.size or _CRC.unpack(crc)[0] != masked_crc(data):
        raise FormatError(f"{record.place}: the checksum is wrong, the data is damaged. Download the file again")
    return data


def _scan(path: Path, file: BinaryIO, packed: bool, whole: bool) -> list[Record]:
    records: list[Record] = []
    end = file.seek(0, os.SEEK_END)
    offset = 0
    file.seek(0)
    header = file.read(HEADER.size)
    while offset < end:
        length = None
        if len(header) == HEADER.size:
            found, crc = HEADER.unpack(header)
            if crc == masked_crc(header[:8]) and offset + HEADER.size + found + _CRC.size <= end:
                length = found
        if length is None:
            records.append(Record(path=path, number=len(records), offset=offset, length=None, packed=packed))
            return records
        file.seek(offset + HEADER.size + length)
        after = file.read(_CRC.size + HEADER.size)
        crc = _CRC.unpack_from(after)[0]
        records.append(Record(path=path, number=len(records), offset=offset, length=length, crc=crc, packed=packed))
        offset += HEADER.size + length + _CRC.size
        header = after[_CRC.size :]
    if not whole:
        records.append(Record(path=path, number=len(records), offset=offset, length=None, packed=packed))
    return records


def _is_packed(path: Path) -> bool:
    """Whether a file is packed by gzip or zlib: what it begins with says so, not its name."""
    with path.open("rb") as file:
        header = file.read(HEADER.size)
    if len(header) == HEADER.size and HEADER.unpack(header)[1] == masked_crc(header[:8]):
        return False
    for magic, name in _FOREIGN.items():
        if header.startswith(magic):
            raise FormatError(f"{path} is packed by {name}, and this reads gzip and zlib only; unpack the file")
    zlib_header = header[:1] == b"\x78" and len(header) > 1 and int.from_bytes(header[:2], "big") % 31 == 0
    return header.startswith(b"\x1f\x8b") or zlib_header


@contextmanager
def opened(path: Path, packed: bool) -> Iterator[tuple[BinaryIO, bool]]:
    """Yield a file of records, and whether nothing of it is missing as far as its packing tells."""
    if packed:
        found = path.stat()
        yield _unpacked(path, found.st_size, found.st_mtime_ns)
        return
    with path.open("rb") as file:
        yield file, True


@lru_cache(maxsize=1)
def _unpacked(path: Path, size: int, changed_ns: int) -> tuple[BinaryIO, bool]:
    """Unpack a file; the last one stays open, as its records are read one after the other."""
    # It is closed, and gone, when nobody holds it any more.
    target = tempfile.TemporaryFile()  # noqa: SIM115
    with path.open("rb") as source:
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            while block := source.read(_BLOCK_BYTES):
                while block:
                    target.write(unpacker.decompress(block))
                    block = unpacker.unused_data
                    if unpacker.eof and block.strip(b"\0"):
                        # Several packed files one after the other are one, for gzip.
                        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
                    elif unpacker.eof:
                        block = b""
        except zlib.error:
            return target, False
    return target, unpacker.eof


def write(file: BinaryIO, data: bytes) -> None:
    """Append one record to an open file."""
    length = struct.pack("<Q", len(data))
    file.write(length + _CRC.pack(masked_crc(length)))
    file.write(data)
    file.write(_CRC.pack(masked_crc(data)))


def masked_crc(data: bytes) -> int:
    """Return the CRC32C of `data` as TFRecord stores it."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def parse_example(data: bytes, place: str) -> dict[str, Values]:
    """Return the features of a serialised `tf.train.Example`: bytes as lists, numbers as flat arrays.

    Raises:
        FormatError: It is something else.
    """
    message = _Example()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise FormatError(f"{place}: not a tf.train.Example ({error}); is this an RLDS dataset?") from error
    features: dict[str, Values] = {}
    for name, feature in message.features.feature.items():
        match feature.WhichOneof("kind"):
            case "bytes_list":
                features[name] = list(feature.bytes_list.value)
            case "float_list":
                features[name] = np.array(feature.float_list.value, np.float32)
            case "int64_list":
                features[name] = np.array(feature.int64_list.value, np.int64)
            case _:
                features[name] = []
    return features


def serialise_example(features: Mapping[str, Sequence[bytes] | NDArray[Any]]) -> bytes:
    """Return a serialised `tf.train.Example`; the same features always give the same bytes."""
    message = _Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if not isinstance(values, np.ndarray):
            feature.bytes_list.value.extend(values)
        elif np.issubdtype(values.dtype, np.floating):
            feature.float_list.value.extend(values.ravel().tolist())
        else:
            feature.int64_list.value.extend(values.ravel().astype(np.int64).tolist())
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def key(split: str, shard: int, number: int) -> str:
    """Return what names a record in the sidecar of a dataset."""
    return f"{split}:{shard}:{number}"


def is_record_file(path: Path) -> bool:
    """Whether a name is that of a TFRecord file, sharded or not."""
    return path.is_file() and ".tfrecord" in path.name and not path.name.startswith(".") and os.path.getsize(path) > 0


def _example_class() -> Any:
    """Build the message class of `tf.train.Example` from its published definition."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="soar/example.proto", package="soar.example", syntax="proto3")
    lists = (("BytesList", kind.TYPE_BYTES), ("FloatList", kind.TYPE_FLOAT), ("Int64List", kind.TYPE_INT64))
    for name, type in lists:
        file.message_type.add(name=name).field.add(name="value", number=1, label=kind.LABEL_REPEATED, type=type)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, field) in enumerate(
        (("BytesList", "bytes_list"), ("FloatList", "float_list"), ("Int64List", "int64_list"))
    ):
        feature.field.add(
            name=field,
            number=number + 1,
            label=kind.LABEL_OPTIONAL,
            type=kind.TYPE_MESSAGE,
            type_name=f".soar.example.{name}",
            oneof_index=0,
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=kind.LABEL_OPTIONAL, type=kind.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=kind.LABEL_OPTIONAL, type=kind.TYPE_MESSAGE, type_name=".soar.example.Feature"
    )
    features.field.add(
        name="feature",
        number=1,
        label=kind.LABEL_REPEATED,
        type=kind.TYPE_MESSAGE,
        type_name=".soar.example.Features.FeatureEntry",
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, label=kind.LABEL_OPTIONAL, type=kind.TYPE_MESSAGE, type_name=".soar.example.Features"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("soar.example.Example"))


_Example = _example_class()
