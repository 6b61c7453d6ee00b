"""Rewards and returns of episodes, from the verdict on each (RoboFuME as the paper used it, §F).

Of an episode of T actions that was judged a success, with `success_steps` 3:

    action    0 … T - 4      T - 3  T - 2  T - 1
    reward    -1             success_reward, 0          these end the episode: nothing is bootstrapped from behind them
    return    -(1 - g^d) / (1 - g) + g^d success_reward, d steps before the first of them

A failure has -1 throughout and does not end: the attempt was over, the task was not. Its return is that of a robot that goes on
failing for ever, -1 / (1 - g), which is why the discount must be below 1.

Shape suffixes: N rows, E episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.datasets.arrays import StepArrays
from soar.episodes.schema import EpisodeRecord, is_verdict
from soar.errors import ConfigError, StoreError
from soar.training.cotraining import Judge

_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """What an attempt is worth.

    Attributes:
        discount: Of the return, a step.
        step_reward: Of every step but those of success; not positive.
        success_reward: Of the last steps of a success.
        success_steps: How many of its last steps a success has.
    """

    discount: float = 0.98
    step_reward: float = -1.0
    success_reward: float = 0.0
    success_steps: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.discount < 1:
            raise ConfigError(
                f"rewards.discount must lie between 0 and 1, both excluded, got {self.discount}: a failure never ends, and its "
                "return, step_reward / (1 - discount), would not be finite. The published recipes have .98."
            )
        if self.step_reward > 0:
            raise ConfigError(
                f"rewards.step_reward must not be positive, got {self.step_reward}: failing for ever would be worth "
                f"{self.failure_return:.4g}. The published recipes have -1."
            )
        if self.step_reward >= self.success_reward:
            raise ConfigError(
                f"rewards.step_reward ({self.step_reward}) must be below rewards.success_reward ({self.success_reward})"
            )
        if self.success_steps < 1:
            raise ConfigError(f"rewards.success_steps must be at least 1, got {self.success_steps}")

    @property
    def failure_return(self) -> float:
        """The return of any step of a failure, and the least that any has."""
        return self.step_reward / (1 - self.discount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """Of N rows; those without an action have zeros.

    Attributes:
        reward_N: Of the action at each row.
        terminal_N: Whether nothing comes after it.
        return_N: Discounted sum of the rewards from the row on.
    """

    reward_N: NDArray[np.float32]
    terminal_N: NDArray[np.bool_]
    return_N: NDArray[np.float32]


def rewards_of(arrays: StepArrays, success_E: NDArray[np.bool_], config: RewardConfig) -> Rewards:
    """Return the rewards of episodes by whether each succeeded."""
    count = len(arrays.states_ND)
    reward_N, return_N, terminal_N = np.zeros(count, np.float32), np.zeros(count, np.float32), np.zeros(count, bool)
    for start, length, success in zip(arrays.starts_E.tolist(), arrays.lengths_E.tolist(), success_E.tolist(), strict=True):
        rows = slice(start, start + length)
        if not success:
            reward_N[rows], return_N[rows] = config.step_reward, config.failure_return
            continue
        left_T = np.maximum(length - config.success_steps - np.arange(length), 0)
        decay_T = config.discount**left_T
        reward_N[rows] = np.where(left_T > 0, config.step_reward, config.success_reward)
        return_N[rows] = config.failure_return * (1 - decay_T) + decay_T * config.success_reward
        terminal_N[rows] = left_T == 0
    return Rewards(reward_N=reward_N, terminal_N=terminal_N, return_N=return_N)


def verdicts(records: Sequence[EpisodeRecord], label: Judge, where: str) -> NDArray[np.bool_]:
    """Return which episodes count as successes; what a judge could not decide is none.

    Args:
        records: The episodes.
        label: Whose judgement counts.
        where: What they are from, for the message.

    Raises:
        StoreError: Nobody has judged some of them, so that they have no rewards.
    """
    if label == "simulator":
        unjudged = [record.id for record in records if record.simulator_success is None]
    else:
        unjudged = [record.id for record in records if not any(map(is_verdict, record.labels))]
    if unjudged:
        named = ", ".join(unjudged[:_NAMED]) + (" …" if len(unjudged) > _NAMED else "")
        raise StoreError(
            f"{where}: {len(unjudged)} of {len(records)} episodes have no verdict of the {label} ({named}), and rewards are "
            "made of verdicts. Let a model judge them (`soar data rejudge`), or leave them out with a filter."
        )
    truth = [record.simulator_success if label == "simulator" else record.success for record in records]
    return np.array([value is True for value in truth], bool)
