"""Scores (`soar.episodes.scores`) as columns that learners of other people read.

    LeRobot   meta/episodes         soar/weight, soar/advantage
              soar/weights.parquet  index, episode_index, frame_index, weight, progress_sparse, advantage; a row a frame
    RLDS      episode_metadata      weight, advantage
              steps                 progress, advantage

`soar/weights.parquet` is what LeRobot's `sample_weighting` reads, of type `static` (`weights_path`) and `rabc`
(`progress_path`). Progress is NaN in an episode without a curve, which the latter takes for unknown. In RLDS steps have these
features only where an episode has a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.episodes.schema import EpisodeRecord
from soar.episodes.scores import Score
from soar.formats.lerobot import EPISODES_PATH

WEIGHTS = Path("soar") / "weights.parquet"
_WEIGHTS = pa.schema(
    [
        ("index", pa.int64()),
        ("episode_index", pa.int64()),
        ("frame_index", pa.int64()),
        ("weight", pa.float32()),
        ("progress_sparse", pa.float32()),
        ("advantage", pa.float32()),
    ]
)


def any_curve(scores: Mapping[str, Score], records: Sequence[EpisodeRecord]) -> bool:
    """Whether an episode has a curve."""
    return any(scores[record.id].frames for record in records)


def write_lerobot_scores(folder: Path, records: Sequence[EpisodeRecord], scores: Mapping[str, Score]) -> None:
    """Add the columns to a LeRobot dataset that has these episodes, in this order."""
    path = folder / EPISODES_PATH.format(chunk_index=0, file_index=0)
    table = pq.read_table(path)
    for name in ("weight", "advantage"):
        values = [getattr(scores[record.id], name) for record in records]
        table = table.append_column(f"soar/{name}", pa.array(values, pa.float64()))
    pq.write_table(table, path)
    begin = 0
    with pq.ParquetWriter(folder / WEIGHTS, _WEIGHTS) as writer:
        for number, record in enumerate(records):
            progress_N, advantage_N = scores[record.id].per_step(record.length)
            steps = np.arange(record.length + 1)
            columns = [
                pa.array(begin + steps),
                pa.array(np.full(len(steps), number)),
                pa.array(steps),
                pa.array(np.full(len(steps), scores[record.id].weight, np.float32)),
                pa.array(progress_N),
                pa.array(advantage_N),
            ]
            writer.write_table(pa.table(columns, schema=_WEIGHTS))
            begin += len(steps)


def rlds_scores(score: Score, length: int, *, curves: bool) -> dict[str, Any]:
    """Return the features of an episode of T actions."""
    features: dict[str, Any] = {
        "episode_metadata/weight": np.array([score.weight], np.float32),
        "episode_metadata/advantage": np.array([score.advantage], np.float32),
    }
    if curves:
        progress_N, advantage_N = score.per_step(length)
        features |= {"steps/progress": progress_N, "steps/advantage": advantage_N}
    return features


DESCRIBED = {
    "weight": "How likely the attempt succeeded, 0..1.",
    "advantage": "How much more likely than attempts at the same task in the mean, -1..1.",
}
"""What the features of an episode are."""
DESCRIBED_STEPS = {
    "progress": "How likely success was by then, 0..1; NaN where no judge said.",
    "advantage": "How far progress rises in the steps that follow; NaN where no judge said.",
}
"""What the features of a step are."""
