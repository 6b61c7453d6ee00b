"""What an episode is worth to whoever learns from it, kept beside its labels with who made it; nothing overwrites one.

A score is a label `score:MAKER`, which is no verdict. Its `answer` is JSON:

    {"weight": 0.83, "advantage": 0.31, "by": "vqa-1a2b sees looks:21", "horizon": 20, "frames": [0, 5, …],
     "progress": [0.02, 0.01, …]}

`weight` (0..1) says how likely the attempt succeeded, `advantage` (-1..1) how much more likely than attempts at the same task
in the mean. Where the judge said how likely success was as the attempt went on, `progress` is that curve at `frames`; a step's
advantage is how far it rises in the next `horizon` steps.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.episodes.schema import SCORE, EpisodeRecord
from soar.errors import StoreError
from soar.types import Label
from soar.untrusted import parse_json

HORIZON = 20
"""Steps of a subgoal."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one episode is worth.

    Attributes:
        weight: How likely it succeeded, 0..1.
        advantage: How much more likely than attempts at its task in the mean, -1..1.
        by: Whose verdict, and whose curve, it follows from.
        horizon: Steps over which the curve's rise is a step's advantage.
        frames: At which the curve is known, increasing; empty without a curve.
        progress: The curve there, 0..1.
    """

    weight: float
    advantage: float
    by: str
    horizon: int = HORIZON
    frames: tuple[int, ...] = ()
    progress: tuple[float, ...] = ()

    def per_step(self, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return progress and advantage at each of the T + 1 observations of an episode of T actions; NaN without a curve."""
        steps = np.arange(length + 1)
        if not self.frames:
            nothing = np.full(len(steps), np.nan, np.float32)
            return nothing, nothing.copy()
        progress_N = np.interp(steps, self.frames, self.progress)
        advantage_N = progress_N[np.minimum(steps + self.horizon, length)] - progress_N
        return progress_N.astype(np.float32), advantage_N.astype(np.float32)


def score_label(maker: str, score: Score, time_s: float) -> Label:
    """Return the label that keeps a score."""
    return Label(success=None, probability=None, source=f"{SCORE}{maker}", answer=json.dumps(asdict(score)), time_s=time_s)


def score_by(record: EpisodeRecord, maker: str) -> Score | None:
    """Return the score that a maker gave an episode, None when there is none.

    Raises:
        StoreError: What stands there is none.
    """
    for label in record.labels:
        if label.source == f"{SCORE}{maker}":
            try:
                return _score(parse_json(label.answer))
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"episode {record.id!r}: the score by {maker!r} is damaged ({error}); score anew") from error
    return None


def makers_of_scores(records: Iterable[EpisodeRecord]) -> list[str]:
    """Return who scored some episodes."""
    sources = {label.source for record in records for label in record.labels if label.source.startswith(SCORE)}
    return sorted(source.removeprefix(SCORE) for source in sources)


def scores_by(records: Sequence[EpisodeRecord], maker: str, where: str) -> dict[str, Score]:
    """Return the scores by a maker, by episode.

    Raises:
        StoreError: None has one; the message names whose there are, and what makes some.
    """
    found = {record.id: score for record in records if (score := score_by(record, maker)) is not None}
    if not found:
        known = ", ".join(makers_of_scores(records)) or "nobody"
        raise StoreError(
            f"{where}: none of {len(records)} episodes has a score by {maker!r}; there are some by {known}. "
            "`soar data score` gives some"
        )
    return found


def only_scored(records: Sequence[EpisodeRecord], scores: Mapping[str, Score]) -> list[EpisodeRecord]:
    """Return the episodes that have a score; says how many have none, and where some have a curve, how many have none."""
    kept = [record for record in records if record.id in scores]
    if len(kept) < len(records):
        log.warning("%d of %d episodes have no score and are left out", len(records) - len(kept), len(records))
    without = sum(not scores[record.id].frames for record in kept)
    if 0 < without < len(kept):
        log.warning("%d of %d episodes have no curve: progress and advantage of their steps are NaN", without, len(kept))
    return kept


def _score(values: Any) -> Score:
    if not isinstance(values, dict):
        raise TypeError("it is no object")
    weight, advantage = _within(values["weight"], 0, 1), _within(values["advantage"], -1, 1)
    frames, progress, horizon = values.get("frames", []), values.get("progress", []), values.get("horizon", HORIZON)
    if type(horizon) is not int or horizon < 1:
        raise ValueError("a horizon is a number of steps")
    if not isinstance(frames, list) or not isinstance(progress, list) or len(frames) != len(progress):
        raise ValueError("a curve has a value at each frame")
    if not all(type(frame) is int and frame >= 0 for frame in frames) or any(a >= b for a, b in itertools.pairwise(frames)):
        raise ValueError("frames increase")
    return Score(
        weight=weight,
        advantage=advantage,
        by=str(values.get("by", "")),
        horizon=horizon,
        frames=tuple(frames),
        progress=tuple(_within(value, 0, 1) for value in progress),
    )


def _within(value: Any, low: float, high: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{value!r} is not within {low}..{high}")
    return float(value)
