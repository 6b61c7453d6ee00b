"""Does the measured opening follow the gripper's commands, or go against them?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.episodes.gripper import SAME

_BINARY_STEPS, _STEPS = 8, 50
"""From so many commands on, of two values or of any, the opening tells which way they go."""
_LAGS = 6


def relation(episodes: list[tuple[NDArray[np.floating], NDArray[np.floating]]]) -> float:
    """Return how the measured opening goes with the command some steps before: 1 with it, -1 against it, 0 if nothing tells."""
    commands_N = np.concatenate([commands_N for _, commands_N in episodes])
    low, high = commands_N.min(), commands_N.max()
    if high - low < SAME:
        return 0.0
    at_ends = np.minimum(commands_N - low, high - commands_N) < 0.1 * (high - low)
    if len(commands_N) < (_BINARY_STEPS if at_ends.mean() > 0.9 else _STEPS):
        return 0.0
    related = 0.0
    for lag in range(_LAGS):
        command_N = np.concatenate([commands_N[: max(0, len(states_N) - lag)] for states_N, commands_N in episodes])
        opening_N = np.concatenate([states_N[lag:][: len(commands_N)] for states_N, commands_N in episodes])
        if len(command_N) >= _BINARY_STEPS and np.ptp(command_N) > SAME and np.ptp(opening_N) > SAME:
            found = float(np.corrcoef(command_N, opening_N)[0, 1])
            related = found if abs(found) > abs(related) else related
    return related
