"""Are lengths metres and angles radians? What no arm does says that they are not.

| of 99 of 100 steps | doubtful beyond | impossible beyond |
|---|---|---|
| positions in states | 2 m | 5 m |
| angles in states | 2 pi | 4 pi |
| motions in actions | 0.2 m | 0.5 m |
| turns in actions | 1 rad | pi |

Millimetres, degrees and commands of -1 to 1 are beyond these, unless hardly anything moves: whoever sees no more than numbers
takes 4 mm for 4 m.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soar.episodes.store import EpisodeStore
from soar.episodes.vector_statistics import vector_statistics
from soar.errors import StoreError

Vector = Literal["state", "action"]
POSITION, TURN = slice(0, 3), slice(3, 6)
COMMON = 0.99
"""Share of the steps that count: cameras and arms have bad moments, and these say nothing of units."""
_SLACK = 1.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """What is judged by its size.

    Attributes:
        vector: Where it is.
        part: Which numbers of it.
        what: In words.
        unit: What it should be in.
        doubtful: Beyond it something may be wrong.
        impossible: Beyond it something is.
    """

    vector: Vector
    part: slice
    what: str
    unit: str
    doubtful: float
    impossible: float

    @property
    def is_length(self) -> bool:
        """Whether it is no angle."""
        return self.part == POSITION

    def judge(self, common: float, most: float) -> tuple[str, bool]:
        """Return what is odd, an empty text where nothing is, and whether it is impossible.

        Args:
            common: What 99 of 100 steps stay within.
            most: What all do.
        """
        reach = f"{self.what} are up to {most:.4g}, 99 of 100 within {common:.4g}"
        if common > self.impossible * _SLACK:
            return f"{reach}; no arm does more than {self.impossible:.3g} {self.unit}, so they are in another unit", True
        if common > self.doubtful * _SLACK:
            return f"{reach}; more than {self.doubtful:.3g} {self.unit} is unusual: is that their unit?", False
        if most > self.impossible * _SLACK:
            return f"{reach}; no arm does more than {self.impossible:.3g} {self.unit}, so single steps are wrong", False
        return "", False


KINDS = (
    Kind(vector="state", part=POSITION, what="the positions in the states", unit="metres", doubtful=2.0, impossible=5.0),
    Kind(
        vector="state",
        part=TURN,
        what="the angles in the states",
        unit="radians",
        doubtful=2 * math.pi,
        impossible=4 * math.pi,
    ),
    Kind(vector="action", part=POSITION, what="the motions in the actions", unit="metres", doubtful=0.2, impossible=0.5),
    Kind(vector="action", part=TURN, what="the turns in the actions", unit="radians", doubtful=1.0, impossible=math.pi),
)


def examine_magnitudes(store: EpisodeStore) -> list[tuple[str, bool]]:
    """Return what is odd about the sizes in a store, and whether it is impossible; no image is read.

    Raises:
        StoreError: The store cannot be read.
    """
    found = vector_statistics(store)
    odd = []
    for kind in KINDS:
        summary = found[kind.vector]
        if summary["count"]:
            common, most = (
                max(float(np.abs(summary[key][kind.part]).max()) for key in keys) for keys in (("q01", "q99"), ("min", "max"))
            )
            text, wrong = kind.judge(common, most)
            odd += [(f"{text}; {advice(kind)}", wrong)] if text else []
    return odd


def check_magnitudes(vectors: Mapping[Vector, NDArray[np.floating]], place: str) -> None:
    """Refuse to train on motions that no arm makes, and warn of what is odd.

    Args:
        vectors: (N, 7) each; NaN where there is none.
        place: Where they are from, for messages.

    Raises:
        StoreError: The actions are impossible.
    """
    for kind in KINDS:
        text, wrong = kind.judge(*extent(np.abs(vectors[kind.vector][:, kind.part]).max(axis=1, initial=0)))
        if wrong and kind.vector == "action":
            raise StoreError(f"{place}: {text}; {advice(kind)}")
        if text:
            _log.warning("%s: %s; %s", place, text, advice(kind))


def extent(sizes_N: NDArray[np.floating]) -> tuple[float, float]:
    """Return what 99 of 100 sizes, and what all of them, stay within; zero where there are none."""
    finite = sizes_N[np.isfinite(sizes_N)]
    return (float(np.quantile(finite, COMMON, method="lower")), float(finite.max())) if finite.size else (0.0, 0.0)


def advice(kind: Kind) -> str:
    """Return what to do about a store with such numbers."""
    return f"import them again into a new store, with their unit in --{kind.vector}-map (docs/datasets.md)"
