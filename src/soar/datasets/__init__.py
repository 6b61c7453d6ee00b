"""What training draws: arrays of a store, hindsight goals, mixtures, and what is done to actions before they are learned."""

from soar.datasets.action_processing import (
    action_statistics,
    drop_empty,
    drop_idle,
    gripper_moments,
    steady_gripper,
    sum_actions,
)
from soar.datasets.arrays import StepArrays, load_arrays, train_validation_split
from soar.datasets.hindsight import HindsightPairs, HindsightSampler, balanced_by_instruction
from soar.datasets.mixture import HindsightBatch, Mixture, co_training_weights

__all__ = [
    "HindsightBatch",
    "HindsightPairs",
    "HindsightSampler",
    "Mixture",
    "StepArrays",
    "action_statistics",
    "balanced_by_instruction",
    "co_training_weights",
    "drop_empty",
    "drop_idle",
    "gripper_moments",
    "load_arrays",
    "steady_gripper",
    "sum_actions",
    "train_validation_split",
]
