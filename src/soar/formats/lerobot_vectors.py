"""States and actions of a LeRobotDataset: which columns they are in, and their rows as seven numbers.

Shape suffixes: N rows, D numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from soar.errors import FormatError
from soar.formats.lerobot_info import Info
from soar.formats.vector_maps import VectorMap
from soar.formats.vector_names import names_of, read_names
from soar.formats.vector_survey import Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorColumns:
    """Where a state or an action is.

    Attributes:
        features: The columns that its D numbers are in, one after the other, each with how many of them.
        map: Which of them are which.
        note: What is to be said about that.
    """

    features: tuple[tuple[str, int], ...]
    map: VectorMap
    note: str

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        starts = np.cumsum([0, *(count for _, count in self.features)])
        return [
            name
            for (name, count), start in zip(self.features, starts, strict=False)
            if self.map.used.intersection(range(start, start + count))
        ]

    def read(self, table: pa.Table, place: str) -> NDArray[Any]:
        """Return the numbers (N, D) as the file has them; what plays no role is zero.

        Raises:
            FormatError: A column is missing, or holds something else.
        """
        used = self.columns
        if len(self.features) == 1:
            return _numbers(table, *self.features[0], place)
        return np.concatenate(
            [
                _numbers(table, name, count, place) if name in used else np.zeros((len(table), count), np.float32)
                for name, count in self.features
            ],
            axis=1,
        )


def vector_columns(info: Info, feature: str, text: str) -> VectorColumns:
    """Find a state or an action.

    Args:
        info: Of the dataset.
        feature: `observation.state` or `action`.
        text: A map that somebody wrote; it may also name numbers of other features, as FEATURE[PLACE].

    Raises:
        FormatError: The dataset has none, or its names are not those of a pose and a gripper.
        ConfigError: The text is no map.
    """
    what = feature.rpartition(".")[2]
    flag = f"--{what}-map"
    place = f"{info.folder / 'meta' / 'info.json'}: features.{feature}"
    own = info.features.get(feature)
    count = own.count if own else 0
    vectors = {name: other.count for name, other in info.features.items() if other.count}
    if not count and not text:
        there = ", ".join(f"{name} {list(other.shape)}" for name, other in info.features.items())
        raise FormatError(
            f"{place} is {'no vector of numbers' if own else 'missing'}; the features are {there}. {flag} can take the numbers "
            "from others, as FEATURE[PLACE]"
        )
    names = names_of(own.names, count) if own else None
    if not text:
        map, note = read_names(what, names, count, "", flag=flag, place=place)
        return VectorColumns(features=((feature, count),), map=map, note=note)
    features: tuple[tuple[str, int], ...] = ((feature, count),) if count else ()
    features += tuple((name, size) for name, size in vectors.items() if name != feature and f"{name}[" in text)
    listed = list(names) if names and len(names) == count else [""] * count
    for name, size in features[1:] if count else features:
        listed += [f"{name}[{number}]" for number in range(size)]
    map, note = read_names(what, listed, len(listed), text, flag=flag, place=place)
    return VectorColumns(features=features, map=map, note=note)


def measured_columns(
    files: Sequence[tuple[Path, Sequence[int]]], state: VectorColumns, action: VectorColumns
) -> Iterator[Measured]:
    """Yield what is judged by its size in the N states and the N actions of each episode; only their columns are read.

    Args:
        files: Data files, each with the numbers of those of its episodes that are wanted.
        state: Where states are.
        action: Where actions are.
    """
    columns = [*dict.fromkeys([*state.columns, *action.columns, "episode_index"])]
    for path, episodes in files:
        try:
            table = pq.read_table(path, columns=columns)
            states_ND = state.map.measured(state.read(table, str(path)))
            actions_ND = action.map.measured(action.read(table, str(path)))
            index_N = np.asarray(pc.fill_null(table["episode_index"], -1), np.int64)
        except (OSError, pa.ArrowException, KeyError, ValueError, FormatError):
            # What is wrong with it is said when its episodes are read.
            continue
        order = np.argsort(index_N, kind="stable")
        numbers, starts = np.unique(index_N[order], return_index=True)
        for number, rows in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            if number in episodes:
                yield states_ND[rows], actions_ND[rows]


def _numbers(table: pa.Table, name: str, count: int, place: str) -> NDArray[Any]:
    if name not in table.column_names:
        raise FormatError(f"{place}: the file has no column {name}; it has {', '.join(table.column_names)}")
    column = table[name].combine_chunks()
    if column.null_count:
        raise FormatError(f"{place}: {name} is missing in {column.null_count} of {len(column)} rows")
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        sizes = {kind.list_size}
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        sizes = set(pc.unique(pc.list_value_length(column)).to_pylist())
    else:
        sizes = {1}
    values = column.flatten() if hasattr(column, "flatten") and kind.num_fields == 1 else column
    if sizes - {count} or not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or count == 1):
        raise FormatError(
            f"{place}: {name} must be {count} numbers in each row, as meta/info.json says; it is {kind} of {sorted(sizes)} "
            "numbers"
        )
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, count)
