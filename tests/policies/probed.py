"""Policies as users write them, good ones and bad ones: `tests.policies.probed:NAME`."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from soar.testing import FakePolicy


class Own(FakePolicy):
    """Goes to where the picture is brighter, and down when it is told to close something."""

    id = "own"
    conditioning: Literal["goal", "language"] = "language"

    def act(self, observations: Any, goals: Any) -> Any:
        bright = [observation.image_HWC.mean() / 25500 for observation in observations]
        down = [-0.01 if "close" in goal else 0.0 for goal in goals]
        return np.array([[x, 0, z, 0, 0, 0, 1] for x, z in zip(bright, down, strict=True)], np.float32)


class Deaf(FakePolicy):
    id = "deaf"
    conditioning: Literal["goal", "language"] = "language"


class Fast(FakePolicy):
    def __init__(self) -> None:
        super().__init__((0.5, 0, 0, 0, 0, 0, 3.0))


class Moody(FakePolicy):
    id = "moody"

    def __init__(self) -> None:
        super().__init__()
        self._draws = np.random.default_rng(0)

    def act(self, observations: Any, goals: Any) -> Any:
        return self._action + self._draws.normal(0, 0.001, (1, 7)).astype(np.float32) * [1, 1, 1, 1, 1, 1, 0]


class NotANumber(FakePolicy):
    def act(self, observations: Any, goals: Any) -> Any:
        return np.full((1, 7), np.nan, np.float32)


class SixNumbers(FakePolicy):
    def act(self, observations: Any, goals: Any) -> Any:
        return np.zeros((1, 6), np.float32)


class Raising(FakePolicy):
    def act(self, observations: Any, goals: Any) -> Any:
        raise KeyError("wrist")
