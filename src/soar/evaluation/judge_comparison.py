"""Several success detectors on the same attempts: a row each for results/judges.json, the first being what others are
compared with.

An undecidable attempt counts as in `soar.evaluation.detector_metrics`: no success is learned from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soar.errors import SoarError
from soar.evaluation.detector_metrics import Judgement, score
from soar.evaluation.statistics import Rate, p_value, paired, short
from soar.seeding import generator

_RESAMPLES = 1000


def comparison_rows(judged: Mapping[str, Sequence[Judgement]]) -> list[dict[str, Any]]:
    """Return a row a judge: rates with 95 % intervals, its lowest scene, what it rights and wrongs of the first one, its cost.

    Args:
        judged: What each said, by name; of the same episodes.

    Raises:
        SoarError: They judged other episodes.
    """
    first = _right(next(iter(judged.values())))
    return [
        {"judge": name, **_row(judgements, first if number else None)}
        for number, (name, judgements) in enumerate(judged.items())
    ]


def caption(judged: Mapping[str, Sequence[Judgement]], labels: str, threshold: float) -> str:
    """Return what is to be said under the table."""
    attempts = next(iter(judged.values()))
    scenes = dict.fromkeys(judgement.scene for judgement in attempts)
    true = sum(judgement.truth for judgement in attempts)
    whose = "the simulator" if labels == "simulator" else "people"
    return (
        f"{len(attempts)} attempts in {len(scenes)} scenes ({', '.join(scenes)}), {true} of them successes as {whose} said; "
        f"p >= {threshold:g}. Undecided counts as no success. Rights, wrongs: attempts that this judge has right and the first "
        "one wrong, and the other way round; p is McNemar's, one-sided. Seconds are this machine's, without reading the store."
    )


def _row(judgements: Sequence[Judgement], first: Mapping[str, bool] | None) -> dict[str, Any]:
    result, count = score(judgements), len(judgements)
    scenes = {judgement.scene: Rate(successes=0, trials=0) for judgement in judgements}
    for judgement in judgements:
        right = int((judgement.success is True) is judgement.truth)
        scenes[judgement.scene] += Rate(successes=right, trials=1)
    lowest = min(scenes, key=lambda scene: scenes[scene].value)
    against = None if first is None else paired(first, _right(judgements))
    return {
        "accuracy": str(result.accuracy),
        "precision": str(result.precision),
        "recall": str(result.recall),
        "calibration error": _calibration(judgements),
        "undecided": result.undecided.successes,
        "lowest scene": f"{short(scenes[lowest].value)} ({lowest})",
        "rights, wrongs": None if against is None else f"{against.only_second}, {against.only_first}",
        "more right, p": None if against is None else p_value(against.p_second_better),
        "questions": round(sum(judgement.questions for judgement in judgements) / count, 1),
        "pictures": round(sum(judgement.pictures for judgement in judgements) / count, 1),
        "s an attempt": round(sum(judgement.seconds for judgement in judgements) / count, 4),
    }


def _right(judgements: Sequence[Judgement]) -> dict[str, bool]:
    right = {judgement.id: (judgement.success is True) is judgement.truth for judgement in judgements}
    if len(right) < len(judgements):
        raise SoarError("an episode was judged twice by one judge; compare on episodes of one store")
    return right


def _calibration(judgements: Sequence[Judgement]) -> str | None:
    """Return the calibration error with its 95 % interval by resampling attempts; None without probabilities."""
    error = score(judgements).calibration_error
    if error is None:
        return None
    rng = generator(0, "calibration error")
    p_N = np.array([j.probability for j in judgements if j.probability is not None])
    true_N = np.array([j.truth for j in judgements if j.probability is not None], float)
    bins_N = np.clip((p_N * 10).astype(int), 0, 9)
    errors = []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(0, len(p_N), len(p_N))
        gaps = np.bincount(bins_N[drawn], p_N[drawn] - true_N[drawn], 10)
        errors.append(np.abs(gaps).sum() / len(p_N))
    low, high = np.quantile(errors, [0.025, 0.975])
    return f"{short(error)} [{short(float(low))}, {short(float(high))}]"
