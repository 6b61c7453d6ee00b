"""Pairs of frames for the training of subgoal models, read from a store batch by batch: nothing has to fit into memory.

A pair is an observation, an instruction, and the frame `horizon` steps later or, near the end, the last one. Whole episodes are
held out. The store is read at the version at which training began, so that a training that is resumed sees the same frames
although robots have appended since.

Shape suffixes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from soar.cameras import MAIN
from soar.datasets import StepArrays
from soar.episodes import EpisodeStore
from soar.episodes.schema import EpisodeRecord
from soar.errors import CheckpointError, StoreError
from soar.files import write_json
from soar.images import resized
from soar.seeding import generator
from soar.training.distributed import current_group
from soar.types import ACTION_DIM, STATE_DIM
from soar.untrusted import parse_json


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


def pinned(store: Path, where: str, path: Path, camera: str = MAIN) -> tuple[EpisodeStore, dict[str, Any]]:
    """Open a store at the version that a file names; without the file, at the newest, which the file names then.

    Raises:
        StoreError: There is no such store.
        UnknownNameError: None of its episodes has such a camera.
        CheckpointError: The file is damaged, or names another store or filter.
    """
    if not path.exists() and current_group().leads:
        said = {"store": str(store.resolve()), "where": where, "version": EpisodeStore(store, camera=camera).version}
        write_json(path, said | ({} if camera == MAIN else {"camera": camera}))
    current_group().wait()
    try:
        data = dict(parse_json(path.read_text(encoding="utf-8")))
        version = data["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}). Train in another folder.") from error
    if (data.get("store"), data.get("where"), data.get("camera", MAIN)) != (str(store.resolve()), where, camera):
        raise CheckpointError(
            f"{path.parent} holds a training on other data: {data.get('store')} where {data.get('where') or 'everything'}, "
            f"camera {data.get('camera', MAIN)}. Name these to resume it, or train in another folder."
        )
    return EpisodeStore(store, version=version, camera=camera), data


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


class Pairs(NamedTuple):
    """Observations, goals (both uint8, BHWC) and tokens of instructions."""

    observation_BHWC: Tensor
    goal_BHWC: Tensor
    tokens_BL: Tensor


class PairSampler:
    """Draws (observation, instruction, goal) from some of the episodes.

    Of the episodes of several actions every frame is as likely, of those of one action only the first can be an observation.
    """

    def __init__(
        self,
        arrays: StepArrays,
        episodes_E: NDArray[np.int64],
        tokens_EL: NDArray[np.int64],
        *,
        horizon: int,
        horizon_jitter: float = 0.0,
        pair_share: float = 0.4,
    ) -> None:
        self._arrays, self._tokens_EL = arrays, tokens_EL
        self._horizon, self._jitter = horizon, horizon_jitter
        single_E = arrays.lengths_E[episodes_E] == 1
        self._pairs = episodes_E[single_E]
        # Every frame of the longer episodes, and whose it is. The rows of an episode follow each other; episodes may lie apart.
        long_E = episodes_E[~single_E]
        counts_E = arrays.lengths_E[long_E] + 1
        self._episode_F = np.repeat(long_E, counts_E)
        self._step_F = np.arange(counts_E.sum()) - np.repeat(np.cumsum(counts_E) - counts_E, counts_E)
        self._share = 1.0 if not len(long_E) else pair_share if len(self._pairs) else 0.0

    def draw_rows(self, rng: np.random.Generator, count: int) -> tuple[NDArray[np.int64], ...]:
        """Return the rows of `count` observations, of their goals, and their episodes."""
        paired = int(rng.binomial(count, self._share))
        frame_B = rng.integers(max(1, len(self._episode_F)), size=count - paired)
        pair_B = rng.integers(max(1, len(self._pairs)), size=paired)
        episode_B = np.concatenate([self._pairs[pair_B], self._episode_F[frame_B]])
        step_B = np.concatenate([np.zeros(paired, np.int64), self._step_F[frame_B]])
        factor_B = 1 + rng.uniform(-self._jitter, self._jitter, count)
        ahead_B = np.maximum(1, np.rint(self._horizon * factor_B).astype(np.int64))
        start_B, last_B = self._arrays.starts_E[episode_B], self._arrays.lengths_E[episode_B]
        return start_B + step_B, start_B + np.minimum(step_B + ahead_B, last_B), episode_B

    def draw(self, rng: np.random.Generator, count: int) -> Pairs:
        """Return `count` pairs."""
        row_B, goal_B, episode_B = self.draw_rows(rng, count)
        images = self._arrays.images_NHWC
        return Pairs(
            torch.from_numpy(images[row_B]), torch.from_numpy(images[goal_B]), torch.from_numpy(self._tokens_EL[episode_B])
        )
