"""Who said what about the episodes of a store: a person's word and the model's beside each other, for all of them at once."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from soar.episodes.browsing import Browser
from soar.episodes.schema import INSTRUCTION, PERSON, SCORE, SIMULATOR
from soar.evaluation.detector_metrics import Judgement

_COLUMNS = ("id", "attempt", "instruction", "length", "labels")
_NOBODY, _NO, _YES, _UNDECIDED = -1, 0, 1, 2
SHARE = 5
"""One of so many episodes is in the random share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgements:
    """Of E episodes, in the order of insertion; verdicts are -1 for nobody, 0 for no, 1 for yes, 2 for undecided.

    Attributes:
        table: `id`, `attempt`, `instruction`, `length`, `labels`, `first_row`.
        person_E: The newest word of a person.
        model_E: The newest word of a model.
        probability_E: That it came with; NaN for none.
        disagree_E: Whether two models, or two people, said yes and no.
        ids: Of the episodes.
        random_E: Whether it belongs to the random share, see `sample`.
        place_E: Its place in a random order.
    """

    table: pa.Table
    person_E: NDArray[np.int8]
    model_E: NDArray[np.int8]
    probability_E: NDArray[np.float64]
    disagree_E: NDArray[np.bool_]
    ids: list[str]
    random_E: NDArray[np.bool_]
    place_E: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.table)

    def row(self, index: int) -> dict[str, Any]:
        """Return what is known of one episode."""
        return dict(self.table.slice(index, 1).to_pylist()[0])

    def audited(self, chosen_E: NDArray[np.bool_]) -> list[Judgement]:
        """Return those of the chosen episodes that a person decided and a model judged, as its metrics want them."""
        both = np.flatnonzero(chosen_E & np.isin(self.person_E, (_NO, _YES)) & (self.model_E != _NOBODY))
        tasks = self.table["instruction"].take(pa.array(both)).to_pylist()
        return [
            Judgement(
                id=self.ids[at],
                instruction=task or "",
                truth=bool(self.person_E[at] == _YES),
                success=None if self.model_E[at] == _UNDECIDED else bool(self.model_E[at] == _YES),
                probability=None if np.isnan(self.probability_E[at]) else float(self.probability_E[at]),
            )
            for at, task in zip(both.tolist(), tasks, strict=True)
        ]


def judgements(browser: Browser, before: Judgements | None = None) -> Judgements:
    """Return what everybody said.

    Args:
        browser: Of the store.
        before: What was returned last time, and is again while nothing has changed.

    Raises:
        StoreError: The store cannot be read.
    """
    table = browser.table(columns=_COLUMNS)
    if before is not None and before.table is table:
        return before
    column = table["labels"].combine_chunks()
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    flat = array.flatten()
    said = _Labels(
        owner_L=np.asarray(pc.list_parent_indices(array), np.int64),
        verdict_L=np.asarray(pc.fill_null(flat.field("success").cast(pa.int8()), _UNDECIDED), np.int8),
        time_L=np.asarray(pc.fill_null(flat.field("time_s"), 0.0), np.float64),
        probability_L=np.asarray(pc.fill_null(flat.field("probability"), np.nan), np.float64),
    )
    source = flat.field("source")
    person_L = np.asarray(pc.starts_with(source, PERSON).to_numpy(zero_copy_only=False), bool)
    # The others say something else than whether it worked (`soar.episodes.schema.is_verdict`).
    other_L = pc.or_(pc.equal(source, SIMULATOR), pc.or_(pc.starts_with(source, INSTRUCTION), pc.starts_with(source, SCORE)))
    model_L = ~person_L & ~np.asarray(other_L.to_numpy(zero_copy_only=False), bool)
    count = len(table)
    person_E, _ = _newest(count, said, person_L)
    model_E, probability_E = _newest(count, said, model_L)
    disagree_E = np.zeros(count, bool)
    for kind_L in (person_L, model_L):
        no, yes = (np.bincount(said.owner_L[kind_L & (said.verdict_L == v)], minlength=count) > 0 for v in (_NO, _YES))
        disagree_E |= no & yes
    ids = table["id"].to_pylist()
    random_E, place_E = sample(ids)
    return Judgements(
        table=table,
        person_E=person_E,
        model_E=model_E,
        probability_E=probability_E,
        disagree_E=disagree_E,
        ids=ids,
        random_E=random_E,
        place_E=place_E,
    )


def sample(ids: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which episodes belong to the random share, and the place of each in a random order; a function of the id alone."""
    hashes = np.array([zlib.crc32(f"audit/{id}".encode()) for id in ids], np.int64)
    return hashes % SHARE == 0, hashes // SHARE


class _Labels(NamedTuple):
    """All labels of a store, by the episode that they are about."""

    owner_L: NDArray[np.int64]
    verdict_L: NDArray[np.int8]
    time_L: NDArray[np.float64]
    probability_L: NDArray[np.float64]


def _newest(count: int, said: _Labels, chosen_L: NDArray[np.bool_]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return the newest verdict of each episode by some labels, the later of equals, and its probability."""
    at = np.flatnonzero(chosen_L)
    at = at[np.lexsort((at, said.time_L[at]))]
    verdict_E, probability_E = np.full(count, _NOBODY, np.int8), np.full(count, np.nan)
    verdict_E[said.owner_L[at]] = said.verdict_L[at]  # of several for one episode the last one stays
    probability_E[said.owner_L[at]] = said.probability_L[at]
    return verdict_E, probability_E
