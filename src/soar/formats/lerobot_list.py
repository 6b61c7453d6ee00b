"""The list of episodes of a LeRobotDataset, and the tables that it and the rows are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.errors import FormatError


def check_listed_episodes(folder: Path, rows: list[dict[str, Any]], video: str) -> list[dict[str, Any]]:
    """Return the list of episodes, each once and in order, of which everything is there that is read.

    Raises:
        FormatError: A key is missing or no number, or an episode is listed twice with different places.
    """
    keys = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    keys += [f"{video}/chunk_index", f"{video}/file_index"] if video else []
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        wrong = [key for key in keys if type(row.get(key)) is not int]
        wrong += [f"{video}/from_timestamp"] if video and not _is_time(row.get(f"{video}/from_timestamp")) else []
        if wrong:
            raise FormatError(
                f"{folder / 'meta'}, the list of episodes: {wrong[0]} of episode {row.get('episode_index')} must be a number; "
                f"it is {row.get(wrong[0])!r}"
            )
        if not _is_time(row.get(f"{video}/to_timestamp")):
            row.pop(f"{video}/to_timestamp", None)
        if found.setdefault(row["episode_index"], row) != row:
            raise FormatError(f"{folder / 'meta'}: episode {row['episode_index']} is listed twice, with different places")
    return [found[index] for index in sorted(found)]


def first_rows(files: Mapping[Path, Sequence[dict[str, Any]]]) -> dict[Path, int]:
    """Return, by data file, which row of the dataset its first one is; nothing for files that do not say."""
    begins = {path: [row.get("dataset_from_index") for row in rows] for path, rows in files.items()}
    known = {path: [begin for begin in found if isinstance(begin, int)] for path, found in begins.items()}
    return {path: min(found) for path, found in known.items() if len(found) == len(begins[path])}


def listed_episodes(paths: list[Path], folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the files of `meta/episodes`, without statistics.

    Raises:
        FormatError: There is none, or one cannot be read.
    """
    if not paths:
        raise FormatError(f"{folder} has no meta/episodes/*/*.parquet; the dataset is incomplete")
    rows: list[dict[str, Any]] = []
    for path in paths:
        table = read_table(path)
        rows += table.select([name for name in table.column_names if not name.startswith("stats/")]).to_pylist()
    return rows


def read_table(path: Path) -> pa.Table:
    """Return a parquet file.

    Raises:
        FormatError: It cannot be read.
    """
    try:
        return _kept_table(path, path.stat().st_mtime_ns)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"cannot read {path}: {error}; restore the file") from error


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))


@lru_cache(maxsize=2)
def _kept_table(path: Path, changed_ns: int) -> pa.Table:
    """Read a parquet file; the last ones stay in memory, as episodes stand in them one after the other."""
    return pq.read_table(path)
