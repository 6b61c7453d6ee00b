"""Statistics by which actions are normalised before a network sees them, and restored after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStatistics:
    """Mean and standard deviation of actions, (7,) float32; 0 and 1 for the gripper, which is not normalised."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
