"""How far sampled subgoals are from the true ones, on the pixels that change."""

from __future__ import annotations

from torch import Tensor

CHANGED = 0.1
"""A pixel has changed when one of its channels moved by more than this (of 2, the range of the values)."""


def changed_pixels(observation_BCHW: Tensor, goal_BCHW: Tensor) -> Tensor:
    """Return a mask (B, 1, H, W), 1 where a pixel has changed, of images in [-1, 1]."""
    return ((goal_BCHW - observation_BCHW).abs().amax(1, keepdim=True) > CHANGED).float()


def held_out_error(sampled_BCHW: Tensor, observation_BCHW: Tensor, goal_BCHW: Tensor) -> dict[str, float]:
    """Return `changed_error` and `unchanged_error` of sampled goals, see `train_subgoal_model`; images in [-1, 1]."""
    changed = changed_pixels(observation_BCHW, goal_BCHW)
    error, copied = (sampled_BCHW - goal_BCHW).abs(), (observation_BCHW - goal_BCHW).abs()
    return {
        "changed_error": float((changed * error).sum() / (changed * copied).sum().clamp(min=1e-6)),
        "unchanged_error": 127.5 * float(((1 - changed) * error).sum() / (3 * (1 - changed).sum()).clamp(min=1)),
    }
