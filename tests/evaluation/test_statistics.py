from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from soar.errors import SoarError
from soar.evaluation.statistics import Rate, fisher_p, paired

rates = st.integers(1, 300).flatmap(lambda n: st.builds(Rate, successes=st.integers(0, n), trials=st.just(n)))


@given(rates)
def test_the_interval_is_wilsons(rate: Rate) -> None:
    expected = binomtest(rate.successes, rate.trials).proportion_ci(method="wilson")
    assert rate.interval == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert rate.interval[0] <= rate.value <= rate.interval[1]


def test_a_rate_reads_as_counts_value_and_interval() -> None:
    assert str(Rate(successes=12, trials=40)) == "12/40 = .30 [.18, .45]"
    assert str(Rate(successes=3, trials=3)) == "3/3 = 1.00 [.44, 1.00]"


def test_without_trials_nothing_is_known() -> None:
    empty = Rate(successes=0, trials=0)
    assert empty.interval == (0.0, 1.0)
    assert math.isnan(empty.value)
    assert str(empty) == "no trials"


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_an_impossible_rate_is_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="0 <= successes <= trials"):
        Rate(successes=successes, trials=trials)


def test_fishers_test_is_the_lady_tasting_tea() -> None:
    assert fisher_p(Rate(successes=3, trials=4), Rate(successes=1, trials=4)) == pytest.approx(17 / 70)
    assert fisher_p(Rate(successes=1, trials=4), Rate(successes=3, trials=4)) == pytest.approx(69 / 70)


def test_fishers_test_sees_the_papers_kind_of_gain_in_200_trials() -> None:
    assert fisher_p(Rate(successes=90, trials=200), Rate(successes=60, trials=200)) < 0.05
    assert fisher_p(Rate(successes=64, trials=200), Rate(successes=60, trials=200)) > 0.05


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemars_test_is_a_sign_test_of_the_starts_that_differ(outcomes: list[tuple[bool, bool]]) -> None:
    comparison = paired({i: a for i, (a, _) in enumerate(outcomes)}, {i: b for i, (_, b) in enumerate(outcomes)})
    assert comparison.only_first == outcomes.count((True, False))
    assert comparison.only_second == outcomes.count((False, True))
    if differ := comparison.only_first + comparison.only_second:
        for wins, p in (
            (comparison.only_first, comparison.p_first_better),
            (comparison.only_second, comparison.p_second_better),
        ):
            assert p == pytest.approx(binomtest(wins, differ, alternative="greater").pvalue)
    else:
        assert comparison.p_first_better == comparison.p_second_better == 1


def test_unequal_starts_cannot_be_paired() -> None:
    with pytest.raises(SoarError, match="1 are only in the first evaluation, 2 only in the second"):
        paired({1: True, 2: True}, {2: True, 3: False, 4: False})
