"""Which of the feasible tasks to attempt: the one whose success rate is known least (paper §3, equation 1)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from soar.seeding import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class UCBSelector:
    """Upper-confidence-bound selection without a reward term: it spreads attempts evenly over what is feasible.

    Attributes:
        seed: Ties and random tasks are a function of it and of the number of attempts so far.
    """

    seed: int = 0

    def scores(self, feasible: Collection[str], counts: Mapping[str, int]) -> dict[str, float]:
        """Return sqrt(log(N + 1) / (n + 1)) of each feasible task; N is the sum of n over the feasible tasks alone."""
        total = sum(counts[task] for task in feasible)
        return {task: math.sqrt(math.log(total + 1) / (counts[task] + 1)) for task in feasible}

    def select(self, feasible: Collection[str], counts: Mapping[str, int]) -> str:
        """Return the task to attempt.

        Args:
            feasible: The tasks that the model considers feasible, all of them keys of `counts`. When there is none, any task
                of `counts` may come: that usually perturbs the scene enough for the next proposal to succeed (§G).
            counts: Attempts so far of every task that may be attempted.

        Raises:
            ValueError: `counts` is empty.
        """
        if not counts:
            raise ValueError("there is no task to select from")
        scores = self.scores(feasible, counts) if feasible else dict.fromkeys(counts, 0.0)
        best = max(scores.values())
        tied = sorted(task for task, score in scores.items() if score == best)
        rng = generator(self.seed, "task selection", sum(counts.values()))
        return tied[int(rng.integers(len(tied)))]
