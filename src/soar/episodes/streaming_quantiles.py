"""How vectors are distributed, in little memory: moments, extremes, and quantiles to within 0.1 % of their value.

A `Distribution` of two sets is the sum of theirs, in any order, so what is new is added to what is known. Quantiles come from
counts of buckets: a float32 without its last bits is a bucket, and buckets are ordered as their numbers are. Nothing is drawn
at random, so the same numbers always have the same quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_SIGN = np.uint32(0x80000000)
_DROPPED_BITS = 14
"""Of 23 bits of the mantissa 9 are kept: the middle of a bucket is within 2^-10 of whatever is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """N vectors of D numbers.

    Attributes:
        count: N.
        sums_D: float64, as are the others.
        deviations_D: Sums of squared deviations from the mean: sums of squares lose the digits of values that are nearly equal.
        lows_D: Least values; infinite when N is 0.
        highs_D: Greatest values; minus infinite when N is 0.
        buckets: By dimension, which buckets are not empty, in order (uint32), …
        counts: … and how many values are in each (int64).
    """

    count: int
    sums_D: NDArray[np.float64]
    deviations_D: NDArray[np.float64]
    lows_D: NDArray[np.float64]
    highs_D: NDArray[np.float64]
    buckets: tuple[NDArray[np.uint32], ...]
    counts: tuple[NDArray[np.int64], ...]

    def __add__(self, other: Distribution) -> Distribution:
        """Return the distribution of both sets together."""
        merged = [_merge(*pair) for pair in zip(self.buckets, self.counts, other.buckets, other.counts, strict=True)]
        count = self.count + other.count
        apart_D = self.sums_D / max(self.count, 1) - other.sums_D / max(other.count, 1)
        return Distribution(
            count=count,
            sums_D=self.sums_D + other.sums_D,
            deviations_D=self.deviations_D + other.deviations_D + apart_D**2 * self.count * other.count / max(count, 1),
            lows_D=np.minimum(self.lows_D, other.lows_D),
            highs_D=np.maximum(self.highs_D, other.highs_D),
            buckets=tuple(buckets for buckets, _ in merged),
            counts=tuple(counts for _, counts in merged),
        )

    def summary(self) -> dict[str, Any]:
        """Return count, mean, std, min, max and quantiles as JSON has them, each but the count with a value a dimension."""
        if not self.count:
            return {"count": 0}
        mean = self.sums_D / self.count
        std = np.sqrt(self.deviations_D / self.count)
        found = {"mean": mean, "std": std, "min": self.lows_D, "max": self.highs_D}
        found |= {name: self.quantile(share) for name, share in QUANTILES.items()}
        return {"count": self.count} | {name: value.tolist() for name, value in found.items()}

    def quantile(self, share: float) -> NDArray[np.float64]:
        """Return, by dimension, the value that `share` of all values do not exceed."""
        rank = min(max(int(np.ceil(share * self.count)), 1), self.count)
        places = [np.searchsorted(np.cumsum(counts), rank) for counts in self.counts]
        middles = [_middle(buckets[place]) for buckets, place in zip(self.buckets, places, strict=True)]
        values: NDArray[np.float64] = np.clip(np.array(middles), self.lows_D, self.highs_D)
        return values

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return it as arrays, see `from_arrays`."""
        moments = {name: getattr(self, name) for name in ("sums_D", "deviations_D", "lows_D", "highs_D")}
        parts = {f"buckets{d}": self.buckets[d] for d in range(len(self.buckets))}
        return {"count": np.array(self.count), **moments, **parts, **{f"counts{d}": c for d, c in enumerate(self.counts)}}


def distribution(values_ND: NDArray[np.float32]) -> Distribution:
    """Return the distribution of N vectors of finite numbers."""
    values = np.ascontiguousarray(values_ND, np.float32)
    exact = values.astype(np.float64)
    parts = [np.unique(_bucket(values[:, d]), return_counts=True) for d in range(values.shape[1])]
    return Distribution(
        count=len(values),
        sums_D=exact.sum(0),
        deviations_D=((exact - exact.sum(0) / max(len(exact), 1)) ** 2).sum(0),
        lows_D=exact.min(0, initial=np.inf),
        highs_D=exact.max(0, initial=-np.inf),
        buckets=tuple(buckets for buckets, _ in parts),
        counts=tuple(counts.astype(np.int64) for _, counts in parts),
    )


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Distribution:
    """Return what `Distribution.arrays` was called on.

    Raises:
        KeyError: They are something else.
    """
    moments = {name: arrays[name] for name in ("sums_D", "deviations_D", "lows_D", "highs_D")}
    dims = range(len(moments["sums_D"]))
    return Distribution(
        count=int(arrays["count"]),
        **moments,
        buckets=tuple(arrays[f"buckets{d}"] for d in dims),
        counts=tuple(arrays[f"counts{d}"] for d in dims),
    )


def _bucket(values_N: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the buckets of values; greater values have no lesser ones."""
    # Minus zero is zero, which it is not by its bits.
    bits = (values_N + np.float32(0)).view(np.uint32)
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return np.asarray(ordered >> _DROPPED_BITS, np.uint32)


def _middle(bucket: np.uint32) -> float:
    ordered = np.uint32((int(bucket) << _DROPPED_BITS) + (1 << _DROPPED_BITS - 1))
    bits = ordered & ~_SIGN if ordered & _SIGN else ~ordered
    return float(np.uint32(bits).view(np.float32))


def _merge(
    buckets: NDArray[np.uint32], counts: NDArray[np.int64], more: NDArray[np.uint32], added: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    merged, place = np.unique(np.concatenate([buckets, more]), return_inverse=True)
    total = np.zeros(len(merged), np.int64)
    np.add.at(total, place, np.concatenate([counts, added]))
    return merged, total
