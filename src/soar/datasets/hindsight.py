"""Hindsight goals: what an episode reached was worth reaching, whatever the robot had been asked to do (paper §4, §B.2.2).

Time axis of one episode of T actions, and a pair drawn at t with the window (low, high):

```
row      start ……… start + t ……………… start + g ……… start + T
                   observation, action   goal        (no action)
```

The last observation can be a goal, never an observation. With L = T - t, what is left of the episode, the distance g - t is

| goals | distance |
|---|---|
| `uniform` | uniform over low … high; what would pass the end is the end, so that ends are goals more often. The paper's. |
| `delta` | uniform over low … min(high, L): no end is preferred. With a high beyond all episodes, uniform over the future |
| `geometric` | low + k with probability ∝ discount^k over low … min(high, L): near goals most |
| `last-state-upweighted` | uniform over 1 … T, whatever the window; what would pass the end is the end |

In an episode that ends within low steps the goal is its end. Distance 0 makes the observation its own goal.

Reflexes. What a reflex did was not the policy's doing: its steps are no observations, and the frame at which the next one
begins counts as the end of the episode.

Imagined goals. A deployed policy never sees such frames as goals: it sees what the subgoal model imagines, which is blurred,
and wrong in ways of its own. So a share of the goals may be the subgoal that the robot was pursuing at t, as it was imagined.
In an episode that succeeded, the action was a good answer to it. The goal's row is then where the pursuit ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from soar.datasets.arrays import StepArrays
from soar.errors import NothingToLearnError

Goals = Literal["uniform", "geometric", "last-state-upweighted", "delta"]
DISCOUNT = 0.95
"""Of `geometric`: goals are 19 steps ahead in the mean, where the window and the episode allow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HindsightPairs:
    """B pairs of rows of a `StepArrays`.

    Attributes:
        observation_indices: (B,) rows of the observations.
        goal_indices: (B,) rows of the goals, of the same episodes, not earlier.
        actions_BD: (B, 7) float32, the actions taken at the observations.
        subgoals_B: (B,) index of the subgoal whose image is the goal, -1 where it is the frame of the goal's row.
    """

    observation_indices: NDArray[np.int64]
    goal_indices: NDArray[np.int64]
    actions_BD: NDArray[np.float32]
    subgoals_B: NDArray[np.int64]


