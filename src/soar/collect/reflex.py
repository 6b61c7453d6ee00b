"""The retry reflex: a robot that stands still in the middle of an attempt opens its hand, backs off and is asked anew.

A policy that missed, or that holds the thing over the plate and does not let go, tends to stand still until the attempt is
over, whatever the subgoals show (docs/learning-notes.md, entry 20). From where it stands it has no better idea; from where it
came from it has.

    policy … still for `still_steps` ─► open ─► straight up ─► towards where the attempt began ─► next subgoal, policy …
                                        └──────── at most `steps` actions, all marked ────────┘

It asks for nothing but `observe` and `act`, so any robot can have it; the safety shell keeps it inside the workspace box. Its
actions are marked in the episode (`Episode.reflex_steps`), and nobody imitates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.types import ACTION_DIM, Action, Observation

OPEN_STEPS = 2
"""Actions that only open the hand: what it held must fall before it moves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflexConfig:
    """When the reflex comes, and how far it goes.

    Attributes:
        times: At most so often an episode; 0 for never.
        still_m: The gripper stands still when it was nowhere further than this from where it is [m]…
        still_steps: …in so many steps.
        steps: Longest way back, in actions.
        step_m: Length of one action on the way back [m].
        near_m: So close to where the attempt began the way back ends [m].
    """

    times: int = 0
    still_m: float = 0.01
    still_steps: int = 10
    steps: int = 14
    step_m: float = 0.02
    near_m: float = 0.02

    def __post_init__(self) -> None:
        if self.times < 0 or self.still_steps < 1 or self.steps < 1:
            raise ConfigError(f"reflex: times must be at least 0, still_steps and steps at least 1; got {self}")
        if min(self.still_m, self.step_m, self.near_m) <= 0:
            raise ConfigError(f"reflex: still_m, step_m and near_m must be positive, got {self}")


def stands_still(observations: Sequence[Observation], config: ReflexConfig) -> bool:
    """Whether the gripper has hardly moved in the last steps; never before there were that many."""
    recent = observations[-config.still_steps - 1 :]
    if len(recent) <= config.still_steps:
        return False
    positions = np.stack([observation.state[:3] for observation in recent]).astype(np.float64)
    return bool((np.linalg.norm(positions - positions[-1], axis=1) < config.still_m).all())


class WayBack:
    """The actions of one reflex, from where the gripper is towards a position.

    It opens first, then goes straight up, and then the rest of the way: what it has just let go lies beneath it.

    Args:
        target: (3,) position [m].
        config: How far, and how fast.
    """

    def __init__(self, target: NDArray[np.floating], config: ReflexConfig) -> None:
        self._target, self._config = np.asarray(target, np.float64), config
        self._steps = 0

    def act(self, now: Observation) -> Action | None:
        """Return the next action; None when the way is over."""
        config = self._config
        left = self._target - now.state[:3]
        near = np.linalg.norm(left) <= config.near_m
        if self._steps >= config.steps or (near and self._steps >= OPEN_STEPS):
            return None
        action = np.zeros(ACTION_DIM, np.float32)
        action[-1] = 1.0
        if self._steps >= OPEN_STEPS:
            if left[2] > config.near_m:
                left[:2] = 0.0
            action[:3] = left * min(1.0, config.step_m / float(np.linalg.norm(left)))
        self._steps += 1
        return action
