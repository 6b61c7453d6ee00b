"""Frames of further cameras, as the table `steps` holds them: in each row a list of (camera, JPEG), null where there are none.

Rows say whose each frame is, so that episodes of different cameras stand in one table. Whoever reads the main camera's frames
does not read this column.

Shape suffixes: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

COLUMN = "extra_frames"
_FRAME = pa.struct([("camera", pa.string()), ("frame", pa.binary())])
TYPE = pa.list_(_FRAME)


def column_of(frames: Mapping[str, Sequence[bytes]], count: int) -> pa.Array:
    """Return the column of N rows for frames by camera, N each."""
    if not frames:
        return pa.nulls(count, TYPE)
    names = sorted(frames)
    cameras = pa.array(names * count, pa.string())
    jpegs = pa.array([frames[name][step] for step in range(count) for name in names], pa.binary())
    offsets = pa.array(np.arange(count + 1) * len(names), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays([cameras, jpegs], fields=list(_FRAME)))


def frames_of(column: pa.ChunkedArray, camera: str) -> list[bytes] | None:
    """Return the N frames of one camera; None where a row has none of it, or two."""
    lists = column.combine_chunks()
    parts = pc.list_flatten(lists)
    mine = pc.equal(pc.struct_field(parts, "camera"), camera)
    rows = np.asarray(pc.list_parent_indices(lists).filter(mine))
    if not np.array_equal(rows, np.arange(len(column))):
        return None
    found: list[bytes] = pc.struct_field(parts, "frame").filter(mine).to_pylist()
    return found


def is_of(row: Sequence[Mapping[str, Any]] | None, cameras: Sequence[str]) -> bool:
    """Whether a row has one frame of each of some cameras, and no other."""
    return sorted(part["camera"] for part in row or ()) == sorted(cameras)
