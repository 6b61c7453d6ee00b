"""How episodes get into a store: each once, whoever else appends at the same moment.

    is an id taken? ─► steps ─► rows of `episodes`: the commit ─► has anybody committed since the question?
                                                                  ├─► no: done
                                                                  └─► yes: is a row of theirs the first of an id? ─► yes: all
                                                                      rows are taken back, and the append is refused

Lance puts all commits into one order, on disks and in object stores alike, and the first row of an id is its episode. Of any
number of writers one is told that it has stored it, and every reader leaves out later rows (`soar.episodes.snapshot`), those of
a writer that died before it took them back included.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from soar.episodes import schema, tables
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.filters import quoted
from soar.episodes.store_errors import explaining, reason
from soar.errors import StoreError

_SMALL_FILES = 64
"""So many appends to `episodes` are merged into one file: reading a table costs time for each of its files."""
_log = logging.getLogger(__name__)


def append(uri: str, steps: Any, episodes: Any, encoded: Sequence[EncodedEpisode]) -> None:
    """Append one episode or several to the store at `uri`.

    Args:
        uri: The store.
        steps: Its table of that name, open.
        episodes: Its table of that name, open.
        encoded: What is appended, checked; one at least.

    Raises:
        StoreError: An id is taken, was taken at the same moment, or the store cannot be written.
    """
    ids = [episode.id for episode in encoded]
    if len(set(ids)) < len(ids):
        raise _taken(uri, next(id for id in ids if ids.count(id) > 1))
    with explaining("read", uri):
        episodes = tables.newest(episodes)
        seen = episodes.version
        if there := _first_attempts(episodes, ids):
            raise _taken(uri, min(there))
    attempts = [secrets.randbits(62) for _ in encoded]
    created_s = time.time()
    frames = pa.concat_tables([schema.steps_table(e, a) for e, a in zip(encoded, attempts, strict=True)])
    rows = [schema.episode_row(e, a, created_s) for e, a in zip(encoded, attempts, strict=True)]
    with explaining("append to", uri):
        steps, several = tables.newest(steps), any(episode.extra_frames for episode in encoded)
        if several:
            steps = tables.with_all_columns(steps, schema.STEPS)
        if several or any(one.origin or one.reflex_steps or one.limited_steps is not None for one in encoded):
            episodes = tables.with_all_columns(episodes, schema.EPISODES)
        written = tables.writable_schema(steps, schema.STEPS)
        lance.write_dataset(frames.select(written.names), tables.path(uri, "steps"), mode="append")
        table = pa.Table.from_pylist(rows, tables.writable_schema(episodes, schema.EPISODES))
        committed = lance.write_dataset(table, tables.path(uri, "episodes"), mode="append")
        if committed.version != seen + 1:
            first = _first_attempts(committed, ids)
            others = [id for id, attempt in zip(ids, attempts, strict=True) if first.get(id, attempt) != attempt]
            if others:
                _take_back(uri, attempts)
                raise _taken(uri, others[0], " by another process at this moment")
    if len(committed.get_fragments()) % _SMALL_FILES == 0:
        try:
            committed.optimize.compact_files(target_rows_per_fragment=_SMALL_FILES)
        except OSError as error:
            # The episodes are stored; the next writer that finds many small files merges them.
            _log.info("%s: small files are not merged now: %s", uri, reason(error))


def _first_attempts(episodes: Any, ids: Sequence[str]) -> dict[str, int]:
    """Return the attempt of the first row of each id that is there."""
    where = f"id IN ({', '.join(map(quoted, ids))})"
    table = episodes.scanner(columns=["id", "attempt"], filter=where, with_row_id=True).to_table()
    # The last value of a key stays, so the first row comes last.
    latest_first = np.argsort(np.asarray(table["_rowid"]))[::-1]
    return {table["id"][int(row)].as_py(): table["attempt"][int(row)].as_py() for row in latest_first}


def _take_back(uri: str, attempts: Sequence[int]) -> None:
    """Delete rows that nobody needs; if that fails readers leave them out, and `soar data doctor` deletes them."""
    where = f"attempt IN ({', '.join(map(str, attempts))})"
    try:
        for table in ("episodes", "steps"):
            lance.dataset(tables.path(uri, table)).delete(where)
    except OSError as error:
        _log.warning("%s: rows of an episode that another process stored first stay behind: %s", uri, reason(error))


def _taken(uri: str, id: str, how: str = "") -> StoreError:
    return StoreError(
        f"{uri}: duplicate episode id {id!r}, taken{how}; an id names one episode for ever, choose another. Nothing of this "
        "append is stored."
    )
