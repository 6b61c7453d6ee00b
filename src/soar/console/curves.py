"""What is drawn of an episode and of a run: SVG whose attributes say everything, since pages have no styles of their own.

Each function returns plain values (points, places, texts) for a template; templates escape the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.episodes.encoded import EncodedEpisode
from soar.evaluation.statistics import Rate

WIDTH, HEIGHT = 600, 60
"""Of a curve's box, in its own units; pages stretch it."""
_PAD = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Some series over an episode's steps.

    Attributes:
        title: What they are.
        unit: Theirs.
        low: Value at the bottom.
        high: Value at the top.
        lines: Name, style number and the points of each series.
        dots: Name and places of single values.
    """

    title: str
    unit: str
    low: float
    high: float
    lines: tuple[tuple[str, int, str], ...]
    dots: tuple[tuple[str, float, float], ...] = ()


def episode_curves(episode: EncodedEpisode, looks: Sequence[tuple[int, float]] = ()) -> list[Curve]:
    """Return where the gripper was, how open it was and was told to be, and what the judge thought on the way.

    Args:
        episode: The episode.
        looks: Step and the judge's probability of success.
    """
    states_TD, actions_TD = episode.states_TD, episode.actions_TD
    last = max(1, len(actions_TD))
    curves = [
        _curve("gripper position", "m", [(name, states_TD[:, i]) for i, name in enumerate("xyz")], last),
        _curve("motion commanded", "m", [(f"d{name}", actions_TD[:, i]) for i, name in enumerate("xyz")], last),
        _curve("gripper open", "", [("measured", states_TD[:, 6]), ("commanded", actions_TD[:, 6])], last, bounds=(0.0, 1.0)),
    ]
    if looks:
        dots = tuple((f"step {step}: {p:.2f}", _x(step, last), _y(p, 0.0, 1.0)) for step, p in looks)
        points = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in dots)
        line = (("judge", 0, points),) if len(looks) > 1 else ()
        curves.append(Curve(title="judge's probability of success", unit="", low=0.0, high=1.0, lines=line, dots=dots))
    return curves


def reliability(bins: Sequence[tuple[float, Rate]], side: int = 240) -> list[dict[str, Any]]:
    """Return the points of a calibration curve: where, how large, and the interval, in a square of `side`."""
    most = max((rate.trials for _, rate in bins), default=1)
    return [
        {
            "x": round(predicted * side, 1),
            "y": round((1 - rate.value) * side, 1),
            "low": round((1 - rate.interval[0]) * side, 1),
            "high": round((1 - rate.interval[1]) * side, 1),
            "r": round(3 + 5 * (rate.trials / most) ** 0.5, 1),
            "text": f"said {predicted:.2f}, true {rate}",
        }
        for predicted, rate in bins
        if rate.trials
    ]


def over_time(pieces: Sequence[tuple[str, Rate]], width: int = 600, height: int = 160) -> list[dict[str, Any]]:
    """Return the points of success over episodes: pieces of equal numbers of episodes, each with its interval."""
    step = width / max(1, len(pieces))
    return [
        {
            "x": round((number + 0.5) * step, 1),
            "y": round((1 - rate.value) * height, 1),
            "low": round((1 - rate.interval[0]) * height, 1),
            "high": round((1 - rate.interval[1]) * height, 1),
            "text": f"{name}: {rate}",
        }
        for number, (name, rate) in enumerate(pieces)
        if rate.trials
    ]


def _curve(
    title: str,
    unit: str,
    series: Sequence[tuple[str, NDArray[np.float32]]],
    last: int,
    bounds: tuple[float, float] | None = None,
) -> Curve:
    finite = [values[np.isfinite(values)] for _, values in series]
    there = np.concatenate(finite) if any(len(values) for values in finite) else np.zeros(1)
    low, high = bounds or (float(there.min()), float(there.max()))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    lines = []
    for number, (name, values) in enumerate(series):
        points = [(_x(step, last), _y(float(value), low, high)) for step, value in enumerate(values) if np.isfinite(value)]
        lines.append((name, number, " ".join(f"{x:.1f},{y:.1f}" for x, y in points)))
    return Curve(title=title, unit=unit, low=low, high=high, lines=tuple(lines))


def _x(step: int, last: int) -> float:
    return WIDTH * min(step, last) / last


def _y(value: float, low: float, high: float) -> float:
    share = min(1.0, max(0.0, (value - low) / (high - low)))
    return _PAD + (1 - share) * (HEIGHT - 2 * _PAD)