class HindsightSampler:
    """Draws (observation, goal, action) from episodes, uniformly over steps.

    Args:
        arrays: The episodes.
        window: Smallest and largest distance of a goal, in steps.
        goals: How the distance is distributed, see the module.
        discount: Of `geometric`, between 0 and 1.
        imagined: Share of imagined goals; where no subgoal was pursued, goals are hindsight all the same.
        kept: (N,) mask of the rows that may be observations, see `soar.datasets.action_processing.drop_idle`; all by default.
        weights: (N,) how often each row is the observation, relative to the others; equal by default. See
            `balanced_by_instruction` and `soar.datasets.action_processing.gripper_moments`.

    Raises:
        ValueError: The window is not 0 ≤ low ≤ high, there are no such goals, the discount or the share is not in 0..1,
            a mask or the weights have the wrong shape or a negative number, or goals are to be imagined and the arrays were
            loaded without subgoals.
        NothingToLearnError: No step is left to draw.
    """

    def __init__(
        self,
        arrays: StepArrays,
        *,
        window: tuple[int, int] = (0, 24),
        goals: Goals = "uniform",
        discount: float = DISCOUNT,
        imagined: float = 0.0,
        kept: NDArray[np.bool_] | None = None,
        weights: NDArray[np.floating] | None = None,
    ) -> None:
        low, high = window
        if not 0 <= low <= high:
            raise ValueError(f"the goal window must be 0 <= low <= high steps, got {window}")
        check_goals(goals, discount)
        if not 0 <= imagined <= 1 or (imagined and arrays.pursued_N is None):
            raise ValueError(f"the share of imagined goals must be in 0..1, and 0 for arrays without subgoals; got {imagined}")
        if kept is not None and kept.shape != (len(arrays.states_ND),):
            raise ValueError(f"kept must have one entry a row, ({len(arrays.states_ND)},), got {kept.shape}")
        if weights is not None and (
            weights.shape != (len(arrays.states_ND),) or not (np.isfinite(weights) & (weights >= 0)).all()
        ):
            raise ValueError(f"weights must be {len(arrays.states_ND)} finite numbers, none negative")
        self.arrays = arrays
        self.window = window
        self._goals, self._discount, self._imagined = goals, discount, imagined
        episode_N = arrays.episode_N
        may = arrays.has_action_N if kept is None else arrays.has_action_N & kept
        if weights is not None:
            may &= weights > 0
        if imagined and arrays.pursued_N is not None:
            # A pursuit ends where the next one begins, or at the last row, at which nothing is pursued.
            self._ends = np.flatnonzero(arrays.pursued_N[1:] != arrays.pursued_N[:-1]) + 1
        self._rows = np.flatnonzero(may)
        if len(self._rows) == 0:
            raise NothingToLearnError(
                f"no step of {len(arrays.lengths_E)} episodes is left to train on; widen the filter of episodes or of steps"
            )
        self._lengths = arrays.lengths_E[episode_N[self._rows]]
        self._last_rows = arrays.reached_N[self._rows]
        self._cumulative = None if weights is None else np.cumsum(weights[self._rows].astype(np.float64))

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
        left = self._last_rows[chosen] - observations
        goals = observations + np.minimum(self._distances(rng, left, self._lengths[chosen]), left)
        subgoals_B = np.full(batch_size, -1, np.int64)
        pursued_N = self.arrays.pursued_N
        if self._imagined and pursued_N is not None:
            imagined = (rng.random(batch_size) < self._imagined) & (pursued_N[observations] >= 0)
            subgoals_B[imagined] = pursued_N[observations[imagined]]
            goals[imagined] = self._ends[np.searchsorted(self._ends, observations[imagined], side="right")]
        return HindsightPairs(
            observation_indices=observations,
            goal_indices=goals,
            actions_BD=self.arrays.actions_ND[observations],
            subgoals_B=subgoals_B,
        )

    def _distances(
        self, rng: np.random.Generator, left_B: NDArray[np.int64], lengths_B: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Draw how far ahead the goals are; what passes the end of the episode means the end."""
        low, high = self.window
        if self._goals == "uniform":
            return np.asarray(rng.integers(low, high + 1, size=len(left_B)))
        if self._goals == "last-state-upweighted":
            return np.asarray(rng.integers(1, lengths_B + 1))
        # How many distances there are to choose from; one where the episode ends within `low` steps.
        count_B = np.maximum(np.minimum(high, left_B) - low, 0) + 1
        if self._goals == "delta":
            return np.asarray(low + rng.integers(0, count_B))
        # The inverse of the distribution function of a geometric distribution that ends after count_B values.
        share_B = rng.random(len(left_B)) * (1 - self._discount**count_B)
        distances_B = np.minimum(np.log1p(-share_B) / np.log(self._discount), count_B - 1).astype(np.int64)
        return np.asarray(low + distances_B)


def check_goals(goals: str, discount: float) -> None:
    """Refuse what is no way to choose goals.

    Raises:
        ValueError: There are no such goals, or the discount is not between 0 and 1.
    """
    if goals not in get_args(Goals):
        raise ValueError(f"goals must be one of {', '.join(get_args(Goals))}, got {goals!r}")
    if not 0 < discount < 1:
        raise ValueError(f"the discount of geometric goals must lie between 0 and 1, got {discount}")


def balanced_by_instruction(arrays: StepArrays) -> NDArray[np.float64]:
    """Return weights of rows (N,) with which every instruction is drawn equally often, however often it was attempted."""
    _, instruction_E = np.unique(np.array(arrays.instructions), return_inverse=True)
    steps = np.bincount(instruction_E, weights=arrays.lengths_E)
    weights: NDArray[np.float64] = (1.0 / steps)[instruction_E][arrays.episode_N]
    return weights
