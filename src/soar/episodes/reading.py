"""Episodes as they are stored, several at a look: one through many small files costs as much for one episode as for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from soar.episodes import extra_frames, schema
from soar.episodes.camera_view import CameraView
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.store_errors import explaining
from soar.errors import StoreError

_TOGETHER, _BYTES = 64, 64e6  # episodes, and bytes of them, that are looked for at once


def how_many(read: Sequence[EncodedEpisode]) -> int:
    """Return how many episodes to read at once, after some were read: as many as fit into little memory."""
    largest = max((episode.bytes for episode in read), default=_BYTES)
    return int(min(_TOGETHER, max(1, _BYTES // max(largest, 1))))


def encoded_episodes(
    steps: lance.LanceDataset, rows: Sequence[Mapping[str, Any]], view: CameraView, *, further: bool
) -> list[EncodedEpisode]:
    """Return the episodes of some rows of `episodes`, in that order.

    Args:
        steps: The table `steps`.
        rows: Of the table `episodes`.
        view: Whose frames are shown.
        further: Bring the frames of further cameras along.

    Raises:
        StoreError: Steps or frames of one are missing, or they cannot be read.
    """
    view.check([schema.record(row, 0) for row in rows])
    bring = further and view.is_main and any(row.get("cameras") for row in rows)
    columns = ["attempt", "step", "state", "action", view.column, *([extra_frames.COLUMN] if bring else [])]
    with explaining("read", view.uri):
        found = steps.to_table(columns=columns, filter=f"attempt IN ({', '.join(str(row['attempt']) for row in rows)})")
        return [_episode(row, found, view, further=bring and bool(row.get("cameras"))) for row in rows]


def _episode(row: Mapping[str, Any], found: pa.Table, view: CameraView, *, further: bool) -> EncodedEpisode:
    table = found.filter(pc.equal(found["attempt"], row["attempt"])).sort_by("step")
    if table["step"].to_pylist() != list(range(row["length"] + 1)):
        raise StoreError(
            f"{view.uri}: episode {row['id']!r} lacks steps; the store is damaged, restore it from a copy or run "
            "`soar data doctor` on it"
        )
    return schema.encoded_episode(
        row,
        view.of(table)["frame"].to_pylist(),
        schema.states(table),
        schema.actions(table)[:-1],
        schema.further_frames(row, table) if further else None,
    )
