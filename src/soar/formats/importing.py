"""From a foreign dataset into a store: streaming, resumable, nothing taken on trust.

A few episodes are in memory at a time, and each batch of them is one atomic append. What is in the store already is not read
again, so the same call goes on where a killed one stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.store import EpisodeStore
from soar.errors import FormatError
from soar.formats.steps import Dataset

_BATCH_BYTES = 64 * 2**20
_BATCH = 32
Report = Callable[[int, int, str], None]
"""Is told how many of how many episodes are done, and a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        imported: Episodes that were appended now.
        present: Episodes that the store had before.
        bad: What is wrong with the episodes that were skipped, with file and offset.
    """

    imported: int
    present: int
    bad: tuple[str, ...]


def import_episodes(
    dataset: Dataset, store: EpisodeStore, *, skip_bad: bool = False, limit: int | None = None, report: Report | None = None
) -> Imported:
    """Append the episodes of a foreign dataset to a store.

    Args:
        dataset: See `soar.formats.rlds.open_rlds` and its siblings.
        store: Gets them.
        skip_bad: Go on after an episode that cannot be read; the others are not affected.
        limit: Stop after so many episodes of the dataset.
        report: Is told how far it is.

    Raises:
        FormatError: An episode cannot be read and not `skip_bad`; those before it are in the store.
        StoreError: The store cannot be written.
    """
    known = {record.id for record in store.episodes()}
    bad: list[str] = []
    batch: list[EncodedEpisode] = []
    imported = present = 0
    total = dataset.count if limit is None else min(limit, dataset.count)

    def flush() -> None:
        nonlocal imported
        store.append(batch)
        imported += len(batch)
        batch.clear()

    for done, found in enumerate(dataset.episodes):
        if done >= total:
            break
        if report:
            report(done, total, f"{len(bad)} bad" if bad else "")
        if found.id in known:
            present += 1
            continue
        try:
            encoded = found.read()
        except FormatError as error:
            if not skip_bad:
                flush()
                raise FormatError(
                    f"{error}. {imported} episodes were imported before it, {present} were there; "
                    "skip episodes that cannot be read with --skip-bad"
                ) from error
            bad.append(str(error))
            continue
        known.add(encoded.id)
        batch.append(encoded)
        if len(batch) == _BATCH or sum(len(jpeg) for episode in batch for jpeg in episode.frames) > _BATCH_BYTES:
            flush()
    flush()
    if report:
        report(total, total, f"{len(bad)} bad" if bad else "")
    if imported:
        store.compact()
    return Imported(imported=imported, present=present, bad=tuple(bad))
