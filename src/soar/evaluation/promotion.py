"""The gate between a candidate policy and the robots: it is deployed only when it is not worse than what is deployed now."""

from __future__ import annotations

from dataclasses import dataclass

from soar.evaluation.statistics import Rate, paired, short
from soar.evaluation.trials import Evaluation

LEVEL = 0.05
"""Significance at which a candidate counts as worse."""
MARGIN = 0.05
"""How much lower a candidate's rate may be before it is refused without significance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The verdict on a candidate.

    Attributes:
        promote: Whether to deploy it.
        candidate: Its success rate.
        deployed: The success rate of the policy that is deployed now, on the same starts.
        p_worse: One-sided p-value of McNemar's exact test for the candidate being worse.
        sentence: The verdict and the test, in words, for the report.
    """

    promote: bool
    candidate: Rate
    deployed: Rate
    p_worse: float
    sentence: str


def not_worse(candidate: Evaluation, deployed: Evaluation, level: float = LEVEL, margin: float = MARGIN) -> Promotion:
    """Decide whether to promote a candidate.

    It is refused when it is significantly worse on the same seeded starts (McNemar's exact test, one-sided), or when its
    success rate is lower by more than `margin`: with few trials, a policy can be much worse without any test seeing it.

    Args:
        candidate: Trials of the new policy.
        deployed: Trials of the deployed policy on the same starts.
        level: Significance level of the test.
        margin: Largest loss of success rate that is tolerated, 0..1.

    Raises:
        SoarError: The starts differ.
    """
    comparison = paired(candidate.outcomes(), deployed.outcomes())
    new, old, p_worse = candidate.rate(), deployed.rate(), comparison.p_second_better
    significant = p_worse < level
    # In counts, so that a loss of exactly the margin is not refused by rounding; equal starts mean equal trials.
    much_lower = old.successes - new.successes > margin * old.trials + 1e-9
    if significant:
        verdict = f"Kept {deployed.policy}: {candidate.policy} is significantly worse"
    elif much_lower:
        verdict = f"Kept {deployed.policy}: {candidate.policy} is lower by more than the tolerated {short(margin)}"
    elif not new.trials:
        verdict = f"Kept {deployed.policy}: there are no trials to judge {candidate.policy} by"
    else:
        verdict = f"Promoted {candidate.policy}: it is not worse than {deployed.policy}"
    return Promotion(
        promote=bool(new.trials) and not significant and not much_lower,
        candidate=new,
        deployed=old,
        p_worse=p_worse,
        sentence=f"{verdict}. Candidate {new}, deployed {old}; of the same starts, {comparison.only_first} succeeded only with "
        f"the candidate and {comparison.only_second} only with the deployed policy (McNemar's exact test for the candidate "
        f"being worse, one-sided: p = {p_worse:.3f}; refused below {short(level)}, or if lower by more than {short(margin)}).",
    )
