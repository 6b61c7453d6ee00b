"""In which order the episodes of a store stand, and where their steps are in its table.

Two rows of one id are there when two writers appended it at the same moment, and the second has not yet taken its own back, or
died before. The first is the episode; no reader is shown the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.errors import StoreError


@dataclass(slots=True)
class Snapshot:
    """One state of the `episodes` table, in the order of insertion.

    Attributes:
        versions: Of `steps` and `episodes`.
        row_ids: Lance's stable row ids; they grow with insertion and survive updates and compaction.
        attempts: (E,) what joins them to their steps.
        first_rows: (E + 1,) where each episode begins among the rows, and the number of rows.
        later: Attempts whose id an earlier row has; they are in none of the above.
        positions: Where each row is in the `steps` table; found when it is first needed.
    """

    versions: tuple[int, int]
    row_ids: NDArray[np.int64]
    attempts: NDArray[np.int64]
    first_rows: NDArray[np.int64]
    later: tuple[int, ...] = ()
    positions: NDArray[np.int64] | None = None


def snapshot_of(steps: Any, episodes: Any) -> Snapshot:
    """Return the order of the episodes of two open tables."""
    table = episodes.scanner(columns=["id", "attempt", "length"], with_row_id=True).to_table().sort_by("_rowid")
    attempts = np.asarray(table["attempt"], np.int64)
    numbers = table["id"].combine_chunks().dictionary_encode().indices  # the same one for the same id
    _, first = np.unique(np.asarray(numbers), return_index=True)
    is_first = np.zeros(len(table), bool)
    is_first[first] = True
    rows = np.asarray(table["length"], np.int64)[is_first] + 1
    return Snapshot(
        versions=(steps.version, episodes.version),
        row_ids=np.asarray(table["_rowid"]).astype(np.int64)[is_first],
        attempts=attempts[is_first],
        first_rows=np.concatenate([[0], np.cumsum(rows)]),
        later=tuple(attempts[~is_first].tolist()),
    )


def positions_of(steps: Any, snapshot: Snapshot, uri: str) -> NDArray[np.int64]:
    """Return the positions in the `steps` table of the rows of all committed episodes.

    Raises:
        StoreError: Some are missing.
    """
    table = steps.scanner(columns=["attempt", "step"], scan_in_order=True).to_table()
    attempts, numbers = np.asarray(table["attempt"], np.int64), np.asarray(table["step"], np.int64)
    known = np.argsort(snapshot.attempts)
    place = np.searchsorted(snapshot.attempts[known], attempts).clip(max=max(len(known) - 1, 0))
    committed = np.flatnonzero(snapshot.attempts[known][place] == attempts) if len(known) else np.empty(0, np.int64)
    rows = snapshot.first_rows[known[place[committed]]] + numbers[committed]
    positions = np.full(snapshot.first_rows[-1], -1, np.int64)
    if len(rows) != len(positions) or (rows >= len(positions)).any():
        raise StoreError(_damaged(uri, len(positions), len(rows)))
    positions[rows] = committed
    if (positions < 0).any():
        raise StoreError(_damaged(uri, len(positions), int((positions >= 0).sum())))
    return positions


def _damaged(uri: str, expected: int, found: int) -> str:
    return (
        f"{uri}: the episodes have {expected} rows, {found} were found; the store is damaged, restore it from a copy or run "
        "`soar data doctor` on it"
    )
