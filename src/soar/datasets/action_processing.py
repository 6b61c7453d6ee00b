"""What is changed in autonomous episodes before a policy imitates them (paper §B.2.2).

A policy with a Gaussian head averages the modes of its data, so it moves more slowly than the demonstrations that it learned
from. Imitating its own episodes would teach that slowness again; two of the functions here counteract it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from soar.datasets.arrays import StepArrays
from soar.normalization import ActionStatistics

MOTION = slice(0, 6)
"""The dimensions of an action that move the gripper; the seventh is its target opening."""
GRIPPER = 6
_OPENING_TOLERANCE = 0.05
"""A smaller change of the opening (0..1) is noise of the measurement."""
EMPTY_OPENING = 0.05
"""A closed gripper that is open less far (0..1) holds nothing."""
_MIN_STD = 1e-4
"""Below 0.1 mm or 0.1 mrad a dimension is constant, and dividing by its deviation would only amplify noise."""


def sum_actions(arrays: StepArrays) -> StepArrays:
    """Replace each motion by the sum of two consecutive ones, a'_t = a_t + a_{t+1} (paper §B.2.2).

    The last action of an episode has no successor and stays. The gripper's target stays that of a_t: it was chosen in view of
    observation t, and closing one step early, still on the way, would miss the object.
    """
    actions_ND = arrays.actions_ND.copy()
    # The next row of an episode's last action is the row without action: it has nothing to add.
    following = np.nan_to_num(arrays.actions_ND[1:, MOTION])
    if arrays.reflex_N is not None:
        following[arrays.reflex_N[1:]] = 0.0
    actions_ND[:-1, MOTION] += following
    return replace(arrays, actions_ND=actions_ND)


def drop_idle(arrays: StepArrays, window_steps: int = 3, distance_m: float = 0.012) -> NDArray[np.bool_]:
    """Return which rows (N,) are worth imitating: they have an action and are not idle.

    A step is idle when, over the window that begins with it, the gripper moved less than `distance_m` (between the ends),
    and neither its opening nor its commanded target changed. At the end of an episode the last full window decides.
    """
    rows = np.arange(len(arrays.states_ND))
    first = np.repeat(arrays.starts_E, arrays.lengths_E + 1)
    last = np.repeat(arrays.starts_E + arrays.lengths_E, arrays.lengths_E + 1)
    begin = np.maximum(np.minimum(rows, last - window_steps), first)
    end = np.minimum(begin + window_steps, last)

    moved = np.linalg.norm(arrays.states_ND[end, :3] - arrays.states_ND[begin, :3], axis=1) >= distance_m
    opening = arrays.states_ND[:, GRIPPER]
    closing = arrays.actions_ND[:, GRIPPER] < 0.5
    changed = np.zeros(len(rows), bool)
    for ahead in range(1, window_steps + 1):
        now = np.minimum(begin + ahead, end)
        changed |= np.abs(opening[now] - opening[begin]) > _OPENING_TOLERANCE
        # The command that precedes the window counts too: the first step after a change is the one that carries it out.
        command = np.minimum(now - 1, last - 1)
        changed |= closing[command] != closing[np.maximum(begin - 1, first)]
    kept: NDArray[np.bool_] = (moved | changed) & arrays.has_action_N
    return kept


def drop_empty(arrays: StepArrays, ahead_steps: int = 8) -> NDArray[np.bool_]:
    """Return which rows (N,) have an action and do not lead to a gripper that is closed around nothing.

    Such a row is one at which the gripper is to be closed and measures less than `EMPTY_OPENING`, or one up to `ahead_steps`
    before it. An attempt that missed once and succeeded later is a success with a miss in it, which is not worth imitating.
    """
    empty = (arrays.actions_ND[:, GRIPPER] < 0.5) & (arrays.states_ND[:, GRIPPER] < EMPTY_OPENING)
    episode_N, leads = arrays.episode_N, empty.copy()
    for ahead in range(1, ahead_steps + 1):
        leads[:-ahead] |= empty[ahead:] & (episode_N[ahead:] == episode_N[:-ahead])
    return arrays.has_action_N & ~leads


def gripper_moments(arrays: StepArrays, before: int = 1, after: int = 2) -> NDArray[np.bool_]:
    """Return which rows (N,) lie around a step at which the gripper's target changes, `before` steps early to `after` late.

    They decide whether a thing is grasped and let go, and are few: a policy that is unsure when to let go holds on for ever.
    """
    open_N = np.nan_to_num(arrays.actions_ND[:, GRIPPER]) >= 0.5
    changes = np.flatnonzero(open_N[1:] != open_N[:-1]) + 1
    episode_N, near = arrays.episode_N, np.zeros(len(open_N), bool)
    # A first action changes nothing, and the row without an action has no target.
    changes = changes[(episode_N[changes] == episode_N[changes - 1]) & arrays.has_action_N[changes]]
    for offset in range(-before, after + 1):
        rows = np.clip(changes + offset, 0, len(near) - 1)
        near[rows[episode_N[rows] == episode_N[changes]]] = True
    return near & arrays.has_action_N


def steady_gripper(arrays: StepArrays, steps: int = 3) -> StepArrays:
    """Undo the changes of the gripper's target that last less than `steps` steps.

    A policy that is unsure asks for a closed and for an open gripper by turns. What its episode owes its success to is the
    change that lasted. One that the end of an episode cut short stays.
    """
    actions_ND = arrays.actions_ND.copy()
    for start, length in zip(arrays.starts_E.tolist(), arrays.lengths_E.tolist(), strict=True):
        target_T = actions_ND[start : start + length, GRIPPER]
        ends = [*(np.flatnonzero(np.diff(target_T >= 0.5)) + 1).tolist(), length]
        # Whatever the first lasting target comes after was not meant, either.
        begin, lasting = 0, None
        for end in ends:
            if end - begin >= steps or end == length:
                if lasting is None:
                    target_T[:begin] = target_T[begin]
                lasting = target_T[begin]
            elif lasting is not None:
                target_T[begin:end] = lasting
            begin = end
    return replace(arrays, actions_ND=actions_ND)


def action_statistics(arrays: StepArrays) -> ActionStatistics:
    """Return the mean and deviation of the six motion dimensions over all actions."""
    motion = arrays.actions_ND[arrays.has_action_N, MOTION].astype(np.float64)
    return ActionStatistics(
        mean=np.append(motion.mean(0), 0.0).astype(np.float32),
        std=np.append(np.maximum(motion.std(0), _MIN_STD), 1.0).astype(np.float32),
    )
