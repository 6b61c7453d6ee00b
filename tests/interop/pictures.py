"""What the datasets of `tests/fixtures/lerobot` and `tests/fixtures/rlds` hold. Any Python with numpy imports this."""

from __future__ import annotations

import numpy as np

LENGTHS = (5, 4, 6, 5, 4)
"""Steps of each episode."""
SIZE = 64


def numbers(episode: int, step: int, what: int) -> np.ndarray:
    """The state (0) or the action (1) of a step."""
    return (np.arange(7, dtype=np.float32) + 10 * step + 100 * episode) / np.float32(1000 * (1 + what))


def picture(episode: int, step: int) -> np.ndarray:
    """A smooth picture that is brighter at each step."""
    ramp = np.linspace(0, 80, SIZE)[:, None, None] + np.zeros((1, SIZE, 3))
    return (ramp + 15 * step + np.array([5, 10, 15]) * episode).astype(np.uint8)
