"""What comes between a commanded action and the arm's motion, so that demonstrations show how to recover."""

from __future__ import annotations

import numpy as np

from soar.types import Action


class ExecutionNoise:
    """Noise on every step, and now and then a knock that lasts some steps.

    Args:
        largest_m: Largest standard deviation of the noise on a step; the episode's own is drawn below it.
        bump_probability: Chance at each step that a knock begins.
        rng: Source of both.
    """

    def __init__(self, largest_m: float, bump_probability: float, rng: np.random.Generator) -> None:
        self._rng, self._bump_probability = rng, bump_probability
        self._sigma_m = float(rng.uniform(0, largest_m))
        self._bump, self._left = np.zeros(3), 0

    def applied_to(self, action: Action) -> Action:
        """Return what the arm does instead."""
        if self._left == 0 and self._rng.random() < self._bump_probability:
            self._bump, self._left = self._rng.normal(0, 0.010, 3), int(self._rng.integers(1, 4))
        push = self._rng.normal(0, self._sigma_m, 3) + (self._bump if self._left else 0.0)
        self._left = max(0, self._left - 1)
        return np.concatenate([action[:3] + push, action[3:]]).astype(np.float32)
