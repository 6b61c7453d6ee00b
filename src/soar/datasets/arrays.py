"""Episodes as a trainer reads them: numbers in memory, images in the store until they are drawn.

All observations of all episodes stand in one axis N. Episode e owns the rows `starts_E[e]` to `starts_E[e] + lengths_E[e]`,
T + 1 of them; the last one has no action (NaN) and can only be a goal.

Shape suffixes: N observations, E episodes, D dimensions, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.datasets.image_cache import Images, StoredImages, select
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.errors import StoreError
from soar.images import ImageFitter
from soar.seeding import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class StepArrays:
    """E episodes with N observations in all.

    Attributes:
        images_NHWC: uint8 RGB; an array in memory, or `StoredImages`, which are decoded when they are asked for.
        states_ND: (N, 7) float32, see `soar.types.Observation`.
        actions_ND: (N, 7) float32, see `soar.types.Action`; NaN at the last observation of an episode.
        starts_E: Row of the first observation of each episode.
        lengths_E: T, the number of actions of each episode.
        ids: Of the episodes.
        instructions: Of the episodes.
        probabilities_E: That the episode succeeded, as its judge says; 1 or 0 where the verdict has none, 0 without a verdict.
        subgoals: JPEGs of the subgoals that were commanded, if they were loaded.
        pursued_N: Index of the subgoal that was pursued at each row; -1 where there was none. None if they were not loaded.
        reflex_N: Rows whose action was a reflex's; None when there are none.
    """

    images_NHWC: Images
    states_ND: NDArray[np.float32]
    actions_ND: NDArray[np.float32]
    starts_E: NDArray[np.int64]
    lengths_E: NDArray[np.int64]
    ids: tuple[str, ...]
    instructions: tuple[str, ...]
    probabilities_E: NDArray[np.float64]
    subgoals: tuple[bytes, ...] = ()
    pursued_N: NDArray[np.int64] | None = None
    reflex_N: NDArray[np.bool_] | None = None

    @property
    def episode_N(self) -> NDArray[np.int64]:
        """The episode of each row."""
        return np.repeat(np.arange(len(self.lengths_E)), self.lengths_E + 1)

    @property
    def has_action_N(self) -> NDArray[np.bool_]:
        """Which rows have an action to learn from: all but the last of each episode, and but those of a reflex."""
        mask = np.ones(len(self.states_ND), bool)
        mask[self.starts_E + self.lengths_E] = False
        return mask if self.reflex_N is None else mask & ~self.reflex_N

    @property
    def reached_N(self) -> NDArray[np.int64]:
        """How far each row's policy came: the row at which the next reflex begins, or the last one of the episode."""
        ends = np.zeros(len(self.states_ND), bool)
        ends[self.starts_E + self.lengths_E] = True
        if self.reflex_N is not None:
            ends |= self.reflex_N
        rows = np.flatnonzero(ends)
        reached: NDArray[np.int64] = rows[np.searchsorted(rows, np.arange(len(ends)))]
        return reached

    def select(self, episode_mask: NDArray[np.bool_]) -> StepArrays:
        """Return the episodes where `episode_mask` (E,) is true."""
        return self.take(np.flatnonzero(episode_mask))

    def take(self, chosen: NDArray[np.int64]) -> StepArrays:
        """Return some of the episodes by their numbers, in that order, repetitions allowed."""
        lengths_E = self.lengths_E[chosen]
        rows = np.arange(int((lengths_E + 1).sum())) + np.repeat(self.starts_E[chosen] - _starts(lengths_E), lengths_E + 1)
        return StepArrays(
            images_NHWC=select(self.images_NHWC, rows),
            states_ND=self.states_ND[rows],
            actions_ND=self.actions_ND[rows],
            starts_E=_starts(lengths_E),
            lengths_E=lengths_E,
            ids=tuple(self.ids[index] for index in chosen),
            instructions=tuple(self.instructions[index] for index in chosen),
            probabilities_E=self.probabilities_E[chosen],
            subgoals=self.subgoals,
            pursued_N=None if self.pursued_N is None else self.pursued_N[rows],
            reflex_N=None if self.reflex_N is None else self.reflex_N[rows],
        )


