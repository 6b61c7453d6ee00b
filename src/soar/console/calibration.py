"""How far the judge can be believed, from episodes that people judged after they had been drawn at random; and the threshold.

A threshold is what `soar collect --threshold` takes: the least probability of success that counts as one. A higher one costs
successes that are then not learned from; a lower one costs failures that are. Both costs are stated for each threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soar.console.judgements import Judgements
from soar.evaluation.detector_metrics import DetectorScore, Judgement, score
from soar.evaluation.statistics import Rate

THRESHOLDS = tuple(round(0.05 * number, 2) for number in range(2, 20))
FEW = 20
"""With fewer judged episodes nothing is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a threshold means.

    Attributes:
        threshold: Least probability that counts as success.
        precision: True ones among those that count as successes.
        recall: Those that count as successes among the true ones.
        f1: Harmonic mean of the two; 0 without any.
        kept: Episodes of the whole store that would count as successes.
    """

    threshold: float
    precision: Rate
    recall: Rate
    f1: float
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What people's words say about the judge.

    Attributes:
        drawn: Episodes that were drawn at random and judged by a person and a model.
        score: Of the judge on these.
        costs: Of thresholds, increasing.
        advised: The one with the greatest F1; None with too few episodes or without probabilities.
        audited: Episodes that people and a model judged, drawn at random or not.
        agree: How often people and the model agree on all of these: no random sample, the hard ones are among them.
    """

    drawn: int
    score: DetectorScore
    costs: tuple[Cost, ...]
    advised: Cost | None
    audited: int
    agree: Rate

    def at(self, threshold: float) -> Cost | None:
        """Return the cost of the threshold that is nearest, None without any."""
        return min(self.costs, key=lambda cost: abs(cost.threshold - threshold), default=None)


def calibrate(judged: Judgements) -> Calibration:
    """Return what people's words say about the judge of a store."""
    everything = np.ones(len(judged), bool)
    drawn, audited = judged.audited(judged.random_E), judged.audited(everything)
    costs = tuple(_cost(drawn, judged, threshold) for threshold in THRESHOLDS) if _likely(drawn) else ()
    best = max(costs, key=lambda cost: cost.f1, default=None)
    return Calibration(
        drawn=len(drawn),
        score=score(drawn),
        costs=costs,
        advised=best if len(_likely(drawn)) >= FEW else None,
        audited=len(audited),
        agree=Rate(successes=sum((one.success is True) is one.truth for one in audited), trials=len(audited)),
    )


def _likely(drawn: Sequence[Judgement]) -> list[tuple[float, bool]]:
    return [(one.probability, one.truth) for one in drawn if one.probability is not None]


def _cost(drawn: Sequence[Judgement], judged: Judgements, threshold: float) -> Cost:
    yes = [truth for p, truth in _likely(drawn) if p >= threshold]
    true = sum(truth for _, truth in _likely(drawn))
    precision, recall = Rate(successes=sum(yes), trials=len(yes)), Rate(successes=sum(yes), trials=true)
    f1 = 2 * sum(yes) / (len(yes) + true) if yes or true else 0.0
    kept = int((np.nan_to_num(judged.probability_E, nan=-1.0) >= threshold).sum())
    return Cost(threshold=threshold, precision=precision, recall=recall, f1=f1, kept=kept)
