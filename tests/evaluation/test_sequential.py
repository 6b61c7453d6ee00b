"""What the sequential test promises, computed exactly: all paths of the coin, not a sample of them."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.evaluation.sequential import LEVEL, anytime_p, decide, log_e, share_interval


def probability_of_ever(refused, share: float, flips: int) -> float:
    """Probability that a coin with that share is in a state (wins, losses) that is refused, at any moment until then."""
    alive, ever = Counter({(0, 0): 1.0}), 0.0
    for _ in range(flips):
        after: Counter[tuple[int, int]] = Counter()
        for (wins, losses), p in alive.items():
            for state, q in (((wins + 1, losses), p * share), ((wins, losses + 1), p * (1 - share))):
                if refused(*state):
                    ever += q
                else:
                    after[state] += q
        alive = after
    return ever


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_equally_good_policies_are_told_apart_at_most_as_often_as_the_level_says_however_often_one_looks(level: float) -> None:
    def wrong(wins: int, losses: int) -> bool:
        return decide(wins, losses, 1000, level) in ("first", "second")

    false_positives = probability_of_ever(wrong, 0.5, 300)
    assert level / 10 < false_positives <= level


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
def test_the_interval_of_the_share_holds_at_all_moments_together(share: float) -> None:
    def missed(wins: int, losses: int) -> bool:
        low, high = share_interval(wins, losses)
        return not low <= share <= high

    assert probability_of_ever(missed, share, 60) <= LEVEL


def test_a_fixed_test_that_is_looked_at_again_and_again_would_not_hold_its_level() -> None:
    def tail(wins: int, losses: int) -> float:
        n, most = wins + losses, max(wins, losses)
        return min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)

    assert probability_of_ever(lambda wins, losses: tail(wins, losses) < LEVEL, 0.5, 300) > 2 * LEVEL


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0, 1))
def test_the_value_of_the_bet_is_fair_from_every_state(seed: int, flips: int, share: float) -> None:
    wins = int(np.random.default_rng(seed).binomial(flips, share))
    losses = flips - wins
    expected = (math.exp(log_e(wins + 1, losses)) + math.exp(log_e(wins, losses + 1))) / 2
    assert expected == pytest.approx(math.exp(log_e(wins, losses)), rel=1e-9)
    assert anytime_p(wins, losses) == anytime_p(losses, wins)


def test_a_clear_difference_is_seen_after_few_starts_and_on_the_right_side() -> None:
    assert log_e(0, 0) == pytest.approx(0)
    assert [decide(wins, 0, 50) for wins in (5, 6, 7)] == [None, None, "first"]
    assert decide(0, 7, 0) == "second"
    low, high = share_interval(7, 0)
    assert 0.5 < low < 0.7
    assert high == 1.0


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_one_stops_undecided_only_when_nothing_that_is_left_could_decide(wins: int, losses: int, left: int) -> None:
    said = decide(wins, losses, left)
    ahead = [
        decide(wins + more, losses + other, left - more - other) for more in range(left + 1) for other in range(left - more + 1)
    ]
    assert (said == "undecided") == ({"first", "second"}.isdisjoint(ahead))