def load_arrays(
    store: EpisodeStore,
    where: str | None = None,
    *,
    cache_bytes: int | None = None,
    subgoals: bool = False,
    fitter: ImageFitter | None = None,
) -> StepArrays:
    """Return the episodes that match an SQL filter (see `EpisodeStore.episodes`), as they are in the store now.

    States and actions are read into memory, 56 bytes a step. Images are not: see `soar.datasets.image_cache`.

    Args:
        store: What it is appended, or what is deleted, after this call is not seen.
        where: SQL that selects some of the episodes.
        cache_bytes: Memory for decoded images; None lets it size itself from the memory that is free, 0 is none.
        subgoals: Load the subgoals, too; they stay encoded, some kilobytes each.
        fitter: Brings images to a network's size as they are decoded; None leaves them as the camera gave them.

    Raises:
        StoreError: No episode matches, the SQL is invalid, some have no picture of the store's camera, or the frames differ in
            size.
    """
    store = EpisodeStore(store.uri, version=store.version, camera=store.camera)
    records = store.episodes(where)
    if not records:
        raise StoreError(
            f"{store.uri} has no episode" + (f" where {where}" if where else "") + "; collect some, or widen the filter"
        )
    lengths_E = np.array([record.length for record in records], np.int64)
    starts_E = _starts(lengths_E)
    count = int(lengths_E.sum()) + len(lengths_E)
    first_rows = np.array([record.first_row for record in records], np.int64)
    rows = np.arange(count) + np.repeat(first_rows - starts_E, lengths_E + 1)
    states_ND, actions_ND = store.vectors(rows)
    jpegs, pursued_N = _pursued(store.subgoals(where), records, starts_E) if subgoals else ((), None)
    return StepArrays(
        images_NHWC=StoredImages(store, rows, cache_bytes=cache_bytes, fitter=fitter),
        states_ND=states_ND,
        actions_ND=actions_ND,
        starts_E=starts_E,
        lengths_E=lengths_E,
        ids=tuple(record.id for record in records),
        instructions=tuple(record.instruction for record in records),
        probabilities_E=np.array([_probability(record) for record in records]),
        subgoals=jpegs,
        pursued_N=pursued_N,
        reflex_N=_reflexes(records, starts_E),
    )


def train_validation_split(arrays: StepArrays, fraction: float, seed: int) -> tuple[StepArrays, StepArrays]:
    """Split by episode, so that no episode is in both.

    Args:
        arrays: Two episodes or more.
        fraction: Share of the episodes that validate; at least one episode is on either side.
        seed: Which episodes they are.

    Raises:
        ValueError: The fraction is not between 0 and 1, or there are fewer than two episodes.
    """
    count = len(arrays.lengths_E)
    if not 0 < fraction < 1 or count < 2:
        raise ValueError(f"a split needs 0 < fraction < 1 and at least 2 episodes, got {fraction} and {count}")
    held_out = min(max(round(fraction * count), 1), count - 1)
    validates = np.zeros(count, bool)
    validates[generator(seed, "train-validation-split").permutation(count)[:held_out]] = True
    return arrays.select(~validates), arrays.select(validates)


def _pursued(
    subgoals: Mapping[str, Sequence[tuple[int, bytes]]], records: Sequence[EpisodeRecord], starts_E: NDArray[np.int64]
) -> tuple[tuple[bytes, ...], NDArray[np.int64]]:
    """Return the subgoals of all episodes, and which one was pursued at each row."""
    jpegs: list[bytes] = []
    pursued_N = np.full(int(starts_E[-1]) + records[-1].length + 1, -1, np.int64)
    for record, start in zip(records, starts_E.tolist(), strict=True):
        for step, jpeg in subgoals[record.id]:
            # To the end of the episode; the next subgoal takes over what is its own.
            pursued_N[start + step : start + record.length] = len(jpegs)
            jpegs.append(jpeg)
        pursued_N[start + np.array(record.reflex_steps, np.int64)] = -1
    return tuple(jpegs), pursued_N


def _reflexes(records: Sequence[EpisodeRecord], starts_E: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which rows are a reflex's, None when none is."""
    steps = [np.array(record.reflex_steps, np.int64) + start for record, start in zip(records, starts_E, strict=True)]
    rows = np.concatenate(steps)
    if not len(rows):
        return None
    mask = np.zeros(int(starts_E[-1]) + records[-1].length + 1, bool)
    mask[rows] = True
    return mask


def _probability(record: EpisodeRecord) -> float:
    return float(record.success is True) if record.probability is None else record.probability


def _starts(lengths_E: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(lengths_E + 1) - (lengths_E + 1)
