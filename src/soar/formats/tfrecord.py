"""TFRecord files and the `tf.train.Example` in them, without TensorFlow.

```
record   length (u64)   CRC of the length (u32)   data (length bytes)   CRC of the data (u32)     all little-endian
```

The CRCs are CRC32C, masked. Both are verified. A record whose data is damaged is lost alone; after a damaged length nobody
knows where the next record begins, so the rest of the file is lost.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from soar.errors import FormatError

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8

Values = list[bytes] | NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where a record is.

    Attributes:
        path: Of the file.
        number: Of the record in the file, from 0.
        offset: Of its first byte in the file.
        length: Of its data in bytes; None where the length itself is damaged and the file ends for us.
    """

    path: Path
    number: int
    offset: int
    length: int | None

    @property
    def place(self) -> str:
        """File and offset, for messages."""
        return f"{self.path} at offset {self.offset} (record {self.number})"


def scan(path: Path) -> list[Record]:
    """Return where the records of a file are; only their lengths are read.

    Raises:
        FormatError: The file cannot be read.
    """
    records: list[Record] = []
    try:
        end = path.stat().st_size
        with path.open("rb") as file:
            offset = 0
            while offset < end:
                file.seek(offset)
                header = file.read(_HEADER.size)
                length = None
                if len(header) == _HEADER.size:
                    found, crc = _HEADER.unpack(header)
                    if crc == masked_crc(header[:8]) and offset + _HEADER.size + found + _CRC.size <= end:
                        length = found
                records.append(Record(path=path, number=len(records), offset=offset, length=length))
                if length is None:
                    break
                offset += _HEADER.size + length + _CRC.size
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    return records


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
    with record.path.open("rb") as file:
        file.seek(record.offset + _HEADER.size)
        data = file.read(record.length)
        crc = file.read(_CRC.size)
    if len(crc) != _CRC.size or _CRC.unpack(crc)[0] != masked_crc(data):
        raise FormatError(f"{record.place}: the checksum is wrong, the data is damaged. Download the file again")
    return data


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
