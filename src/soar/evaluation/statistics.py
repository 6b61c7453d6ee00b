"""Success rates and how sure one may be of them.

Trials are Bernoulli draws. One rate gets a Wilson interval; two rates on different starts are compared by Fisher's exact test;
two policies on the same seeded starts by McNemar's exact test, which looks only at the starts where they differ and so sees
smaller differences. All tests are exact and one-sided: small counts are the rule here.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from soar.errors import SoarError

Z_95 = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Successes among trials."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials:
            raise ValueError(f"a rate needs 0 <= successes <= trials, got {self.successes} of {self.trials}")

    @property
    def value(self) -> float:
        """Successes / trials; NaN without trials."""
        return self.successes / self.trials if self.trials else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval; (0, 1) without trials."""
        if not self.trials:
            return 0.0, 1.0
        n, p, z = self.trials, self.value, Z_95
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        # Rounding must not push an end past the rate itself at 0 of n and n of n.
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))

    def __add__(self, other: Rate) -> Rate:
        """Pool the trials of two rates."""
        return Rate(successes=self.successes + other.successes, trials=self.trials + other.trials)

    def __str__(self) -> str:
        """Return for example `12/40 = .30 [.18, .45]`."""
        if not self.trials:
            return "no trials"
        low, high = self.interval
        return f"{self.successes}/{self.trials} = {short(self.value)} [{short(low)}, {short(high)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two policies on the same starts: how often exactly one of them succeeded, and McNemar's exact p-values.

    Attributes:
        only_first: Starts where only the first succeeded.
        only_second: Starts where only the second succeeded.
        p_first_better: Probability of a split at least this much in favour of the first if they were equally good.
        p_second_better: The same for the second.
    """

    only_first: int
    only_second: int
    p_first_better: float
    p_second_better: float


def short(value: float) -> str:
    """Write a proportion with two decimals and no leading zero: `.30`, `1.00`; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.2f}".removeprefix("0")


def p_value(p: float) -> str:
    """Write a p-value with three decimals and no leading zero: `.013`, `< .001`."""
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def fisher_p(better: Rate, worse: Rate) -> float:
    """Return the one-sided p-value of Fisher's exact test for `better` having the higher success probability."""
    from scipy.stats import fisher_exact  # slow to import, and needed only here

    table = [[rate.successes, rate.trials - rate.successes] for rate in (better, worse)]
    return float(fisher_exact(table, alternative="greater").pvalue)


def common(first: Mapping[Key, Value], second: Mapping[Key, Value]) -> tuple[dict[Key, Value], dict[Key, Value]]:
    """Return both with the starts that both have: what is not trained is tried from more of them than each training seed."""
    keys = first.keys() & second.keys()
    return {key: first[key] for key in first if key in keys}, {key: second[key] for key in second if key in keys}


def paired(first: Mapping[Key, float], second: Mapping[Key, float]) -> Paired:
    """Compare two policies start by start (McNemar's exact test, one-sided either way).

    Args:
        first: Success of the first policy by start; or of a method, the share of its policies that succeed there, so that
            several policies at one start count once (a sign test).
        second: Success of the second one by start.

    Raises:
        SoarError: The starts differ.
    """
    if first.keys() != second.keys():
        raise SoarError(
            f"a paired comparison needs equal starts: {len(first.keys() - second.keys())} are only in the first evaluation, "
            f"{len(second.keys() - first.keys())} only in the second. Evaluate both with the same scene, tasks and seed."
        )
    only_first = sum(first[key] > second[key] for key in first)
    only_second = sum(second[key] > first[key] for key in first)
    differ = only_first + only_second

    def tail(wins: int) -> float:
        return float(Fraction(sum(math.comb(differ, k) for k in range(wins, differ + 1)), 2**differ))

    return Paired(
        only_first=only_first, only_second=only_second, p_first_better=tail(only_first), p_second_better=tail(only_second)
    )
