"""The row of one episode, and its labels changed so that no one else's change is lost.

A change is computed from the labels that were read, and its commit stands on the state that was read, or it fails and is tried
from the start. Lance's own retries are off: they would put what was computed from old labels over a newer row, and no column
tells the two apart for certain (of two others, one may have added a label and one have taken one back).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import lance
import pyarrow as pa

from soar.episodes import schema, tables
from soar.episodes.filters import quoted
from soar.episodes.store_errors import explaining, similar
from soar.errors import StoreError
from soar.types import Label

Labels = tuple[Label, ...]
_TRIES = 50
_LONGEST_WAIT_S = 0.5


def row_of(episodes: lance.LanceDataset, uri: str, id: str) -> tuple[dict[str, Any], Labels]:
    """Return the row of one episode in the `episodes` table as it is looked at, and its labels.

    Raises:
        StoreError: There is no such episode (the message names a similar one), or it cannot be read.
    """
    with explaining("read", uri):
        rows = episodes.scanner(filter=f"id = {quoted(id)}", with_row_id=True).to_table().to_pylist()
        if not rows:
            ids = episodes.to_table(columns=["id"])["id"].to_pylist()
            raise StoreError(f"{uri} has no episode {id!r}{similar(id, ids)}; it holds {len(ids)} episodes")
    row = min(rows, key=lambda row: int(row["_rowid"]))
    del row["_rowid"]
    return row, tuple(Label(**label) for label in row["labels"])


def change_labels(episodes: lance.LanceDataset, uri: str, id: str, change: Callable[[Labels], Labels]) -> None:
    """Replace the labels of an episode by `change` of them, whoever changes them at the same moment.

    Args:
        episodes: The `episodes` table; the state that it looks at is left alone.
        change: May be called several times, each time with newer labels. What it raises is passed on, and nothing is written.

    Raises:
        StoreError: There is no such episode, the store cannot be written, or others change it all the time.
    """
    for attempt in range(_TRIES):
        with explaining("label in", uri):
            read = tables.newest(episodes)
        row, labels = row_of(read, uri, id)
        new = pa.Table.from_pylist([row | schema.label_columns(change(labels))], read.schema)
        with explaining("label in", uri):
            try:
                read.merge_insert("attempt").when_matched_update_all().conflict_retries(0).execute(new)
                return
            except OSError as error:
                if "Too many concurrent writers" not in str(error):
                    raise
        # Of those who wait, not all come back at one moment.
        time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, 0.01 * 2**attempt)))
    raise StoreError(f"{uri}: episode {id!r} is being labelled by too many processes at once; try again")
