"""The rows of episodes, and their labels changed so that no one else's change is lost.

A change is computed from the labels that were read, and its commit stands on the state that was read, or it fails and is tried
from the start. Lance's own retries are off: they would put what was computed from old labels over a newer row, and no column
tells the two apart for certain (of two others, one may have added a label and one have taken one back).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import lance
import pyarrow as pa

from soar.episodes import schema, tables
from soar.episodes.filters import quoted
from soar.episodes.store_errors import explaining, similar
from soar.errors import StoreError
from soar.types import Label

Labels = tuple[Label, ...]
Change = Callable[[Labels], Labels]
"""From an episode's labels to those that it gets instead."""
_TRIES = 50
_LONGEST_WAIT_S = 0.5


def rows_of(episodes: lance.LanceDataset, uri: str, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of some episodes in the `episodes` table as it is looked at, by id.

    Raises:
        StoreError: One of them is not there (the message names a similar one), or they cannot be read.
    """
    with explaining("read", uri):
        one_of = ", ".join(quoted(id) for id in ids)
        found: dict[str, dict[str, Any]] = {}
        rows = episodes.scanner(filter=f"id IN ({one_of})", with_row_id=True).to_table().to_pylist()
        # What a writer that came second has left behind is no episode.
        for row in sorted(rows, key=lambda row: int(row.pop("_rowid")), reverse=True):
            found[row["id"]] = row
        if missing := [id for id in ids if id not in found]:
            there = episodes.to_table(columns=["id"])["id"].to_pylist()
            raise StoreError(f"{uri} has no episode {missing[0]!r}{similar(missing[0], there)}; it holds {len(there)} episodes")
    return found


def labels_of(row: Mapping[str, Any]) -> Labels:
    """Return the labels in the row of an episode, oldest first."""
    return tuple(Label(**label) for label in row["labels"])


def adding(new: Sequence[Label]) -> Change:
    """Return the change that adds labels."""
    return lambda there: (*there, *new)


def taking_back(uri: str, id: str, label: Label) -> Change:
    """Return the change that takes the last such label away, or raises a `StoreError` when there is none."""

    def without(labels: Labels) -> Labels:
        if label not in labels:
            raise StoreError(f"{uri}: episode {id!r} has no such label by {label.source}; it was taken back already")
        place = len(labels) - 1 - labels[::-1].index(label)
        return (*labels[:place], *labels[place + 1 :])

    return without


def change_labels(episodes: lance.LanceDataset, uri: str, changes: Mapping[str, Change]) -> None:
    """Replace the labels of episodes, of all or of none, whoever changes them at the same moment.

    Args:
        episodes: The `episodes` table; the state that it looks at is left alone.
        changes: By id, what becomes of an episode's labels. May be called several times, each time with newer labels. What one
            raises is passed on, and nothing is written.

    Raises:
        StoreError: There is no such episode, the store cannot be written, or others change it all the time.
    """
    for attempt in range(_TRIES):
        with explaining("label in", uri):
            read = tables.newest(episodes)
        rows = rows_of(read, uri, changes)
        changed = [rows[id] | schema.label_columns(change(labels_of(rows[id]))) for id, change in changes.items()]
        new = pa.Table.from_pylist(changed, read.schema)
        with explaining("label in", uri):
            try:
                read.merge_insert("attempt").when_matched_update_all().conflict_retries(0).execute(new)
                return
            except OSError as error:
                if "Too many concurrent writers" not in str(error):
                    raise
        # Of those who wait, not all come back at one moment.
        time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, 0.01 * 2**attempt)))
    which = f"episode {next(iter(changes))!r} is" if len(changes) == 1 else f"{len(changes)} episodes are"
    raise StoreError(f"{uri}: {which} being labelled by too many processes at once; try again")
