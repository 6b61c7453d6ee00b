"""Curves of progress that another program computed for an exported dataset, such as LeRobot's for its reward models.

LeRobot's `compute_rabc_weights` lets SARM look at a dataset and leaves `sarm_progress.parquet` in its folder: a row a frame,
`index`, `episode_index`, `frame_index`, and `progress_sparse`, `progress_dense` or both, 0 for not begun and 1 for done. Its
metadata name the model. Any program that leaves such a file is read alike. A frame without a value is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.errors import FormatError
from soar.formats import sidecar

COLUMNS = ("progress_sparse", "progress_dense", "progress")
_MODEL = b"reward_model_path"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressFile:
    """What a file says.

    Attributes:
        model: Whose curves they are, as the file says; empty when it does not.
        column: Where they stand.
        curves: By the id of the episode that was exported: (frame, progress), increasing; frames without a value are left out.
    """

    model: str
    column: str
    curves: dict[str, tuple[tuple[int, float], ...]]


def read_progress(path: Path, *, dataset: Path | None = None, column: str = "") -> ProgressFile:
    """Read such a file.

    Args:
        path: The file.
        dataset: Folder of the dataset that it was computed for, which SOAR exported; that of the file by default.
        column: One of `COLUMNS`; the first that the file has by default.

    Raises:
        FormatError: The file or the dataset is not such a one, they do not belong together, or a value is no progress.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise FormatError(f"{path}: cannot be read as Parquet ({error})") from error
    found = [name for name in COLUMNS if name in table.column_names]
    column = column or (found[0] if found else "")
    if missing := [name for name in ("episode_index", "frame_index", column or COLUMNS[0]) if name not in table.column_names]:
        raise FormatError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(table.column_names)}. Progress stands in one of "
            f"{', '.join(COLUMNS)}, a row a frame."
        )
    folder = dataset or path.parent
    exported = {int(key): row for key, row in sidecar.read(folder, ["id", "length"]).items() if key.isdigit()}
    if not exported:
        raise FormatError(
            f"{folder} is no LeRobot dataset that SOAR exported (it has no soar/episodes.parquet), so that nobody knows whose "
            "the curves are. Name the exported dataset with --dataset, and let the program look at that one."
        )
    curves = {}
    for number, frames, values in _episodes(table, column, path):
        if number not in exported:
            raise FormatError(
                f"{path} has an episode {number}, and the dataset in {folder} has {len(exported)}: they are of different ones"
            )
        row = exported[number]
        if frames != list(range(row["length"] + 1)):
            raise FormatError(
                f"{path}: episode {number} has {len(frames)} frames, and in {folder} it has {row['length'] + 1}, from 0 on, "
                "each once: they are of different datasets"
            )
        curves[str(row["id"])] = tuple(
            (frame, float(value)) for frame, value in zip(frames, values, strict=True) if not np.isnan(value)
        )
    model = (table.schema.metadata or {}).get(_MODEL, b"").decode(errors="replace")
    return ProgressFile(model=model, column=column, curves=curves)


def _episodes(table: pa.Table, column: str, path: Path) -> Iterator[tuple[int, list[int], list[float]]]:
    """Yield number, frames in order, and their values, NaN for none."""
    if empty := [name for name in ("episode_index", "frame_index") if table[name].null_count]:
        raise FormatError(f"{path}: {empty[0]} is missing in some rows")
    try:
        numbers, frames = (table[name].cast(pa.int64()).to_numpy() for name in ("episode_index", "frame_index"))
        values = table[column].cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise FormatError(f"{path}: its columns are no numbers ({error})") from error
    wrong = ~np.isnan(values) & ~((values >= 0) & (values <= 1))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise FormatError(
            f"{path}: progress lies in 0..1; frame {frames[first]} of episode {numbers[first]} has {column} {values[first]}"
        )
    order = np.lexsort((frames, numbers))
    for part in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        if len(part):
            yield int(numbers[part[0]]), frames[part].tolist(), values[part].tolist()
