"""What a robot's own hand knows of an attempt: whether it still holds something, which has then not been put anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from soar.types import Label, Observation

HOLDING = (0.08, 0.7)
"""Openings of a gripper that is stopped by what it holds; of one that moves, only one of two in a row lies between."""
_OPENING = 6


def holds_something(seen: Sequence[Observation]) -> bool:
    """Whether the gripper is neither open nor closed in the last two observations; never when there is only one."""
    low, high = HOLDING
    return len(seen) >= 2 and all(low < observation.state[_OPENING] < high for observation in seen[-2:])


def no_success(label: Label) -> Label:
    """Return a label that says that it is not done, by the same judge."""
    return dataclasses.replace(label, success=False, probability=None if label.probability is None else 0.0)
