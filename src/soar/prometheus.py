"""What programs count, as Prometheus reads it (text format 0.0.4): counters, gauges, and histograms of seconds.

A histogram is small numbers, so that it can be added up over processes, sent and journaled: how many times took at most each of
`BOUNDS_S`, each counted once, at the smallest bound that holds it; and all seconds together.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0)
_MOST = 10**9


@dataclass(slots=True)
class Histogram:
    """How long something took.

    Attributes:
        counts: Times up to each of `BOUNDS_S`, and longer ones.
        total_s: Of all of them [s].
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a time."""
        self.counts[bisect.bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def merge(self, other: Histogram) -> None:
        """Count what another one has."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total_s += other.total_s

    def below(self, share: float) -> float:
        """Return the smallest bound that so much of all times is within [s]: infinite beyond the last, NaN without any."""
        total, sum_ = sum(self.counts), 0
        for bound, count in zip((*BOUNDS_S, math.inf), self.counts, strict=True):
            sum_ += count
            if total and sum_ >= share * total:
                return bound
        return math.nan

    def plain(self) -> list[float]:
        """Return it as numbers, which `read` reads."""
        return [*self.counts, round(self.total_s, 6)]

    @classmethod
    def read(cls, said: Any) -> Histogram:
        """Return a histogram that somebody sent.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(said, list) or len(said) != len(BOUNDS_S) + 2:
            raise ValueError(f"a histogram has {len(BOUNDS_S) + 2} numbers")
        *counts, total_s = said
        if not all(type(count) is int and 0 <= count <= _MOST for count in counts) or not isinstance(total_s, int | float):
            raise ValueError("a histogram counts")
        if not 0 <= total_s <= _MOST:
            raise ValueError("seconds are finite and not negative")
        return cls(counts, float(total_s))


class MetricsText:
    """A text of metrics, in the making.

    Args:
        prefix: Of all names.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix, self._lines = prefix, list[str]()

    def add(self, name: str, kind: str, help: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """Add a `counter` or a `gauge`: labels and value, one a line."""
        self._head(name, kind, help)
        self._lines += [_line(f"{self._prefix}_{name}", labels, value) for labels, value in values]

    def histogram(self, name: str, help: str, values: Iterable[tuple[Mapping[str, str], Histogram]]) -> None:
        """Add a histogram of seconds."""
        self._head(name, "histogram", help)
        full = f"{self._prefix}_{name}"
        for labels, one in values:
            sum_ = 0
            for bound, count in zip((*map("{:g}".format, BOUNDS_S), "+Inf"), one.counts, strict=True):
                sum_ += count
                self._lines.append(_line(f"{full}_bucket", {**labels, "le": bound}, sum_))
            self._lines += [_line(f"{full}_sum", labels, one.total_s), _line(f"{full}_count", labels, sum_)]

    def _head(self, name: str, kind: str, help: str) -> None:
        self._lines += [f"# HELP {self._prefix}_{name} {help}", f"# TYPE {self._prefix}_{name} {kind}"]

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def merged(histograms: Sequence[Histogram]) -> Histogram:
    """Return all of them in one."""
    all = Histogram()
    for one in histograms:
        all.merge(one)
    return all


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.12g}" if inner else f"{name} {value:.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
