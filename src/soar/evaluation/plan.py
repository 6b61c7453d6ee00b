"""Which trials a comparison of several policies is made of, in which order, and when there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from soar.evaluation.comparison import compare_all
from soar.evaluation.sequential import LEVEL, decide
from soar.evaluation.trials import Evaluation, TrialKey
from soar.seeding import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One trial: its number, its start, and the position of its policy among those that are tried."""

    number: int
    key: TrialKey
    contender: int


def order(seed: int, key: TrialKey, contenders: int) -> list[int]:
    """Return in which order the policies are tried from a start: a function of seed and start, and not of any name."""
    _, task, start = key
    return [int(position) for position in generator(seed, f"order of policies/{task}", start).permutation(contenders)]


class Plan:
    """The trials of some policies, all policies from one start after the other.

    Args:
        wanted: The starts.
        contenders: How many policies there are.
        seed: Of the order.
        stop_early: Whether to end when the comparison of several policies is decided, or cannot be any more (see
            `soar.evaluation.sequential`). Starts that are too few to decide anything are all tried.
    """

    def __init__(self, wanted: Sequence[TrialKey], contenders: int, *, seed: int, stop_early: bool) -> None:
        turns = [(key, contender) for key in wanted for contender in order(seed, key, contenders)]
        self.slots = [Slot(number=i, key=key, contender=contender) for i, (key, contender) in enumerate(turns, start=1)]
        possible = decide(0, 0, len(wanted), LEVEL / max(1, contenders - 1)) is None
        self._rule = stop_early and contenders > 1 and possible
        self._contenders = contenders

    def done(self, evaluations: Sequence[Evaluation]) -> list[Slot]:
        """Return the trials that were made."""
        outcomes = [evaluation.outcomes() for evaluation in evaluations]
        return [slot for slot in self.slots if slot.key in outcomes[slot.contender]]

    def next(self, evaluations: Sequence[Evaluation]) -> Slot | None:
        """Return the trial to make now, None when there are enough."""
        done = {slot.number for slot in self.done(evaluations)}
        missing = [slot for slot in self.slots if slot.number not in done]
        if not missing or not self._rule or (missing[0].number - 1) % self._contenders:
            return missing[0] if missing else None
        left = len({slot.key for slot in missing})
        enough = all(comparison.decided(left) for comparison in compare_all(evaluations))
        return None if enough else missing[0]
