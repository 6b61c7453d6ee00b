"""The gate between a candidate policy and the robots: it is deployed only when it is not worse than what is deployed now."""

from __future__ import annotations

from dataclasses import dataclass

from soar.evaluation.statistics import Rate, fisher_p, p_value, paired, short
from soar.evaluation.trials import Evaluation

LEVEL = 0.05
"""Significance at which a candidate counts as worse."""
MARGIN = 0.05
"""How much lower a candidate's rate may be before it is refused without significance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided about a candidate.

    Attributes:
        promote: Whether to deploy it.
        sentence: The verdict and the test, in words, for the report.
    """

    promote: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion(Verdict):
    """The verdict on a candidate, with what it is based on.

    Attributes:
        candidate: Its success rate.
        deployed: The success rate of the policy that is deployed now.
        p_worse: One-sided p-value for the candidate being worse.
    """

    candidate: Rate
    deployed: Rate
    p_worse: float


def not_worse(candidate: Evaluation, deployed: Evaluation, level: float = LEVEL, margin: float = MARGIN) -> Promotion:
    """Decide whether to promote a candidate.

    It is refused when it is significantly worse on the same seeded starts (McNemar's exact test, one-sided), or when its
    success rate is lower by more than `margin`: with few trials, a policy can be much worse without any test seeing it. Where
    nobody restored the starts, nothing is paired, and the test is Fisher's.

    Args:
        candidate: Trials of the new policy.
        deployed: Trials of the deployed policy on the same starts.
        level: Significance level of the test.
        margin: Largest loss of success rate that is tolerated, 0..1.

    Raises:
        SoarError: The trials' keys differ.
    """
    new, old = candidate.rate(), deployed.rate()
    if candidate.restored and deployed.restored:
        comparison = paired(candidate.outcomes(), deployed.outcomes())
        p_worse, p_better = comparison.p_second_better, comparison.p_first_better
        basis = (
            f"of the same starts, {comparison.only_first} succeeded only with the candidate and {comparison.only_second} only "
            "with the deployed policy (McNemar's exact test"
        )
    else:
        p_worse, p_better = (fisher_p(old, new), fisher_p(new, old)) if new.trials and old.trials else (1.0, 1.0)
        left_out = "".join(f", {one.left_out}" for one in (candidate, deployed) if one.left_out)
        basis = f"nobody restored the starts, which were not the same{left_out} (Fisher's exact test"
    # In counts, so that a loss of exactly the margin is not refused by rounding.
    both = new.trials * old.trials
    much_lower = old.successes * new.trials - new.successes * old.trials > margin * both + 1e-9
    verdict = _verdict(
        candidate.policy,
        deployed.policy,
        trials=both,
        better=p_better < level,
        significant=p_worse < level,
        much_lower=much_lower,
        margin=margin,
    )
    return Promotion(
        promote=bool(both) and p_worse >= level and not much_lower,
        candidate=new,
        deployed=old,
        p_worse=p_worse,
        sentence=f"{verdict}. Candidate {new}, deployed {old}; {basis} "
        + _tested(p_worse, p_better, level, f", or if lower by more than {short(margin)}"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """What a policy did while it practised, as a model judged it; what that could not judge is no success.

    Attributes:
        policy: Its id.
        judged: How often it succeeded, as judged.
        judge: Id of the model.
        true: How often it really did, as far as the workcell knows; None when it knows nothing.
    """

    policy: str
    judged: Rate
    judge: str
    true: Rate | None = None


def practised_not_worse(candidate: Practice, deployed: Practice, level: float = LEVEL, margin: float = MARGIN) -> Promotion:
    """Decide whether to keep a candidate that was never evaluated, but has practised.

    It is refused when its judged success rate is significantly lower than its predecessor's (Fisher's exact test, one-sided,
    since neither tasks nor starts were the same), or lower by more than `margin`.

    Args:
        candidate: The new policy.
        deployed: The policy from which it was to take over.
        level: Significance level of the test.
        margin: Largest loss of judged success rate that is tolerated, 0..1.
    """
    new, old = candidate.judged, deployed.judged
    p_worse, p_better = (fisher_p(old, new), fisher_p(new, old)) if new.trials and old.trials else (1.0, 1.0)
    much_lower = bool(new.trials and old.trials) and old.value - new.value > margin + 1e-9
    verdict = _verdict(
        candidate.policy,
        deployed.policy,
        trials=new.trials,
        better=p_better < level,
        significant=p_worse < level,
        much_lower=much_lower,
        margin=margin,
    )
    lower = f", or if lower by more than {short(margin)}" if margin < 1 else ""
    return Promotion(
        promote=bool(new.trials) and p_worse >= level and not much_lower,
        candidate=new,
        deployed=old,
        p_worse=p_worse,
        sentence=f"{verdict}. Not evaluated; judged by {candidate.judge} while practising: candidate {new}, deployed {old}, "
        "each with the tasks and from the starts that its practice brought (Fisher's exact test "
        + _tested(p_worse, p_better, level, lower),
    )


def _tested(p_worse: float, p_better: float, level: float, lower: str) -> str:
    """Return what was tested, and what came of it, to the end of the sentence."""
    if p_better < level:
        return f"for the candidate being better, one-sided: p {_equal(p_better)})."
    return f"for the candidate being worse, one-sided: p {_equal(p_worse)}; refused below {short(level)}{lower})."


def _equal(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _verdict(
    candidate: str, deployed: str, *, trials: int, better: bool, significant: bool, much_lower: bool, margin: float
) -> str:
    if significant:
        return f"Kept {deployed}: {candidate} is significantly worse"
    if much_lower:
        return f"Kept {deployed}: {candidate} is lower by more than the tolerated {short(margin)}"
    if not trials:
        return f"Kept {deployed}: there are no trials to judge {candidate} by"
    return (
        f"Promoted {candidate}: it is {'' if better else 'not '}significantly {'better' if better else 'worse'} than {deployed}"
    )
