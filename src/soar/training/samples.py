"""The batches of a policy's training: images and actions, and what a language or a flow needs besides.

A batch comes about in two steps, so that processes that share a batch decode only their own part of it:

    draw     which samples, and the random numbers of their augmentation: a function of the generator
    gather   the images, actions, chunks and embeddings of some of them

Shape suffixes: B batch, H actions of a chunk, D dimensions, E embedding, U draws, N rows of a source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soar.datasets.arrays import StepArrays
from soar.datasets.mixture import HindsightBatch, HindsightDraw, Mixture
from soar.errors import StoreError
from soar.policies.instructions import InstructionEncoder
from soar.training.augment import DRAWS
from soar.types import ACTION_DIM

if TYPE_CHECKING:
    from soar.training.config import PolicyTrainingConfig

_NAMED_EPISODES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples that were drawn, and what was gathered of them.

    Attributes:
        draw: Which samples.
        augmentation_BU: Uniform in 0..1, see `soar.training.augment`.
        hindsight: Images, actions and states; None before they are gathered.
        chunks_BHD: Actions from the observations on, NaN after the end of an episode; None unless the head has chunks.
        embeddings_BE: Of the instructions; None unless the policy is conditioned on them.
        given_B2: Whether a policy that takes both sees the goal image, and whether it gets the instruction: 0 or 1; None for
            others.
    """

    draw: HindsightDraw
    augmentation_BU: NDArray[np.float32]
    hindsight: HindsightBatch | None = None
    chunks_BHD: NDArray[np.float32] | None = None
    embeddings_BE: NDArray[np.float32] | None = None
    given_B2: NDArray[np.float32] | None = None


class Samples:
    """Draws and gathers batches from a mixture.

    Args:
        config: Of the training.
        mixture: The data.
        instructions: Embeds instructions, all of them at once here.

    Raises:
        StoreError: The policy is conditioned on instructions, and an episode has none.
    """

    def __init__(self, config: PolicyTrainingConfig, mixture: Mixture, instructions: InstructionEncoder) -> None:
        self.mixture, self.instructions = mixture, instructions
        self._batch_size, self._head = config.fit.batch_size, config.network.head
        self._episodes = [sampler.arrays.episode_N for sampler in mixture.samplers]
        self._tables: list[NDArray[np.float32]] = []
        self._dropout = config.condition_dropout if config.network.conditioning == "both" else None
        if config.network.conditioning != "goal":
            for name, sampler in zip(mixture.names, mixture.samplers, strict=True):
                if not all(sampler.arrays.instructions):
                    raise StoreError(
                        f"source {name!r} has episodes without an instruction; see `soar.training.data.with_instructions`"
                    )
                self._tables.append(instructions(sampler.arrays.instructions))

    def draw(self, rng: np.random.Generator, batch_size: int | None = None) -> Batch:
        """Draw a batch, without its images."""
        drawn = self.mixture.draw(rng, batch_size or self._batch_size)
        batch = Batch(draw=drawn, augmentation_BU=rng.random((len(drawn.source_B), DRAWS), np.float32))
        if self._dropout is None:
            return batch
        chance_B = rng.random(len(drawn.source_B))
        given_B2 = np.stack([chance_B >= self._dropout, chance_B < 1 - self._dropout], axis=-1)
        return replace(batch, given_B2=given_B2.astype(np.float32))

    def gather(self, batch: Batch, part: slice | NDArray[np.int64]) -> Batch:
        """Return some samples of a batch with everything that training needs of them."""
        draw = batch.draw[part]
        hindsight = self.mixture.gather(draw)
        batch = replace(batch, draw=draw, augmentation_BU=batch.augmentation_BU[part], hindsight=hindsight)
        if batch.given_B2 is not None:
            batch = replace(batch, given_B2=batch.given_B2[part])
        if self._head.name == "flow":
            batch = replace(batch, chunks_BHD=self._chunks(draw))
        if self._tables:
            embeddings = [
                self._tables[s][self._episodes[s][row]] for s, row in zip(draw.source_B, draw.observation_B, strict=True)
            ]
            batch = replace(batch, embeddings_BE=np.stack(embeddings))
        return batch

    def describe(self, batch: Batch) -> str:
        """Return the ids of a batch's episodes, for an error message."""
        ids = dict.fromkeys(
            self.mixture.samplers[source].arrays.ids[self._episodes[source][row]]
            for source, row in zip(batch.draw.source_B, batch.draw.observation_B, strict=True)
        )
        more = f" and {len(ids) - _NAMED_EPISODES} more" if len(ids) > _NAMED_EPISODES else ""
        return f", whose batch is from the episodes {', '.join(list(ids)[:_NAMED_EPISODES])}{more}"

    def _chunks(self, draw: HindsightDraw) -> NDArray[np.float32]:
        """Return the actions (B, H, 7) from each observation on."""
        chunks_BHD = np.empty((len(draw.source_B), self._head.chunk, ACTION_DIM), np.float32)
        for source, sampler in enumerate(self.mixture.samplers):
            slots = np.flatnonzero(draw.source_B == source)
            chunks_BHD[slots] = chunks_of(sampler.arrays, draw.observation_B[slots], self._head.chunk)
        return chunks_BHD


def chunks_of(arrays: StepArrays, rows_B: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """Return the `length` actions (B, H, 7) from each row on; NaN after the last action of its episode."""
    last_B = (arrays.starts_E + arrays.lengths_E)[np.searchsorted(arrays.starts_E, rows_B, side="right") - 1]
    # The row of an episode's last observation has no action: NaN.
    return np.asarray(arrays.actions_ND[np.minimum(rows_B[:, None] + np.arange(length), last_B[:, None])])
