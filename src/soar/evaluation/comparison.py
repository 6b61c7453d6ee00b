"""Two policies compared start by start, with all that can be said of them: what `soar evaluate --policy A B` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from soar.evaluation.promotion import Promotion, not_worse
from soar.evaluation.sequential import LEVEL, Decision, anytime_p, decide, share_interval
from soar.evaluation.statistics import Paired, fisher_p, p_value, paired, short
from soar.evaluation.trials import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the starts from which both were tried say.

    Attributes:
        first: The first policy's trials from those starts.
        second: The second's.
        paired: From how many exactly one succeeded.
        promotion: Whether the second would be deployed in the place of the first.
        level: Of the sequential test.
    """

    first: Evaluation
    second: Evaluation
    paired: Paired
    promotion: Promotion
    level: float = LEVEL

    @property
    def share(self) -> tuple[float, float]:
        """Of the starts from which exactly one succeeds, the second policy's share: an interval that holds at all times."""
        return share_interval(self.paired.only_second, self.paired.only_first, self.level)

    @property
    def p(self) -> float:
        """Two-sided p-value that holds whenever one stops."""
        return anytime_p(self.paired.only_second, self.paired.only_first)

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        if not (self.first.restored and self.second.restored):
            return self._unpaired
        low, high = self.share
        verdict = {
            "first": f"{self.first.variant} is better",
            "second": f"{self.second.variant} is better",
        }.get(self.decided(0) or "", "they are not told apart")
        one, other = self.first.variant, self.second.variant
        starts = f"{len(self.first.trials)} start{'s' if len(self.first.trials) != 1 else ''}"
        return (
            f"{other} against {one}, from the same {starts}: {self.second.rate()} against "
            f"{self.first.rate()}. {self.paired.only_second} succeeded only with {other}, {self.paired.only_first} only with "
            f"{one}; of such starts {other} wins a share within [{short(low)}, {short(high)}]. Whenever one stops: p = "
            f"{p_value(self.p)}, {verdict}."
        )

    @property
    def _unpaired(self) -> str:
        one, other = self.first.rate(), self.second.rate()
        better = p_value(fisher_p(other, one)) if one.trials and other.trials else "-"
        worse = p_value(fisher_p(one, other)) if one.trials and other.trials else "-"
        return (
            f"{self.second.variant} against {self.first.variant}: {other} against {one}. Nobody restored the starts, which "
            f"were not the same (--judge person lets you). Fisher's exact test, one-sided: better p = {better}, worse "
            f"p = {worse}."
        )

    def decided(self, left: int) -> Decision | None:
        """Return what the sequential test says, with so many starts left; see `soar.evaluation.sequential.decide`."""
        return decide(self.paired.only_first, self.paired.only_second, left, self.level)


def compare(first: Evaluation, second: Evaluation, level: float = LEVEL) -> Comparison:
    """Compare two policies on the starts from which both were tried, or on all when nobody restored them."""
    common = first.outcomes().keys() & second.outcomes().keys()
    one, other = (
        replace(evaluation, trials=tuple(trial for trial in evaluation.trials if trial.key in common))
        for evaluation in (first, second)
    )
    found = paired(one.outcomes(), other.outcomes())
    if not (first.restored and second.restored):
        one, other = first, second
    return Comparison(first=one, second=other, paired=found, promotion=not_worse(other, one), level=level)


def compare_all(evaluations: Sequence[Evaluation], level: float = LEVEL) -> list[Comparison]:
    """Compare the first policy with each of the others; all verdicts together hold the level (Bonferroni)."""
    return [compare(evaluations[0], other, level / (len(evaluations) - 1)) for other in evaluations[1:]]
