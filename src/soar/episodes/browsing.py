"""A large store as pages look at it: columns as Arrow tables, and a few frames, without a record or an index of everything.

    Browser.table(where)     what a list shows of all episodes that match, in the order of insertion
    Browser.frames(places)   the JPEGs of some observations

Where an observation stands in the `steps` table is guessed from the order of insertion, read, and believed only when its
`attempt` and `step` are the right ones; what was guessed wrong (two writers wrote at once) is looked for. So a frame is there
at once among ten million, and nothing is ever read from the wrong episode. Safe to use from several threads; writes nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from soar.episodes import schema, tables, tags
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.filters import check_filter, quoted
from soar.episodes.schema import EpisodeRecord
from soar.episodes.snapshot import Snapshot, snapshot_of
from soar.episodes.store_errors import explaining
from soar.errors import StoreError

LISTED: tuple[str, ...] = (
    "id",
    "attempt",
    "scene",
    "instruction",
    "length",
    "success",
    "probability",
    "simulator_success",
    "policy",
)
LISTED += ("robot", "run", "round", "created_s", "label_count")
"""The columns of `Browser.table`, besides `first_row`."""
_TABLES = 8


class Place(NamedTuple):
    """Where an observation is.

    Attributes:
        attempt: Of its episode (`soar.episodes.schema`).
        first_row: Of its episode, see `EpisodeRecord`.
        step: From 0 to the episode's length.
    """

    attempt: int
    first_row: int
    step: int


class Browser:
    """A reader of one store.

    Args:
        uri: As of `EpisodeStore`; `STORE@NAME` stays at that state, any other one is read at its newest.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """

    def __init__(self, uri: str | Path) -> None:
        self.uri, tag = tags.split(tables.location(uri))
        tables.check_exist(self.uri)
        version = tags.version_of(self.uri, tag) if tag else {}
        self.pinned = bool(tag)
        self._steps = tables.open_table(self.uri, "steps", version.get("steps"))
        self._episodes = tables.open_table(self.uri, "episodes", version.get("episodes"))
        self._lock = threading.RLock()
        self._snapshot: Snapshot | None = None
        self._tables: OrderedDict[tuple[int, str | None, tuple[str, ...]], pa.Table] = OrderedDict()

    def table(self, where: str | None = None, columns: Sequence[str] = LISTED) -> pa.Table:
        """Return columns of the episodes that match, in the order of insertion, and `first_row`; without images.

        Args:
            where: SQL, see `EpisodeStore.episodes`.
            columns: Of the `episodes` table.

        Raises:
            StoreError: The SQL is invalid; the message names the columns.
        """
        with self._lock:
            snapshot = self._look()
            key = (self._episodes.version, where, tuple(columns))
            if key not in self._tables:
                self._tables[key] = self._read(snapshot, where, columns)
                while len(self._tables) > _TABLES:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(key)
            return self._tables[key]

    def check(self, where: str) -> None:
        """Refuse a text that is no filter by itself, before it becomes a part of one.

        Raises:
            StoreError: The SQL is invalid; the message names the columns.
        """
        with self._lock, explaining("read", self.uri):
            check_filter(self._episodes, where)

    def record(self, id: str) -> EpisodeRecord:
        """Return what is known of one episode.

        Raises:
            StoreError: There is no such episode.
        """
        with self._lock:
            row = self._row(id)
        return schema.record(row, int(row["first_row"]))

    def subgoals(self, id: str) -> list[tuple[int, bytes]]:
        """Return an episode's subgoals: the step of the first action towards each, and its JPEG.

        Raises:
            StoreError: There is no such episode.
        """
        with self._lock:
            row = self._row(id, ("subgoal_steps", "subgoal_frames"))
        return list(zip(row["subgoal_steps"], row["subgoal_frames"], strict=True))

    def encoded(self, id: str) -> EncodedEpisode:
        """Return one episode, the images of its main camera encoded; those of further ones are left out.

        Raises:
            StoreError: There is no such episode, or its steps are missing.
        """
        with self._lock:
            row = self._row(id, ("subgoal_steps", "subgoal_frames"))
            places = [Place(row["attempt"], row["first_row"], step) for step in range(row["length"] + 1)]
            found = self._found(places, ["frame", "state", "action"])
        table = found.take(pa.array(np.argsort(np.asarray(found["step"]))))
        if len(table) != len(places):
            raise StoreError(f"{self.uri}: episode {id!r} lacks steps; run `soar data doctor` on the store")
        return schema.encoded_episode(row, table["frame"].to_pylist(), schema.states(table), schema.actions(table)[:-1])

    def frames(self, places: Sequence[Place]) -> list[bytes | None]:
        """Return the JPEGs of some observations; None where there is no such observation."""
        if not places:
            return []
        with self._lock:
            self._look()
            found = self._found(places, ["frame"])
        keys = zip(found["attempt"].to_pylist(), found["step"].to_pylist(), strict=True)
        frames = dict(zip(keys, found["frame"].to_pylist(), strict=True))
        return [frames.get((place.attempt, place.step)) for place in places]

    def _look(self) -> Snapshot:
        """Look at the newest state, unless pinned. Episodes first: whatever is committed there has its steps."""
        with explaining("read", self.uri):
            if not self.pinned:
                self._episodes.checkout_latest()
                self._steps.checkout_latest()
            versions = (self._steps.version, self._episodes.version)
            if self._snapshot is None or self._snapshot.versions != versions:
                self._snapshot = snapshot_of(self._steps, self._episodes)
                self._tables.clear()
        return self._snapshot

    def _read(self, snapshot: Snapshot, where: str | None, columns: Sequence[str]) -> pa.Table:
        with explaining("read", self.uri):
            if where is not None:
                check_filter(self._episodes, where)
            names = list(dict.fromkeys(("attempt", *columns)))
            scanner = self._episodes.scanner(columns=names, filter=where, with_row_id=True)
            table = scanner.to_table().sort_by("_rowid")
        if snapshot.later:  # rows whose id was taken are no episodes
            table = table.filter(pa.array(~np.isin(np.asarray(table["attempt"], np.int64), snapshot.later)))
        at = np.searchsorted(snapshot.row_ids, np.asarray(table["_rowid"]).astype(np.int64))
        return table.drop_columns(["_rowid"]).append_column("first_row", pa.array(snapshot.first_rows[at]))

    def _row(self, id: str, more: Sequence[str] = ()) -> dict[str, Any]:
        snapshot = self._look()
        names = [name for name in (*schema.METADATA_COLUMNS, *more) if name in self._episodes.schema.names]
        rows = self._read(snapshot, f"id = {quoted(id)}", names).to_pylist()
        if not rows:
            raise StoreError(f"{self.uri} has no episode {id!r}; `soar console {self.uri}` lists those that it has")
        return dict(rows[0])

    def _found(self, places: Sequence[Place], columns: list[str]) -> pa.Table:
        """Return rows of `steps` with `attempt` and `step`, in any order; those that are nowhere are left out."""
        names = ["attempt", "step", *columns]
        wanted = {(place.attempt, place.step) for place in places}
        with explaining("read", self.uri):
            count = self._steps.count_rows()
            guesses = sorted({row for place in places if 0 <= (row := place.first_row + place.step) < count})
            read = self._steps.take(guesses, columns=names) if guesses else None
            kept = []
            if read is not None:
                keys = zip(read["attempt"].to_pylist(), read["step"].to_pylist(), strict=True)
                right = [key in wanted for key in keys]
                kept.append(read.filter(pa.array(right)))
                wanted -= set(zip(kept[0]["attempt"].to_pylist(), kept[0]["step"].to_pylist(), strict=True))
            if wanted:
                attempts = ", ".join(str(attempt) for attempt in sorted({attempt for attempt, _ in wanted}))
                steps = ", ".join(str(step) for step in sorted({step for _, step in wanted}))
                kept.append(self._steps.to_table(columns=names, filter=f"attempt IN ({attempts}) AND step IN ({steps})"))
        return pa.concat_tables(kept) if kept else self._steps.schema.empty_table().select(names)
