"""Hindsight goals: what an episode reached was worth reaching, whatever the robot had been asked to do (paper §4, §B.2.2).

Time axis of one episode of T actions, and a pair drawn at t with the window (low, high):

```
row      start ……… start + t ……………… start + g ……… start + T
                   observation, action   goal        (no action)

g = min(t + offset, T),  offset uniform over low … high, both included
```

The last observation can be a goal, never an observation. Offset 0 makes the observation its own goal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.episodes.arrays import StepArrays
from soar.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightPairs:
    """B pairs of rows of a `StepArrays`.

    Attributes:
        observation_indices: (B,) rows of the observations.
        goal_indices: (B,) rows of the goals, of the same episodes, not earlier.
        actions_BD: (B, 7) float32, the actions taken at the observations.
    """

    observation_indices: NDArray[np.int64]
    goal_indices: NDArray[np.int64]
    actions_BD: NDArray[np.float32]


class HindsightSampler:
    """Draws (observation, goal, action) from episodes, uniformly over steps.

    Args:
        arrays: The episodes.
        window: Smallest and largest distance of a goal, in steps.
        kept: (N,) mask of the rows that may be observations, see `soar.episodes.relabel.drop_idle`; all by default.
        episode_weights: (E,) how often a step of each episode is drawn, relative to the others; equal by default. See
            `balanced_by_instruction`.

    Raises:
        ValueError: The window is not 0 ≤ low ≤ high, or a mask or the weights have the wrong shape or a negative number.
        StoreError: No step is left to draw.
    """

    def __init__(
        self,
        arrays: StepArrays,
        *,
        window: tuple[int, int] = (0, 24),
        kept: NDArray[np.bool_] | None = None,
        episode_weights: NDArray[np.floating] | None = None,
    ) -> None:
        low, high = window
        if not 0 <= low <= high:
            raise ValueError(f"the goal window must be 0 <= low <= high steps, got {window}")
        if kept is not None and kept.shape != (len(arrays.states_ND),):
            raise ValueError(f"kept must have one entry a row, ({len(arrays.states_ND)},), got {kept.shape}")
        if episode_weights is not None and (
            episode_weights.shape != arrays.lengths_E.shape or not (np.isfinite(episode_weights) & (episode_weights >= 0)).all()
        ):
            raise ValueError(f"episode_weights must be {len(arrays.lengths_E)} finite numbers, none negative")
        self.arrays = arrays
        self.window = window
        episode_N = arrays.episode_N
        may = arrays.has_action_N if kept is None else arrays.has_action_N & kept
        if episode_weights is not None:
            may &= episode_weights[episode_N] > 0
        self._rows = np.flatnonzero(may)
        if len(self._rows) == 0:
            raise StoreError(
                f"no step of {len(arrays.lengths_E)} episodes is left to train on; widen the filter of episodes or of steps"
            )
        self._last_rows = (arrays.starts_E + arrays.lengths_E)[episode_N[self._rows]]
        self._cumulative = (
            None if episode_weights is None else np.cumsum(episode_weights[episode_N[self._rows]].astype(np.float64))
        )

    def __len__(self) -> int:
        """The number of steps that can be drawn."""
        return len(self._rows)

    def sample(self, rng: np.random.Generator, batch_size: int) -> HindsightPairs:
        """Draw pairs, with replacement."""
        if self._cumulative is None:
            chosen = rng.integers(len(self._rows), size=batch_size)
        else:
            at = rng.random(batch_size) * self._cumulative[-1]
            chosen = np.searchsorted(self._cumulative, at, side="right").clip(max=len(self._rows) - 1)
        observations = self._rows[chosen]
        low, high = self.window
        goals = np.minimum(observations + rng.integers(low, high + 1, size=batch_size), self._last_rows[chosen])
        return HindsightPairs(
            observation_indices=observations, goal_indices=goals, actions_BD=self.arrays.actions_ND[observations]
        )


def balanced_by_instruction(arrays: StepArrays) -> NDArray[np.float64]:
    """Return episode weights (E,) with which every instruction is drawn equally often, however often it was attempted."""
    _, instruction_E = np.unique(np.array(arrays.instructions), return_inverse=True)
    steps = np.bincount(instruction_E, weights=arrays.lengths_E)
    weights: NDArray[np.float64] = 1.0 / steps[instruction_E]
    return weights
