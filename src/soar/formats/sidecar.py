"""`soar/episodes.parquet` beside an exported dataset: what its format has no place for.

One row an episode: the columns of the store's `episodes` table, subgoal images included, and `key`, which says where the
episode is in the dataset. Readers of the other format ignore it; our own importers give back the same episodes with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from soar.episodes import schema
from soar.episodes.encoded import EncodedEpisode
from soar.errors import FormatError
from soar.formats.pictures import jpeg

_WHERE = Path("soar") / "episodes.parquet"
_SCHEMA = schema.EPISODES.insert(0, pa.field("key", pa.string()))
_ROWS = 256
"""Rows are written so many at a time: their subgoal images must not fill the memory."""


class SidecarWriter:
    """Writes the sidecar of a dataset in a folder, row by row."""

    def __init__(self, folder: Path) -> None:
        path = folder / _WHERE
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, key: str, encoded: EncodedEpisode) -> None:
        """Add the episode that is at `key`."""
        self._rows.append({"key": key, **schema.episode_row(encoded, attempt=0, created_s=0.0)})
        if len(self._rows) == _ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, _SCHEMA))
        self._rows.clear()


def read(folder: Path, columns: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return the rows of the sidecar of a dataset by key; nothing when it has none. All columns, or some besides the key.

    Raises:
        FormatError: It is damaged or from a newer SOAR.
    """
    path = folder / _WHERE
    if not path.exists():
        return {}
    try:
        table = pq.read_table(path, columns=None if columns is None else ["key", *columns])
    except (OSError, pa.ArrowInvalid) as error:
        raise FormatError(f"{path} is damaged ({error}); restore it, or remove it to import without it") from error
    found = (table.schema.metadata or {}).get(schema.VERSION_KEY, b"").decode()
    if found.split(".")[0] != str(schema.VERSION[0]):
        raise FormatError(
            f"{path} has format {found or 'unknown'}, this SOAR reads {schema.VERSION[0]}.x; install the newer one"
        )
    return {row["key"]: row for row in table.to_pylist()}


def restore(
    row: dict[str, Any],
    images: Sequence[bytes],
    states_ND: NDArray[np.floating],
    actions_ND: NDArray[np.floating],
    *,
    place: str,
    further: Mapping[str, tuple[bytes, ...]],
) -> EncodedEpisode:
    """Return the episode as it was before the export: a row of the sidecar, and the N steps of the dataset.

    Args:
        row: Of the sidecar.
        images: N of the main camera.
        states_ND: (N, 7).
        actions_ND: (N, 7).
        place: File and episode, for messages.
        further: N JPEGs of each further camera.

    Raises:
        FormatError: The numbers of steps differ.
    """
    counts = {len(images), len(states_ND), len(actions_ND)}
    if counts != {row["length"] + 1}:
        raise FormatError(
            f"{place}: {sorted(counts)} steps, and {_WHERE} says {row['length'] + 1}; the dataset was changed after its "
            f"export. Remove {_WHERE} to import without it"
        )
    return schema.encoded_episode(
        row,
        [jpeg(image, place) for image in images],
        np.ascontiguousarray(states_ND, np.float32),
        np.ascontiguousarray(actions_ND[:-1], np.float32),
        further,
    )
