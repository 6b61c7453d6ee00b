"""Whether all robots of a fleet shall have the policy that one of them tries."""

from __future__ import annotations

from soar.evaluation.promotion import Practice, practised_not_worse
from soar.evaluation.statistics import Rate
from soar.fleet.deployment import Deployment, Tally

_JUDGE = "the fleet's model"
_FEW_FAULTS = 2


def canary_verdict(tried: Deployment, before: Tally, canary: Tally, old: str) -> tuple[bool, str] | None:
    """Return whether all robots shall have the policy, and why; None before the canary tried it often enough.

    It is refused when more than two attempts, and more than twice the usual share of them, ended with a fault; or when its
    judged success rate is significantly lower than that of the policy before it. The episodes of one robot are few: a
    difference that could be chance counts for nothing.

    Args:
        tried: The deployment.
        before: What all robots did with the policy before it, in the canary's scene.
        canary: What its canary did with the new one.
        old: Id of the policy before it.
    """
    attempts = canary.episodes + canary.faults
    if attempts < tried.wanted:
        return None
    faulty, usual = _faulty(canary), _faulty(before)
    if canary.faults > max(_FEW_FAULTS, 2 * (usual.value if usual.trials else 0.0) * attempts):
        return (
            False,
            f"Kept {old}: {faulty} of the attempts of {tried.canary} with {tried.policy} ended with a fault; before, {usual}",
        )
    verdict = practised_not_worse(
        Practice(policy=tried.policy, judged=Rate(successes=canary.successes, trials=canary.episodes), judge=_JUDGE),
        Practice(policy=old, judged=Rate(successes=before.successes, trials=before.episodes), judge=_JUDGE),
        margin=1.0,
    )
    return verdict.promote, verdict.sentence


def _faulty(tally: Tally) -> Rate:
    return Rate(successes=tally.faults, trials=tally.episodes + tally.faults)
