from __future__ import annotations

from dataclasses import replace

import pytest

from soar.errors import SoarError
from soar.evaluation import Rate, fisher_p, not_worse
from soar.evaluation.comparison import compare
from soar.evaluation.promotion import Practice, practised_not_worse

from .examples import evaluation


def judged(candidate: list[int], deployed: list[int]):
    return not_worse(evaluation(candidate, "candidate", "policy-001"), evaluation(deployed, "deployed", "policy-000"))


def test_an_equal_or_better_candidate_is_promoted() -> None:
    assert judged([1, 0] * 10, [1, 0] * 10).promote
    verdict = judged([1] * 20, [1, 0] * 10)
    assert verdict.promote
    assert verdict.sentence.endswith("for the candidate being better, one-sided: p < .001).")
    assert verdict.sentence.startswith(
        "Promoted policy-001: it is significantly better than policy-000. Candidate 20/20 = 1.00 ["
    )


def test_a_significantly_worse_candidate_is_refused() -> None:
    verdict = judged([0] * 5 + [1] * 195, [1] * 200)
    assert verdict.p_worse == pytest.approx(1 / 32)
    assert not verdict.promote
    assert "Kept policy-000: policy-001 is significantly worse" in verdict.sentence
    assert verdict.sentence.endswith(
        "for the candidate being worse, one-sided: p = .031; refused below .05, or if lower by more than .05)."
    )


def test_a_loss_beyond_the_margin_is_refused_without_significance() -> None:
    verdict = judged([1, 0, 0, 0] * 4, [1, 0, 0, 0] * 3 + [1, 1, 0, 0])
    assert verdict.p_worse == 0.5
    assert not verdict.promote
    assert "more than the tolerated .05" in verdict.sentence


def test_a_loss_of_the_margin_is_tolerated() -> None:
    assert judged([1, 0] * 9 + [0, 0], [1, 0] * 10).promote


def test_nothing_is_promoted_without_trials() -> None:
    assert not judged([], []).promote


def test_different_starts_are_refused() -> None:
    with pytest.raises(SoarError, match="equal starts"):
        judged([1, 1], [1])


def test_where_nobody_restored_the_starts_nothing_is_paired() -> None:
    better = [1] * 12 + [0] * 8
    first, second = evaluation(better, "a", "policy-000"), evaluation(better[::-1], "b", "policy-001")
    found = replace(second, restored=False)
    verdict = not_worse(found, first)
    assert "nobody restored the starts" in verdict.sentence
    assert "of the same starts" not in verdict.sentence
    assert verdict.p_worse == pytest.approx(fisher_p(first.rate(), second.rate()))
    said = compare(first, found).sentence
    assert "Nobody restored the starts" in said
    assert "only with" not in said


def practised(successes: int, trials: int, policy: str) -> Practice:
    return Practice(policy=policy, judged=Rate(successes=successes, trials=trials), judge="vqa-1")


@pytest.mark.parametrize(
    ("candidate", "deployed", "promote", "words"),
    [
        ((20, 40), (20, 40), True, "Promoted new: it is not significantly worse than old"),
        ((38, 80), (20, 40), True, "Promoted new"),
        ((4, 40), (20, 40), False, "Kept old: new is significantly worse"),
        ((16, 40), (20, 40), False, "Kept old: new is lower by more than the tolerated .05"),
        ((0, 0), (20, 40), False, "Kept old: there are no trials to judge new by"),
    ],
)
def test_a_candidate_that_only_practised_stays_unless_it_was_judged_to_do_worse(
    candidate: tuple[int, int], deployed: tuple[int, int], promote: bool, words: str
) -> None:
    verdict = practised_not_worse(practised(*candidate, "new"), practised(*deployed, "old"))
    assert verdict.promote is promote
    assert verdict.sentence.startswith(words)
    assert "Not evaluated; judged by vqa-1 while practising" in verdict.sentence


def test_unpaired_rates_may_have_different_numbers_of_trials_and_say_what_was_left_out() -> None:
    old = replace(evaluation([1] * 5 + [0] * 5, "old", "policy-000"), restored=False)
    new = replace(evaluation([1] * 4 + [0] * 4, "new", "policy-001"), restored=False, done_before=(("scene", "task", 98),) * 2)
    verdict = not_worse(new, old)
    assert verdict.promote
    assert "2 starts of new not counted: the task was done already" in verdict.sentence
    assert "of old" not in verdict.sentence
    assert compare(old, new).promotion == verdict
    worse = replace(new, trials=new.trials[2:])
    assert not not_worse(worse, old).promote, "2 of 6 is lower than 5 of 10 by more than is tolerated"
    assert not not_worse(new, replace(old, trials=())).promote, "with nothing to compare"
