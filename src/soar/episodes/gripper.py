"""Are the gripper's commands what they should be: from 0, closed, to 1, open, and both?

A policy learns whether to open or to close. Commands of -1 and 1, metres or percent would all be one and the same to it, and it
would only ever close, or only ever open, without a word.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from soar.episodes.store import EpisodeStore
from soar.episodes.vector_statistics import vector_statistics
from soar.errors import StoreError
from soar.types import ACTION_DIM

TOLERANCE = 0.05
"""How far a command may lie outside 0..1."""
FULL = 0.9
"""From it on a command is wide open; commands that change and never get there may be in another unit."""
SAME = 1e-3
"""Commands that differ by less are one command."""
_GRIPPER = ACTION_DIM - 1
_log = logging.getLogger(__name__)


def outside(low: float, high: float) -> bool:
    """Whether commands between `low` and `high` are none of 0..1."""
    return low < -TOLERANCE or high > 1 + TOLERANCE


def doubt(low: float, high: float) -> str:
    """Return what is odd about commands between `low` and `high`, which are in 0..1; an empty text where nothing is."""
    if high - low < SAME:
        return f"the gripper's commands are all {low:.4g}: it never moves"
    if high < 0.5:
        return f"the gripper's commands lie between {low:.4g} and {high:.4g}: all mean closed (0.5 and more is open)"
    if high < FULL:
        return f"the gripper's commands lie between {low:.4g} and {high:.4g}: none is wide open ({FULL:g} and more)"
    if low >= 0.5:
        return f"the gripper's commands lie between {low:.4g} and {high:.4g}: all mean open (less than 0.5 is closed)"
    return ""


def examine_gripper(store: EpisodeStore) -> tuple[str, bool]:
    """Return what is odd about the commands in a store, and whether they are outside 0..1; no image is read.

    Raises:
        StoreError: The store cannot be read.
    """
    found = vector_statistics(store)["action"]
    if not found["count"]:
        return "", False
    low, high = found["min"][_GRIPPER], found["max"][_GRIPPER]
    return (_outside(low, high), True) if outside(low, high) else (doubt(low, high), False)


def check_commands(actions_ND: NDArray[np.floating], place: str) -> None:
    """Refuse to train on commands that are outside 0..1, and warn of those that never open, or never close.

    Args:
        actions_ND: (N, 7), see `soar.types.Action`; NaN where there is none.
        place: Where they are from, for messages.

    Raises:
        StoreError: The commands are outside 0..1.
    """
    commands_N = actions_ND[~np.isnan(actions_ND[:, _GRIPPER]), _GRIPPER]
    if not commands_N.size:
        return
    low, high = float(np.min(commands_N)), float(np.max(commands_N))
    if outside(low, high):
        raise StoreError(f"{place}: {_outside(low, high)}")
    if odd := doubt(low, high):
        _log.warning("%s: %s; a policy that learns from them does the same", place, odd)


def _outside(low: float, high: float) -> str:
    return (
        f"the gripper's commands lie between {low:.4g} and {high:.4g}, and must lie between 0 (closed) and 1 (open). Import "
        f"the data again into a new store: with --gripper-range {low:.4g}:{high:.4g} if {high:.4g} is open, or "
        f"{high:.4g}:{low:.4g} if it is closed"
    )
