"""The order in which a person's word is worth most, and who is looking at what.

    undecided ─ judges that disagree ─ near the threshold ─ tasks of which nobody has said anything      by their worth
    every fifth:                        one drawn at random                                                for calibration

The random ones are a share of the store that is chosen by a hash of the episode's id, and in the order of that hash. They are
offered as such and for no other reason, so that those of them which people have judged are a random sample of the store:
calibration, agreement and the threshold are estimated from these alone (`soar.console.calibration`).

Two people do not get the same episode: one that was handed out is another's for `CLAIM_S`, or until it is judged. Two pages do
not either, so that two people of one name are two.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from soar.console.judgements import SHARE, Judgements

CLAIM_S = 120.0
"""How long an episode is one person's after it was shown [s]."""
EVERY = SHARE
"""Of so many episodes one is drawn at random."""
_NEAR = 0.25
"""A probability farther from the threshold is not near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An episode that a person is asked about.

    Attributes:
        index: Of the episode in `Judgements`.
        why: In words.
        left: How many nobody has judged.
    """

    index: int
    why: str
    left: int


def worth(judged: Judgements, threshold: float) -> tuple[NDArray[np.float64], Callable[[int], str]]:
    """Return how much a person's word is worth for each episode, and what says why in words."""
    undecided_E, disagree_E = judged.model_E == 2, judged.disagree_E
    distance_E = np.abs(judged.probability_E - threshold)
    near_E = np.where(np.isnan(distance_E), 0.0, np.clip(1 - distance_E / _NEAR, 0.0, 1.0))
    task_E = np.asarray(pc.fill_null(judged.table["instruction"].combine_chunks().dictionary_encode().indices, 0), np.int64)
    known = np.bincount(task_E, weights=(judged.person_E >= 0).astype(float))
    rare_E = 1 / np.sqrt(1 + known[task_E])
    worth_E = 2.0 * undecided_E + 1.5 * disagree_E + near_E + 0.5 * rare_E

    def why(index: int) -> str:
        said = [
            (bool(undecided_E[index]), "the model could not decide"),
            (bool(disagree_E[index]), "judges disagree"),
            (bool(near_E[index] > 0), f"{judged.probability_E[index]:.2f}, and the threshold is {threshold:.2f}"),
            (bool(known[task_E[index]] < EVERY), f"{known[task_E[index]]:.0f} episodes of this task were judged by people"),
        ]
        return "; ".join(text for holds, text in said if holds) or "the judge is sure; is it right?"

    return worth_E, why


class Queue:
    """Hands out episodes of one store. Safe to use from several threads.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._claims: dict[str, tuple[tuple[str, str], float]] = {}
        self._given: dict[str, int] = {}

    def next(
        self, judged: Judgements, who: str, threshold: float, skipped: frozenset[str] = frozenset(), page: str = ""
    ) -> Offer | None:
        """Return what a person is asked about next, and keep it for them; None when there is nothing left.

        Args:
            judged: Of the store as it is now.
            who: The person.
            threshold: Of the judge.
            skipped: Ids that this person does not want to see now.
            page: At which they sit.
        """
        ids = judged.ids
        worth_E, why = worth(judged, threshold)
        with self._lock:
            now_s = self._clock()
            self._claims = {id: claim for id, claim in self._claims.items() if claim[1] > now_s}
            taken = {id for id, (other, _) in self._claims.items() if other != (who, page)} | skipped
            open_E = judged.person_E == -1
            left = int(open_E.sum())
            if taken:
                open_E[[index for index, id in enumerate(ids) if id in taken]] = False
            if not open_E.any():
                return None
            number = self._given.get(who, 0)
            random = np.flatnonzero(open_E & judged.random_E)
            by_worth = np.flatnonzero(open_E & ~judged.random_E)
            if len(random) and (number % EVERY == EVERY - 1 or not len(by_worth)):
                index, reason = int(random[np.argmin(judged.place_E[random])]), "drawn at random, for calibration"
            else:
                index = int(by_worth[np.argmax(worth_E[by_worth])])
                reason = why(index)
            self._claims[ids[index]] = ((who, page), now_s + CLAIM_S)
        return Offer(index=index, why=reason, left=left)

    def done(self, id: str, who: str) -> None:
        """Take note that a person has judged an episode."""
        with self._lock:
            self._claims.pop(id, None)
            self._given[who] = self._given.get(who, 0) + 1

    def holder(self, id: str, who: str) -> str | None:
        """Return who else is looking at an episode now."""
        with self._lock:
            (other, _), until_s = self._claims.get(id, (("", ""), 0.0))
            return other if other and other != who and until_s > self._clock() else None
