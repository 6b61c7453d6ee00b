"""Stores from stores: filter, merge, split. Frames are copied as they are; an episode keeps its id, labels and lineage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.store import EpisodeStore
from soar.errors import StoreError
from soar.seeding import generator

_BATCH = 32
Report = Callable[[int, int], None]
"""Is told how many of how many episodes are done."""


def merge(
    sources: Sequence[EpisodeStore], target: str | Path, *, where: str | None = None, report: Report | None = None
) -> int:
    """Append the episodes of one or several stores to another; what it has already is left out, so a repeated call goes on.

    Args:
        sources: Read one after the other; an SQL filter on a single one makes a selection.
        target: Folder of the store that gets the episodes; it is made when it is missing.
        where: SQL that selects some of the episodes of each source.
        report: Is told how far it is.

    Returns:
        How many episodes were appended.

    Raises:
        StoreError: Two sources hold an episode of the same id, or the SQL is invalid; nothing is appended then.
    """
    chosen = [(source, record.id) for source in sources for record in source.episodes(where)]
    _check_distinct(chosen)
    return _copy(chosen, _open(target), report)


def split(
    source: EpisodeStore,
    first: str | Path,
    second: str | Path,
    *,
    fraction: float,
    seed: int = 0,
    report: Report | None = None,
) -> tuple[int, int]:
    """Append each episode of a store to one of two others, by chance; the same seed always divides the same way.

    Args:
        source: The episodes.
        first: Folder of the store that gets `fraction` of them, one at least; it is made when it is missing.
        second: Folder of the store that gets the others, one at least.
        fraction: Between 0 and 1, both excluded.
        seed: Which episodes they are.
        report: Is told how far it is.

    Returns:
        How many episodes either store got.

    Raises:
        StoreError: The fraction is out of range, or there are fewer than two episodes.
    """
    ids = [record.id for record in source.episodes()]
    if not 0 < fraction < 1 or len(ids) < 2:
        raise StoreError(f"a split needs 0 < fraction < 1 and two episodes at least; got {fraction} and {len(ids)} episodes")
    count = min(max(round(fraction * len(ids)), 1), len(ids) - 1)
    chosen = set(generator(seed, "split-store").permutation(len(ids))[:count].tolist())
    parts = [[(source, id) for index, id in enumerate(ids) if (index in chosen) is side] for side in (True, False)]
    copied = _copy(parts[0], _open(first), report)
    return copied, _copy(parts[1], _open(second), report)


def _open(folder: str | Path) -> EpisodeStore:
    """Open or make the store of a result, once it is known that there is one."""
    return EpisodeStore(folder, mode="open_or_create")


def _check_distinct(chosen: Sequence[tuple[EpisodeStore, str]]) -> None:
    owner: dict[str, str] = {}
    for source, id in chosen:
        if id in owner:
            raise StoreError(
                f"both {owner[id]} and {source.uri} hold an episode {id!r}; an id names one episode, "
                "leave one out with a filter"
            )
        owner[id] = source.uri


def _copy(chosen: Sequence[tuple[EpisodeStore, str]], target: EpisodeStore, report: Report | None) -> int:
    known = {record.id for record in target.episodes()}
    missing = [(source, id) for source, id in chosen if id not in known]
    batch: list[EncodedEpisode] = []
    for done, (source, id) in enumerate(missing, start=1):
        batch.append(source.read_encoded(id))
        if len(batch) == _BATCH or done == len(missing):
            target.append(batch)
            batch.clear()
        if report:
            report(done, len(missing))
    return len(missing)
