"""The store of episodes: its records, its counts and the statistics of its vectors."""

from soar.episodes.counts import dataset_statistics
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore, StepRows
from soar.episodes.vector_statistics import vector_statistics

__all__ = [
    "EncodedEpisode",
    "EpisodeRecord",
    "EpisodeStore",
    "StepRows",
    "dataset_statistics",
    "vector_statistics",
]
