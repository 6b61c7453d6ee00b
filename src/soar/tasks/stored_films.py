"""Films of stored episodes for whoever judges them: of each only the frames that are looked at, read together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from soar.episodes import jpeg, schema
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.tasks.detection import SuccessDetector
from soar.types import Observation

_ROWS, _EPISODES = 256, 16
"""Frames that are read at a time, and episodes that are judged at a time: what was paid for is stored soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFilm:
    """A `soar.tasks.views.Film` that has some of its frames.

    Attributes:
        length: How many frames the film has.
        frames: Those that were read.
    """

    length: int
    frames: dict[int, Observation]

    def __len__(self) -> int:
        """How many frames the film has."""
        return self.length

    def __getitem__(self, index: int) -> Observation:
        """Return a frame that was read."""
        return self.frames[index]


def films_of(
    store: EpisodeStore, records: Sequence[EpisodeRecord], detector: SuccessDetector
) -> Iterator[tuple[list[EpisodeRecord], list[StoredFilm]]]:
    """Yield episodes, some at a time, with what the detector looks at in each.

    Raises:
        StoreError: The store cannot be read.
    """
    part: list[EpisodeRecord] = []
    rows = 0
    for record in records:
        wanted = len(detector.frames(record.length))
        if part and (rows + wanted > _ROWS or len(part) == _EPISODES):
            yield part, _read(store, part, detector)
            part, rows = [], 0
        part.append(record)
        rows += wanted
    if part:
        yield part, _read(store, part, detector)


def _read(store: EpisodeStore, records: Sequence[EpisodeRecord], detector: SuccessDetector) -> list[StoredFilm]:
    wanted = [detector.frames(record.length) for record in records]
    rows = [record.first_row + frame for record, some in zip(records, wanted, strict=True) for frame in some]
    table = store.table(rows, ["frame", "state"])
    # Decoded one by one: robots of one store may have cameras of different sizes.
    seen = iter(zip(table["frame"].to_pylist(), schema.states(table), strict=True))
    films = []
    for record, some in zip(records, wanted, strict=True):
        frames = {}
        for frame in some:
            encoded, state = next(seen)
            frames[frame] = Observation(image_HWC=jpeg.decode(encoded), state=state)
        films.append(StoredFilm(length=record.length + 1, frames=frames))
    return films
