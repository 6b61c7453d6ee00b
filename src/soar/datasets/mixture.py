"""Co-training: batches drawn from several sources by weight (paper §B.2.2).

Shape suffixes: B batch, H height, W width, C channels, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.datasets.buffers import Buffers
from soar.datasets.hindsight import HindsightSampler
from soar.datasets.image_cache import read_into
from soar.episodes import jpeg as frames
from soar.errors import StoreError
from soar.images import ImageFitter, resized
from soar.types import ACTION_DIM, STATE_DIM


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightBatch:
    """What one training step sees.

    Attributes:
        observation_BHWC: uint8 RGB.
        goal_BHWC: uint8 RGB.
        actions_BD: (B, 7) float32 in physical units.
        observation_states_BD: (B, 7) float32.
        goal_states_BD: (B, 7) float32.
        source_B: Index into `Mixture.names` of where each sample is from.
        rows_B: Rows of the observations in the arrays of their sources.
    """

    observation_BHWC: NDArray[np.uint8]
    goal_BHWC: NDArray[np.uint8]
    actions_BD: NDArray[np.float32]
    observation_states_BD: NDArray[np.float32]
    goal_states_BD: NDArray[np.float32]
    source_B: NDArray[np.int64]
    rows_B: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightDraw:
    """Which samples make up a batch, without their images.

    Attributes:
        source_B: Index into `Mixture.names`.
        observation_B: Rows of the observations in the arrays of their sources.
        goal_B: Rows of the goals.
        subgoal_B: Of their sources, the subgoals that are the goals instead; -1 for none. See `soar.datasets.hindsight`.
    """

    source_B: NDArray[np.int64]
    observation_B: NDArray[np.int64]
    goal_B: NDArray[np.int64]
    subgoal_B: NDArray[np.int64]

    def __getitem__(self, part: slice | NDArray[np.int64]) -> HindsightDraw:
        """Return some of the samples."""
        return HindsightDraw(
            source_B=self.source_B[part],
            observation_B=self.observation_B[part],
            goal_B=self.goal_B[part],
            subgoal_B=self.subgoal_B[part],
        )


class Mixture:
    """Samplers with weights; each sample of a batch comes from one of them, drawn by weight.

    Args:
        sources: (name, sampler, weight); weights are normalised to a sum of one.

    Raises:
        ValueError: There are no sources, or the weights are negative or all zero.
        StoreError: The sources have images of different sizes.
    """

    def __init__(self, sources: Sequence[tuple[str, HindsightSampler, float]], fitter: ImageFitter | None = None) -> None:
        self._fitter = fitter
        weights = np.array([weight for _, _, weight in sources], np.float64)
        if len(weights) == 0 or not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() == 0:
            raise ValueError(
                f"a mixture needs sources with weights that are not negative and not all zero, got {weights.tolist()}"
            )
        self.names = tuple(name for name, _, _ in sources)
        self.samplers = tuple(sampler for _, sampler, _ in sources)
        self.weights = weights / weights.sum()
        sizes = {sampler.arrays.images_NHWC.shape[1:] for sampler in self.samplers}
        if len(sizes) > 1:
            raise StoreError(
                f"sources {', '.join(self.names)} have images of different sizes, {sorted(sizes)}; load each "
                "with fitter=network.fitter, which brings them to one"
            )
        (self._image_HWC,) = sizes
        self._buffers = Buffers()

    def sample(self, rng: np.random.Generator, batch_size: int) -> HindsightBatch:
        """Draw a batch, with its images."""
        return self.gather(self.draw(rng, batch_size))

    def draw(self, rng: np.random.Generator, batch_size: int) -> HindsightDraw:
        """Draw which samples make up a batch."""
        source_B = rng.choice(len(self.samplers), size=batch_size, p=self.weights)
        observation_B, goal_B, subgoal_B = np.empty((3, batch_size), np.int64)
        for index, sampler in enumerate(self.samplers):
            slots = np.flatnonzero(source_B == index)
            pairs = sampler.sample(rng, len(slots))
            observation_B[slots], goal_B[slots] = pairs.observation_indices, pairs.goal_indices
            subgoal_B[slots] = pairs.subgoals_B
        return HindsightDraw(source_B=source_B, observation_B=observation_B, goal_B=goal_B, subgoal_B=subgoal_B)

    def gather(self, draw: HindsightDraw) -> HindsightBatch:
        """Return the samples that were drawn, with their images."""
        batch_size = len(draw.source_B)
        batch = HindsightBatch(
            observation_BHWC=self._buffers.empty((batch_size, *self._image_HWC)),
            goal_BHWC=self._buffers.empty((batch_size, *self._image_HWC)),
            actions_BD=np.empty((batch_size, ACTION_DIM), np.float32),
            observation_states_BD=np.empty((batch_size, STATE_DIM), np.float32),
            goal_states_BD=np.empty((batch_size, STATE_DIM), np.float32),
            source_B=draw.source_B,
            rows_B=draw.observation_B,
        )
        for index, sampler in enumerate(self.samplers):
            slots = np.flatnonzero(draw.source_B == index)
            observations, goals, arrays = draw.observation_B[slots], draw.goal_B[slots], sampler.arrays
            targets = [*(batch.observation_BHWC[slot] for slot in slots), *(batch.goal_BHWC[slot] for slot in slots)]
            read_into(arrays.images_NHWC, np.concatenate([observations, goals]), targets)
            for slot in slots[draw.subgoal_B[slots] >= 0]:
                imagined_HWC = frames.decode(arrays.subgoals[draw.subgoal_B[slot]])
                fitted = self._fitter(imagined_HWC) if self._fitter else resized(imagined_HWC, self._image_HWC[1::-1])
                batch.goal_BHWC[slot] = fitted
            batch.actions_BD[slots] = arrays.actions_ND[observations]
            batch.observation_states_BD[slots] = arrays.states_ND[observations]
            batch.goal_states_BD[slots] = arrays.states_ND[goals]
        return batch


def co_training_weights(
    pretraining_steps: int, autonomous_steps: int, upsampling: float = 10.0, cap: float = 0.5
) -> tuple[float, float]:
    """Return the weights of pre-training and of autonomous data (paper §B.2.2).

    Autonomous data is up-sampled with respect to its proportion to the pre-training data: 3 % as many steps are drawn 30 % of
    the time. `cap` bounds its share, so that much autonomous data does not displace what the policy was pre-trained on.

    Raises:
        ValueError: A number of steps is negative or both are zero, or the cap is not in 0..1.
    """
    if pretraining_steps < 0 or autonomous_steps < 0 or pretraining_steps + autonomous_steps == 0 or not 0 <= cap <= 1:
        raise ValueError(f"no weights for {pretraining_steps} and {autonomous_steps} steps with cap {cap}")
    if pretraining_steps == 0:
        return 0.0, 1.0
    autonomous = min(cap, upsampling * autonomous_steps / pretraining_steps)
    return 1.0 - autonomous, autonomous
