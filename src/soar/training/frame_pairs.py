"""Pairs of frames for the training of subgoal models, read from a store batch by batch: nothing has to fit into memory.

A pair is an observation, an instruction, and the frame `horizon` steps later or, near the end, the last one. Whole episodes are
held out. The store is read at the version at which training began, so that a training that is resumed sees the same frames
although robots have appended since.

Shape suffixes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soar.episodes import EpisodeStore, StepArrays
from soar.episodes.schema import EpisodeRecord
from soar.errors import CheckpointError, StoreError
from soar.files import write_json
from soar.images import resized
from soar.seeding import generator
from soar.training.distributed import current_group
from soar.training.subgoal import PairSampler
from soar.types import ACTION_DIM, STATE_DIM


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePairs:
    """Pairs that were drawn, and their images once they are read.

    Attributes:
        observation_B: Rows of the store.
        goal_B: Rows of the store.
        instructions: One a pair.
        observation_BHWC: uint8; None before they are read.
        goal_BHWC: uint8; None before they are read.
    """

    observation_B: NDArray[np.int64]
    goal_B: NDArray[np.int64]
    instructions: tuple[str, ...]
    observation_BHWC: Tensor | None = None
    goal_BHWC: Tensor | None = None

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """Observations and goals, uint8 (B, H, W, 3) each."""
        if self.observation_BHWC is None or self.goal_BHWC is None:
            raise ValueError("these pairs were drawn but not read")
        return self.observation_BHWC, self.goal_BHWC


class StorePairs:
    """Draws pairs from some episodes of a store, every frame as likely, and reads their images.

    Args:
        store: Pinned to a version, or not appended to meanwhile.
        records: The episodes.
        image_size: Side to which images are resized [px].
        horizon: Steps from observation to goal.
        horizon_jitter: Largest relative change of it in a pair.
    """

    def __init__(
        self,
        store: EpisodeStore,
        records: Sequence[EpisodeRecord],
        image_size: int,
        horizon: int,
        horizon_jitter: float,
    ) -> None:
        self._store, self._records, self._size = store, records, (image_size, image_size)
        index = _index(records)
        self._sampler = PairSampler(
            index, np.arange(len(records)), np.empty((0, 0), np.int64), horizon=horizon, horizon_jitter=horizon_jitter
        )

    def draw(self, rng: np.random.Generator, count: int) -> FramePairs:
        """Draw pairs, without their images."""
        observation_B, goal_B, episode_B = self._sampler.draw_rows(rng, count)
        instructions = tuple(self._records[episode].instruction for episode in episode_B)
        return FramePairs(observation_B=observation_B, goal_B=goal_B, instructions=instructions)

    def read(self, pairs: FramePairs, part: slice = slice(None)) -> FramePairs:
        """Return some of the pairs with their images."""
        rows_B = np.concatenate([pairs.observation_B[part], pairs.goal_B[part]])
        images = torch.from_numpy(np.stack([resized(image, self._size) for image in self._store.rows(rows_B).images_NHWC]))
        observation, goal = images.chunk(2)
        return replace(
            pairs,
            observation_B=pairs.observation_B[part],
            goal_B=pairs.goal_B[part],
            instructions=pairs.instructions[part],
            observation_BHWC=observation,
            goal_BHWC=goal,
        )

    def describe(self, pairs: FramePairs) -> str:
        """Return where pairs are from, for an error message."""
        starts = np.array([record.first_row for record in self._records])
        order = np.argsort(starts)
        episodes = order[np.searchsorted(starts[order], pairs.observation_B, side="right") - 1]
        ids = [self._records[episode].id for episode in dict.fromkeys(episodes.tolist())]
        return f", whose batch is from the episodes {', '.join(ids[:8])}" + (" and others" if len(ids) > 8 else "")


def pinned(store: Path, where: str, path: Path) -> tuple[EpisodeStore, dict[str, Any]]:
    """Open a store at the version that a file names; without the file, at the newest, which the file names then.

    Raises:
        StoreError: There is no such store.
        CheckpointError: The file is damaged, or names another store or filter.
    """
    if not path.exists() and current_group().leads:
        write_json(path, {"store": str(store.resolve()), "where": where, "version": EpisodeStore(store).version})
    current_group().wait()
    try:
        data = dict(json.loads(path.read_text(encoding="utf-8")))
        version = data["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Train in another folder.") from error
    if (data.get("store"), data.get("where")) != (str(store.resolve()), where):
        raise CheckpointError(
            f"{path.parent} holds a training on other data: {data.get('store')} where {data.get('where') or 'everything'}. "
            "Name these to resume it, or train in another folder."
        )
    return EpisodeStore(store, version=version), data


def split(store: EpisodeStore, where: str, held_out: float, seed: int) -> tuple[list[EpisodeRecord], list[EpisodeRecord]]:
    """Return the episodes with an instruction that match, those to learn from and those held out.

    Raises:
        StoreError: There are fewer than two.
    """
    records = [record for record in store.episodes(where or None) if record.instruction.strip()]
    if len(records) < 2:
        raise StoreError(
            f"{store.uri} has {len(records)} episodes with an instruction{f' where {where}' if where else ''}; a subgoal model "
            "needs two or more, one of them held out. Collect or label some, or widen the filter."
        )
    order = generator(seed, "subgoal-held-out").permutation(len(records))
    count = max(1, min(len(records) - 1, round(held_out * len(records))))
    return [records[i] for i in np.sort(order[count:])], [records[i] for i in np.sort(order[:count])]


def _index(records: Sequence[EpisodeRecord]) -> StepArrays:
    """Return where episodes are in the store, as arrays without contents."""
    lengths_E = np.array([record.length for record in records], np.int64)
    return StepArrays(
        images_NHWC=np.empty((0, 0, 0, 3), np.uint8),
        states_ND=np.empty((0, STATE_DIM), np.float32),
        actions_ND=np.empty((0, ACTION_DIM), np.float32),
        starts_E=np.array([record.first_row for record in records], np.int64),
        lengths_E=lengths_E,
        ids=tuple(record.id for record in records),
        instructions=tuple(record.instruction for record in records),
        probabilities_E=np.zeros(len(records)),
    )
