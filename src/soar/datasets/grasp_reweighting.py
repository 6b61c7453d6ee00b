"""Where things were grasped, and how to learn from practice as if they had lain where they lie in pre-training.

Practice moves things, and nobody puts them back: after some attempts they lie where the robot tends to leave them. All that a
policy sees of a scene is then from there, and it learns the place with the look of the scene: it reaches for where things used
to lie. So episodes are weighted with the ratio of two densities of the place of the grasp, that of the pre-training data and
that of the episodes themselves, each taken as a normal distribution over the plane of the table.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.datasets.action_processing import EMPTY_OPENING, GRIPPER
from soar.datasets.arrays import StepArrays

_HELD_AFTER_STEPS = 4
"""Steps after which a gripper that closes has closed."""
_MIN_GRASPS = 10
_LARGEST_RATIO = 10.0
_MIN_STD_M = 0.005


def grasp_places(arrays: StepArrays) -> NDArray[np.float64]:
    """Return the gripper's x and y (E, 2) [m] where each episode first grasped something; NaN where it never did.

    That is the first step at which the gripper is told to close and four steps later is kept apart by something.
    """
    episode_N, rows = arrays.episode_N, np.arange(len(arrays.states_ND))
    open_N = np.nan_to_num(arrays.actions_ND[:, GRIPPER], nan=1.0) >= 0.5
    last_N = np.repeat(arrays.starts_E + arrays.lengths_E, arrays.lengths_E + 1)
    closes = np.zeros(len(rows), bool)
    closes[1:] = ~open_N[1:] & open_N[:-1] & (episode_N[1:] == episode_N[:-1])
    held = arrays.states_ND[np.minimum(rows + _HELD_AFTER_STEPS, last_N), GRIPPER] > EMPTY_OPENING
    found = np.flatnonzero(closes & held)
    episodes, first = np.unique(episode_N[found], return_index=True)
    places_E2 = np.full((len(arrays.lengths_E), 2), np.nan)
    places_E2[episodes] = arrays.states_ND[found[first], :2]
    return places_E2


def balanced_by_place(arrays: StepArrays, reference: StepArrays) -> NDArray[np.float64]:
    """Return weights of rows (N,) with which the places of the grasps are distributed as in `reference`.

    A weight is at least 1/10 and at most 10, 1 where an episode grasps nothing, and 1 everywhere if either grasps fewer than
    ten times, from which no distribution can be told.
    """
    places_E2, theirs_E2 = grasp_places(arrays), grasp_places(reference)
    has_E = np.isfinite(places_E2[:, 0])
    theirs_E2 = theirs_E2[np.isfinite(theirs_E2[:, 0])]
    weights_E = np.ones(len(places_E2))
    if min(has_E.sum(), len(theirs_E2)) >= _MIN_GRASPS:
        ratio = _log_density(places_E2[has_E], theirs_E2) - _log_density(places_E2[has_E], places_E2[has_E])
        weights_E[has_E] = np.exp(np.clip(ratio, -np.log(_LARGEST_RATIO), np.log(_LARGEST_RATIO)))
    weights_N: NDArray[np.float64] = weights_E[arrays.episode_N]
    return weights_N


def _log_density(at_K2: NDArray[np.float64], of_K2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of a normal density with the moments of `of_K2`, up to a constant that is the same for all."""
    mean, std = of_K2.mean(0), np.maximum(of_K2.std(0), _MIN_STD_M)
    value: NDArray[np.float64] = (-(((at_K2 - mean) / std) ** 2) / 2 - np.log(std)).sum(1)
    return value
