"""Stores from stores: filter, merge, split. Frames are copied as they are; an episode keeps its id, labels and lineage.

Where two episodes of one id meet, the same one is left out, and another one gets an id of its own, see
`soar.episodes.identity`. Each episode keeps its own cameras: stores with different ones become a store of both kinds.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.identity import KnownEpisodes, lacks_labels, source_of
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.errors import StoreError
from soar.seeding import generator

_BATCH = 32
_NAMED = 3
"""Episodes that a message names."""
_log = logging.getLogger(__name__)
Report = Callable[[int, int], None]
"""Is told how many of how many episodes are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What became of the episodes that were to be copied.

    Attributes:
        copied: Episodes that were appended now.
        present: Episodes that were left out because the store has them.
    """

    copied: int
    present: int

    def __str__(self) -> str:
        return f"{self.copied} episodes copied" + (f", {self.present} were there already" if self.present else "")


def merge(
    sources: Sequence[EpisodeStore], target: str | Path, *, where: str | None = None, report: Report | None = None
) -> Copied:
    """Append the episodes of one or several stores to another; what it has already is left out, so a repeated call goes on.

    Args:
        sources: Read one after the other; an SQL filter on a single one makes a selection.
        target: Folder of the store that gets the episodes; it is made when it is missing.
        where: SQL that selects some of the episodes of each source.
        report: Is told how far it is.

    Raises:
        StoreError: The SQL is invalid; nothing is appended then.
    """
    chosen = [(source, record) for source in sources for record in source.episodes(where)]
    return _copy(chosen, _open(target), report)


def split(
    source: EpisodeStore,
    first: str | Path,
    second: str | Path,
    *,
    fraction: float,
    seed: int = 0,
    report: Report | None = None,
) -> tuple[Copied, Copied]:
    """Append each episode of a store to one of two others, by chance; the same seed always divides the same way.

    Args:
        source: The episodes.
        first: Folder of the store that gets `fraction` of them, one at least; it is made when it is missing.
        second: Folder of the store that gets the others, one at least.
        fraction: Between 0 and 1, both excluded.
        seed: Which episodes they are.
        report: Is told how far it is.

    Returns:
        What became of the episodes of either store.

    Raises:
        StoreError: The fraction is out of range, or there are fewer than two episodes.
    """
    records = source.episodes()
    if not 0 < fraction < 1 or len(records) < 2:
        raise StoreError(
            f"a split needs a fraction between 0 and 1, both excluded, and two episodes at least; got {fraction} and "
            f"{len(records)} episodes in {source.uri}"
        )
    count = min(max(round(fraction * len(records)), 1), len(records) - 1)
    chosen = set(generator(seed, "split-store").permutation(len(records))[:count].tolist())
    parts = [[(source, one) for index, one in enumerate(records) if (index in chosen) is side] for side in (True, False)]
    done = _copy(parts[0], _open(first), report)
    return done, _copy(parts[1], _open(second), report)


def _open(folder: str | Path) -> EpisodeStore:
    """Open or make the store of a result, once it is known that there is one."""
    return EpisodeStore(folder, mode="open_or_create")


def _copy(chosen: Sequence[tuple[EpisodeStore, EpisodeRecord]], target: EpisodeStore, report: Report | None) -> Copied:
    known = KnownEpisodes(target)
    batch: list[EncodedEpisode] = []
    renamed: list[str] = []
    copied = 0
    for done, (source, record, encoded) in enumerate(_read(chosen, known), start=1):
        if encoded is not None and not known.has(*source_of(record)):
            placed = known.place(encoded)
            if placed is not None:
                known.add(placed)
                batch.append(placed)
                if placed.id != encoded.id:
                    renamed.append(f"{encoded.id!r} of {source.uri} is {placed.id!r}")
        if len(batch) == _BATCH or (batch and done == len(chosen)):
            target.append(batch)
            known.stored()
            copied += len(batch)
            batch.clear()
        if report:
            report(done, len(chosen))
    _say_renamed(target, renamed)
    _say_lacking(target, known, [record for _, record in chosen])
    return Copied(copied=copied, present=len(chosen) - copied)


def _read(
    chosen: Sequence[tuple[EpisodeStore, EpisodeRecord]], known: KnownEpisodes
) -> Iterator[tuple[EpisodeStore, EpisodeRecord, EncodedEpisode | None]]:
    """Yield each with what is stored of it; None where the target has it already."""
    for source, group in itertools.groupby(chosen, key=lambda one: one[0]):
        records = [record for _, record in group]
        missing = {record.id for record in records if not known.has(*source_of(record))}
        read = source.read_many([record.id for record in records if record.id in missing])
        for record in records:
            yield source, record, next(read) if record.id in missing else None


def _say_renamed(target: EpisodeStore, renamed: Sequence[str]) -> None:
    if renamed:
        _log.warning(
            "%s: %d episodes have an id that another episode has there, and got ids of their own: %s%s",
            target.uri,
            len(renamed),
            "; ".join(renamed[:_NAMED]),
            "; …" if len(renamed) > _NAMED else "",
        )


def _say_lacking(target: EpisodeStore, known: KnownEpisodes, chosen: Sequence[EpisodeRecord]) -> None:
    """Say where a copy that was there before lacks labels that have been added since, or cameras."""
    there = {source_of(record): record for record in target.episodes()}
    pairs = [(record, copy) for record in chosen if (copy := there.get(source_of(record))) is not None]
    labels = [record.id for record, copy in pairs if lacks_labels(copy.labels, record.labels)]
    cameras = [record.id for record, copy in pairs if set(record.cameras) - set(copy.cameras)]
    for what, lacking in (("labels", [*known.other_labels, *labels]), ("cameras", [*known.fewer_cameras, *cameras])):
        if lacking:
            _log.warning(
                "%s: %d episodes were there already, and lack %s that the others have, for example %r; delete them there to "
                "copy them with their %s",
                target.uri,
                len(lacking),
                what,
                lacking[0],
                what,
            )
