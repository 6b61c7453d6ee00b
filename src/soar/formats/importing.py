"""From a foreign dataset into a store: streaming, resumable, nothing taken on trust.

A few episodes are in memory at a time, and each batch of them is one atomic append. What is in the store already is not read
again, so the same call goes on where a killed one stopped. Another episode whose id is taken gets one of its own, see
`soar.episodes.identity`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from soar.episodes.encoded import EncodedEpisode, check
from soar.episodes.identity import SOURCE, KnownEpisodes
from soar.episodes.store import EpisodeStore
from soar.errors import FormatError, StoreError
from soar.formats.splitting import split_at_instructions
from soar.formats.steps import INSTRUCTIONS, Dataset, Found

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
        renamed: Ids of other episodes that were taken, and those that were given instead.
        other_labels: Ids of episodes that were there, with other labels than they have in the dataset.
        fewer_cameras: Ids of episodes that were there, without further cameras that they have in the dataset.
        several: Ids of imported episodes that have several instructions, of which the first names them.
    """

    imported: int
    present: int
    bad: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    several: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()
    fewer_cameras: tuple[str, ...] = ()


def import_episodes(
    dataset: Dataset,
    store: EpisodeStore,
    *,
    skip_bad: bool = False,
    limit: int | None = None,
    split: bool = False,
    report: Report | None = None,
) -> Imported:
    """Append the episodes of a foreign dataset to a store.

    Args:
        dataset: See `soar.formats.rlds.open_rlds` and its siblings.
        store: Gets them.
        skip_bad: Go on after an episode that cannot be read; the others are not affected.
        limit: Stop after so many episodes of the dataset.
        split: Make several episodes of one whose instruction changes.
        report: Is told how far it is.

    Raises:
        FormatError: An episode cannot be read and not `skip_bad`; those before it are in the store.
        StoreError: The store cannot be written.
    """
    job = _Import(store, split)
    total = dataset.count if limit is None else min(limit, dataset.count)
    for done, found in enumerate(dataset.episodes):
        if done >= total:
            break
        if report:
            report(done, total, job.note)
        try:
            job.take(found)
        except FormatError as error:
            if not skip_bad:
                job.flush()
                raise FormatError(
                    f"{error}. {job.imported} episodes were imported before it, {job.present} were there; "
                    "skip episodes that cannot be read with --skip-bad"
                ) from error
            job.bad.append(str(error))
    job.flush()
    if report:
        report(total, total, job.note)
    if job.imported:
        store.compact()
    return Imported(
        imported=job.imported,
        present=job.present,
        bad=tuple(job.bad),
        renamed=tuple(job.renamed),
        several=tuple(job.several),
        other_labels=tuple(job.known.other_labels),
        fewer_cameras=tuple(job.known.fewer_cameras),
    )


class _Import:
    """What an import has done so far, and the episodes that wait to be appended together."""

    def __init__(self, store: EpisodeStore, split: bool) -> None:
        self._store, self._split = store, split
        self.known = KnownEpisodes(store)
        self._batch: list[EncodedEpisode] = []
        self._bytes = 0
        self.imported = self.present = 0
        self.bad: list[str] = []
        self.renamed: list[tuple[str, str]] = []
        self.several: list[str] = []

    @property
    def note(self) -> str:
        """For whoever watches."""
        return f"{len(self.bad)} bad" if self.bad else ""

    def take(self, found: Found) -> None:
        """Read an episode unless it is there, and append it with others, whole or in parts."""
        fingerprint = found.fingerprint() + ("/split" if self._split else "")
        if self.known.has(found.id, fingerprint):
            self.present += 1
            return
        encoded = found.read()
        try:
            check(encoded)
        except StoreError as error:
            raise FormatError(f"{found.place}: {error}") from error
        if encoded.created_s is None:
            source = {"id": found.id, "fingerprint": fingerprint}
            encoded = replace(encoded, origin={**encoded.origin, SOURCE: source})
        for part in split_at_instructions(encoded) if self._split else [encoded]:
            self._add(part)
        if len(self._batch) >= _BATCH or self._bytes > _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Append what waits."""
        self._store.append(self._batch, checked=True)
        self.known.stored()
        self.imported += len(self._batch)
        self._batch.clear()
        self._bytes = 0

    def _add(self, part: EncodedEpisode) -> None:
        placed = self.known.place(part)
        if placed is None:
            self.present += 1
            return
        self.known.add(placed)
        self._batch.append(placed)
        self._bytes += placed.bytes
        if placed.id != part.id:
            self.renamed.append((part.id, placed.id))
        if INSTRUCTIONS in placed.origin:
            self.several.append(placed.id)
