"""The store: every episode that was ever recorded, in two Lance tables under one folder.

Time axis. An episode of T actions is T + 1 rows of `steps`; the last one has no action.

Ownership. Any number of processes and threads may append and read at once. An append writes the steps first; the row in
`episodes` is the commit. A writer that dies in between leaves steps that no reader ever sees. Of several writers of one id, one
is told that it has stored it (`soar.episodes.appending`).

Cameras. `read` and `read_encoded` bring the frames of further cameras (`soar.cameras`) along, unless they are told not to;
nothing else reads them. A store that is opened with `camera=` shows that camera's frames in place of the main one's, and is
read-only.

Versions. Every write makes a new version of a table. A reader that opens `version=` sees that state for ever; any other one
looks at the newest state whenever it is asked for episodes. Lance is not safe under fork: start processes with spawn and
give them the uri.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.episodes import jpeg as frames
from soar.episodes import schema, tables, tags
from soar.episodes.appending import append
from soar.episodes.camera_view import CameraView, StepRows, cameras_in
from soar.episodes.encoded import EncodedEpisode, check, decode, encode
from soar.episodes.filters import check_filter, quoted
from soar.episodes.labelling import Change, adding, change_labels, rows_of, taking_back
from soar.episodes.reading import encoded_episodes, how_many
from soar.episodes.schema import EpisodeRecord
from soar.episodes.snapshot import Snapshot, positions_of, snapshot_of
from soar.episodes.store_errors import explaining
from soar.errors import StoreError
from soar.types import ACTION_DIM, STATE_DIM, Episode, Label

Mode = Literal["open", "create", "open_or_create"]
_LABELLED_TOGETHER = 256
_LARGE = (2**14, 2**10)  # rows of a file of `steps`, and of `episodes`, that is large already


class EpisodeStore:
    """Episodes on disk: append, read, filter by SQL, label, tag a version.

    Args:
        uri: Folder of the store, or its place in an object store, such as `s3://bucket/episodes` (see `soar.episodes.tables`);
            `STORE@NAME` for a state that has a name, see `soar.episodes.tags`.
        mode: `open` an existing store, `create` a new one, or `open_or_create`.
        version: What `EpisodeStore.version` once returned: read that state, and never write.
        camera: The one whose frames are shown.

    Raises:
        StoreError: There is no store, or already one, or the folder holds something else, was written by a newer SOAR, or
            cannot be written.
        UnknownNameError: None of its episodes has such a camera.
    """

    def __init__(
        self, uri: str | Path, *, mode: Mode = "open", version: Mapping[str, int] | None = None, camera: str = MAIN
    ) -> None:
        self.uri, tag = tags.split(tables.location(uri))
        self.camera, self._view = camera, CameraView(self.uri, camera)
        if tag and mode != "open":
            raise StoreError(f"{uri} is a state of {self.uri} that has a name, and read-only; leave out @{tag} to write")
        self._snapshot: Snapshot | None = None
        if mode != "open":
            tables.create(self.uri, exist_ok=mode == "open_or_create")
        tables.check_exist(self.uri)
        if version is None and tag:
            version = tags.version_of(self.uri, tag)
        self._pinned = version is not None
        pinned = version or {}
        self._steps = tables.open_table(self.uri, "steps", pinned.get("steps"))
        self._episodes = tables.open_table(self.uri, "episodes", pinned.get("episodes"))
        if not self._view.is_main:
            self._view.check_known(self.cameras())

    def cameras(self) -> list[str]:
        """Return the further cameras of all episodes, by name."""
        with self._explain("read"):
            return cameras_in(self._episodes)

    @property
    def version(self) -> dict[str, int]:
        """The state that a reader sees now; pass it as `version=` to see it again."""
        self._refresh()
        return {"steps": self._steps.version, "episodes": self._episodes.version}

    def append(self, episodes: Episode | EncodedEpisode | Sequence[Episode | EncodedEpisode], *, checked: bool = False) -> None:
        """Append one or several episodes; when this returns they are on disk, and when it raises none of them is visible.

        `checked`: `soar.episodes.encoded.check` has accepted them, which looks at every frame and is not done again.

        Raises:
            StoreError: An episode is malformed or its id is taken, the store is pinned or read-only, or the disk is full.
        """
        batch = [episodes] if isinstance(episodes, Episode | EncodedEpisode) else list(episodes)
        self._check_writable()
        encoded = [encode(episode) if isinstance(episode, Episode) else episode for episode in batch]
        for episode in () if checked else encoded:
            check(episode)
        if encoded:
            append(self.uri, self._steps, self._episodes, encoded)
            self._refresh()

    def episodes(self, where: str | None = None) -> list[EpisodeRecord]:
        """Return the records of the episodes that match, in the order of insertion, without reading images.

        Args:
            where: SQL over the columns of `episodes`, for example `success and scene = '1' and probability > 0.8`.

        Raises:
            StoreError: The SQL is invalid (the message names the columns), or some have no picture of `camera`.
        """
        chosen = self._matching(where)
        snapshot = self._index()
        with self._explain("read"):
            columns = [name for name in schema.METADATA_COLUMNS if name in self._episodes.schema.names]
            scanner = self._episodes.scanner(columns=columns, filter=chosen, with_row_id=True)
            rows = sorted(scanner.to_table().to_pylist(), key=lambda row: int(row["_rowid"]))
        indices = np.searchsorted(snapshot.row_ids, [row["_rowid"] for row in rows])
        records = [schema.record(row, int(snapshot.first_rows[index])) for row, index in zip(rows, indices, strict=True)]
        self._view.check(records)
        return records

    def subgoals(self, where: str | None = None) -> dict[str, list[tuple[int, bytes]]]:
        """Return the subgoals of matching episodes (see `episodes`) by id: (step of the first action, JPEG), in order."""
        chosen = self._matching(where)
        with self._explain("read"):
            table = self._episodes.to_table(columns=["id", "subgoal_steps", "subgoal_frames"], filter=chosen)
        return {row["id"]: list(zip(row["subgoal_steps"], row["subgoal_frames"], strict=True)) for row in table.to_pylist()}

    def count(self, where: str | None = None) -> int:
        """Return the number of episodes that match.

        Raises:
            StoreError: The SQL is invalid; the message names the columns.
        """
        chosen = self._matching(where)
        with self._explain("read"):
            return int(self._episodes.count_rows(chosen))

    def read(self, id: str, *, further: bool = True) -> Episode:
        """Return one episode with its images, see `read_encoded`."""
        return decode(self.read_encoded(id, further=further))

    def read_encoded(self, id: str, *, further: bool = True) -> EncodedEpisode:
        """Return one episode as it is stored, its images encoded.

        Args:
            id: Of the episode.
            further: Bring the frames of further cameras along.

        Raises:
            StoreError: There is no such episode (the message names a similar one), or steps or frames of it are missing.
        """
        return next(self.read_many([id], further=further))

    def read_many(self, ids: Sequence[str], *, further: bool = True) -> Iterator[EncodedEpisode]:
        """Yield episodes in the order of their ids, see `read_encoded`; some dozen are looked for at once, which is faster."""
        self._refresh()
        left, count = list(ids), 1
        while left:
            some, left = left[:count], left[count:]
            rows = rows_of(self._episodes, self.uri, some)
            read = encoded_episodes(self._steps, [rows[id] for id in some], self._view, further=further)
            yield from read
            count = how_many(read)

    def rows(self, indices: NDArray[np.integer] | Sequence[int]) -> StepRows:
        """Return rows in any order, repetitions allowed.

        Row i counts the observations of all episodes in the order of insertion: episode `record` owns the rows
        `record.first_row` to `record.first_row + record.length`. It sees what the last call of another
        method saw, so that a trainer's batches do not change while robots append.

        Raises:
            StoreError: An index is out of range, or the frames differ in size.
        """
        table = self.table(indices, ["frame", "state", "action"])
        return StepRows(
            images_NHWC=frames.decode_all(table["frame"].to_pylist()),
            states_ND=schema.states(table),
            actions_ND=schema.actions(table),
        )

    def table(self, indices: NDArray[np.integer] | Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return columns of the `steps` table at `indices` (see `rows`), undecoded; `frame` is that of `camera`."""
        # Lance drops repetitions in some versions, so it is asked for each row once.
        unique, inverse = np.unique(self._positions(indices), return_inverse=True)
        asked = [self._view.column if column == "frame" else column for column in columns]
        with self._explain("read"):
            table = self._steps.take(unique.tolist(), columns=asked)
        if "frame" in columns:
            table = self._view.of(table).select(list(columns))
        return table if np.array_equal(inverse, np.arange(len(unique))) else table.take(pa.array(inverse))

    def vectors(self, indices: NDArray[np.integer] | Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the states and actions (N, 7) at `indices` (see `rows`), which are distinct and may be all there are."""
        positions = self._positions(indices)
        states_ND, actions_ND = (np.empty((len(positions), dim), np.float32) for dim in (STATE_DIM, ACTION_DIM))
        # To read the columns from end to end is faster than to pick rows from them, unless these are very few.
        order = np.argsort(positions)
        ordered, begin = positions[order], 0
        with self._explain("read"):
            for batch in self._steps.scanner(columns=["state", "action"], scan_in_order=True).to_batches():
                low, high = np.searchsorted(ordered, [begin, begin + batch.num_rows])
                there, chosen = order[low:high], ordered[low:high] - begin
                part = pa.Table.from_batches([batch])
                states_ND[there], actions_ND[there] = schema.states(part)[chosen], schema.actions(part)[chosen]
                begin += batch.num_rows
        return states_ND, actions_ND

    @property
    def row_count(self) -> int:
        """How many rows there are, see `rows`."""
        return int(self._index().first_rows[-1])

    def _positions(self, indices: NDArray[np.integer] | Sequence[int]) -> NDArray[np.int64]:
        """Return where rows are in the `steps` table."""
        snapshot = self._index()
        if snapshot.positions is None:
            with self._explain("read"):
                snapshot.positions = positions_of(self._steps, snapshot, self.uri)
        wanted, count = np.asarray(indices, np.int64), len(snapshot.positions)
        if len(wanted) == 0 or wanted.min() < 0 or wanted.max() >= count:
            asked = f"{wanted.min()} to {wanted.max()}" if len(wanted) else "none"
            raise StoreError(f"{self.uri} has rows 0 to {count - 1}; asked for {asked}")
        return snapshot.positions[wanted]

    def add_label(self, id: str, label: Label) -> None:
        """Add a judgement to an episode; earlier ones are kept. Safe when several processes label at once.

        Raises:
            StoreError: There is no such episode, or the store is pinned or cannot be written.
        """
        self.add_labels({id: [label]})

    def add_labels(self, labels: Mapping[str, Sequence[Label]], report: Callable[[int, int], None] | None = None) -> None:
        """Add judgements to many episodes, by id, as `add_label`; much faster, since some hundred share a commit.

        When it ends early, those of the first episodes were added. `report` is told how many of how many are done.
        """
        ids = list(labels)
        for start in range(0, len(ids), _LABELLED_TOGETHER):
            part = ids[start : start + _LABELLED_TOGETHER]
            self._label({id: adding(labels[id]) for id in part})
            if report:
                report(start + len(part), len(ids))

    def take_back_label(self, id: str, label: Label) -> None:
        """Take a judgement back that was added by mistake; versions from before still show it.

        Raises:
            StoreError: There is no such episode, it has no such label, or the store is pinned or cannot be written.
        """
        self._label({id: taking_back(self.uri, id, label)})

    def _label(self, changes: Mapping[str, Change]) -> None:
        self._check_writable()
        self._refresh()
        change_labels(self._episodes, self.uri, changes)
        self._refresh()

    def delete(self, id: str) -> None:
        """Delete an episode. Versions from before still show it: what was trained on it can be explained.

        Raises:
            StoreError: There is no such episode, or the store is pinned or cannot be written.
        """
        self._check_writable()
        self._refresh()
        rows_of(self._episodes, self.uri, [id])
        with self._explain("delete from"):
            # All rows of the id: what a writer that came second has left behind must not take its place.
            attempts = self._episodes.to_table(columns=["attempt"], filter=f"id = {quoted(id)}")["attempt"].to_pylist()
            which = f"attempt IN ({', '.join(map(str, attempts))})"
            # The row in `episodes` is what makes an episode; steps without one are seen by nobody.
            for dataset in (self._episodes, self._steps):
                tables.newest(dataset).delete(which)
        self._refresh()

    def compact(self, *, lately: bool = False) -> None:
        """Merge the small files that many appends left; reading is faster afterwards, and pinned versions stay readable.

        Args:
            lately: Leave those alone that are large already: who does this now and then while a store grows writes each row
                once or twice more, however long that goes on.

        Raises:
            StoreError: The store is pinned, cannot be written, or is changed by others all the time.
        """
        self._check_writable()
        with self._explain("compact"):
            for dataset, rows in zip((self._steps, self._episodes), _LARGE if lately else (None, None), strict=True):
                tables.compact(dataset, rows)
        self._refresh()

    def _refresh(self) -> None:
        """Look at the newest state, unless pinned. Episodes first: whatever is committed there has its steps."""
        if self._pinned:
            return
        with self._explain("read"):
            # New handles, since another thread may be reading with the old ones.
            self._episodes = tables.newest(self._episodes)
            self._steps = tables.newest(self._steps)

    def _matching(self, where: str | None) -> str | None:
        """Look at the newest state, and return the SQL for the episodes that match: not for rows whose id was taken."""
        self._refresh()
        with self._explain("read"):
            if where is not None:
                check_filter(self._episodes, where)
            later = self._index().later
        if not later:
            return where
        others = f"attempt NOT IN ({', '.join(map(str, later))})"
        return others if where is None else f"({where}\n) AND {others}"

    def _index(self) -> Snapshot:
        """Return the order of the episodes in the state that was last looked at."""
        versions = (self._steps.version, self._episodes.version)
        if self._snapshot is None or self._snapshot.versions != versions:
            with self._explain("read"):
                self._snapshot = snapshot_of(self._steps, self._episodes)
        return self._snapshot

    def _check_writable(self) -> None:
        if not self._view.is_main:
            raise StoreError(f"{self.uri} was opened for its camera {self.camera} and is read-only; open it without to write")
        if self._pinned:
            raise StoreError(f"{self.uri} was opened at a pinned version and is read-only; open it without `version` to write")

    def _explain(self, action: str) -> AbstractContextManager[None]:
        return explaining(action, self.uri)
