"""Episodes on their way to a fleet's store, as the bytes of two Arrow streams; nothing is pickled.

    length of the first (8 bytes, big endian) │ rows of `episodes` │ rows of `steps`

The rows are those of a store (`soar.episodes.schema`), so that a kept frame arrives as it was encoded; only the moment at which
an episode was stored is the store's own, whatever a robot's clock says. Columns that came with later formats are there only
where something is in them, so that a coordinator of an older version refuses these, and takes any others; episodes that an
older version left behind are taken.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from soar.episodes import extra_frames, schema
from soar.episodes.encoded import EncodedEpisode, check
from soar.errors import StoreError

_LENGTH = 8
_SCHEMA, _RECORD_BATCH = 1, 3
"""Kinds of Arrow's messages."""
_LATER = ("limited_steps", "cameras", extra_frames.COLUMN)
"""Columns that came after format 1.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Episodes that somebody brings.

    Attributes:
        robot: Whose.
        epoch: Of whoever delivers them: the newest one, also for episodes of an earlier epoch that were kept on the way.
        episodes: With ids as `soar.fleet.ledger.episode_prefix` makes them, each checked (`soar.episodes.encoded.check`).
    """

    robot: str
    epoch: int
    episodes: Sequence[EncodedEpisode]


def pack_episodes(episodes: Sequence[EncodedEpisode]) -> bytes:
    """Return the bytes of some episodes."""
    rows = [schema.episode_row(episode, number, 0.0) for number, episode in enumerate(episodes)]
    steps = [schema.STEPS.empty_table(), *(schema.steps_table(episode, number) for number, episode in enumerate(episodes))]
    lacking = set() if any(episode.extra_frames for episode in episodes) else {"cameras", extra_frames.COLUMN}
    lacking |= {"limited_steps"} if all(episode.limited_steps is None for episode in episodes) else set()
    head, rest = (
        _stream(table.select([name for name in table.column_names if name not in lacking]))
        for table in (pa.Table.from_pylist(rows, schema.EPISODES), pa.concat_tables(steps))
    )
    return len(head).to_bytes(_LENGTH, "big") + head + rest


def unpack_episodes(data: bytes, *, most: int) -> list[EncodedEpisode]:
    """Return the episodes in some bytes, each of them checked.

    Args:
        data: What came.
        most: Episodes that may be in it.

    Raises:
        StoreError: It is something else.
    """
    length = int.from_bytes(data[:_LENGTH], "big")
    if not 0 < length <= len(data) - _LENGTH:
        raise StoreError(f"{len(data)} bytes are no episodes")
    head, rest = data[_LENGTH : _LENGTH + length], data[_LENGTH + length :]
    try:
        rows = _table(head, schema.EPISODES).to_pylist()
        if len(rows) > most:
            raise StoreError(f"{len(rows)} episodes at once; {most} are allowed")
        steps = _table(rest, schema.STEPS)
        episodes = []
        for number, row in enumerate(rows):
            mine = steps.filter(pa.compute.equal(steps["attempt"], number))
            episode = schema.encoded_episode(
                row,
                mine["frame"].to_pylist(),
                schema.states(mine),
                schema.actions(mine)[:-1],
                schema.further_frames(row, mine),
            )
            check(episode)
            episodes.append(dataclasses.replace(episode, created_s=None))
    except (pa.ArrowException, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise StoreError(f"what came is no episode: {str(error)[:200]}") from error
    return episodes


def _known(columns: pa.Schema, found: pa.Schema) -> pa.Schema:
    """Return the columns that a stream with the later ones of `found` has."""
    return pa.schema([field for field in columns if field.name not in _LATER or field.name in found.names])


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _table(data: bytes, wanted: pa.Schema) -> pa.Table:
    if any(_grows(message.metadata.to_pybytes()) for message in pa.ipc.MessageReader.open_stream(data)):
        raise StoreError("it is compressed, and nobody knows how large it is; SOAR sends episodes as they are")
    with pa.ipc.open_stream(data) as reader:
        if not reader.schema.equals(_known(wanted, reader.schema)):
            raise StoreError("its columns are those of another version of SOAR; update the robot's computer, or this one")
        table = reader.read_all()
    table.validate(full=True)
    return table


def _grows(message: bytes) -> bool:
    """Whether what follows an Arrow message may be larger in memory than it came: all but a schema and plain record batches.

    The message is a flatbuffer (Message.fbs of Arrow): a table begins with how far before it its own table of offsets lies, in
    which 0 stands for a field that is absent.
    """

    def field(table: int, index: int) -> int:
        (back,) = struct.unpack_from("<i", message, table)
        (size,) = struct.unpack_from("<H", message, table - back)
        (offset,) = struct.unpack_from("<H", message, table - back + 4 + 2 * index) if 4 + 2 * index < size else (0,)
        return table + offset if offset else 0

    try:
        (root,) = struct.unpack_from("<I", message, 0)
        kind, header = field(root, 1), field(root, 2)
        if not kind or not header:
            return True
        (to_header,) = struct.unpack_from("<I", message, header)
        compression = field(header + to_header, 3)
    except struct.error:
        return True
    return not (message[kind] == _SCHEMA or (message[kind] == _RECORD_BATCH and not compression))
