"""Whether all robots of a fleet shall have the policy that one of them tries."""

from __future__ import annotations

from soar.evaluation.promotion import Practice, practised_not_worse
from soar.evaluation.statistics import Rate
from soar.fleet.deployment import Deployment, Tally

_JUDGE = "the fleet's model"
_FEW_FAULTS, _FEW_LIMITED = 2, 0.05


def canary_verdict(tried: Deployment, before: Tally, canary: Tally, old: str) -> tuple[bool, str] | None:
    """Return whether all robots shall have the policy, and why; None before the canary tried it often enough.

    It is refused when more than two attempts, and more than twice the usual share of them, ended with a fault; when the safety
    shell had to change more than a twentieth, and more than twice the usual share, of its actions; or when its judged success
    rate is significantly lower than that of the policy before it. The episodes of one robot are few: a difference that could
    be chance counts for nothing. Nor do limits of which it is not known how often robots met them before.

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
    if canary.steps and before.steps and canary.limited / canary.steps > max(_FEW_LIMITED, 2 * before.limited / before.steps):
        return (
            False,
            f"Kept {old}: limits changed {_limits(canary)} of {tried.canary} with {tried.policy}; before, {_limits(before)}",
        )
    verdict = practised_not_worse(
        Practice(policy=tried.policy, judged=Rate(successes=canary.successes, trials=canary.episodes), judge=_JUDGE),
        Practice(policy=old, judged=Rate(successes=before.successes, trials=before.episodes), judge=_JUDGE),
        margin=1.0,
    )
    return verdict.promote, f"{verdict.sentence} Limits changed {_limits(canary)} of the canary; before, {_limits(before)}."


def _faulty(tally: Tally) -> Rate:
    return Rate(successes=tally.faults, trials=tally.episodes + tally.faults)


def _limits(tally: Tally) -> str:
    share = f" ({100 * tally.limited / tally.steps:.1f} %)" if tally.steps else ""
    return f"{tally.limited} of {tally.steps} actions{share}" if tally.steps else "an unknown share of the actions"
