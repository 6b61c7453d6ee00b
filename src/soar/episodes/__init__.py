"""The store of episodes: its records and its counts."""

from soar.episodes.camera_view import StepRows
from soar.episodes.counts import dataset_statistics
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore

__all__ = [
    "EncodedEpisode",
    "EpisodeRecord",
    "EpisodeStore",
    "StepRows",
    "dataset_statistics",
]
