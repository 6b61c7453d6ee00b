"""The dataset: a store of episodes, hindsight sampling, co-training mixtures, relabelling and statistics."""

from soar.episodes.arrays import StepArrays, load_arrays, train_validation_split
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.hindsight import HindsightPairs, HindsightSampler, balanced_by_instruction
from soar.episodes.mixture import HindsightBatch, Mixture, co_training_weights
from soar.episodes.numbers import vector_statistics
from soar.episodes.relabel import (
    ActionStatistics,
    action_statistics,
    drop_empty,
    drop_idle,
    gripper_moments,
    steady_gripper,
    sum_actions,
)
from soar.episodes.schema import EpisodeRecord
from soar.episodes.statistics import dataset_statistics
from soar.episodes.store import EpisodeStore, StepRows

__all__ = [
    "ActionStatistics",
    "EncodedEpisode",
    "EpisodeRecord",
    "EpisodeStore",
    "HindsightBatch",
    "HindsightPairs",
    "HindsightSampler",
    "Mixture",
    "StepArrays",
    "StepRows",
    "action_statistics",
    "balanced_by_instruction",
    "co_training_weights",
    "dataset_statistics",
    "drop_empty",
    "drop_idle",
    "gripper_moments",
    "load_arrays",
    "steady_gripper",
    "sum_actions",
    "train_validation_split",
    "vector_statistics",
]
