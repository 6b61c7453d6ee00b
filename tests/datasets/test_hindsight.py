from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.datasets import HindsightSampler, balanced_by_instruction
from soar.datasets.hindsight import Goals
from soar.errors import StoreError
from tests.episodes.builders import make_arrays

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=8)
kinds = st.sampled_from(get_args(Goals))
windows = st.tuples(st.integers(0, 12), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(
    lengths=lengths,
    window=windows,
    goals=kinds,
    discount=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_a_goal_never_leaves_its_episode_nor_precedes_its_observation(
    lengths: list[int], window: tuple[int, int], goals: Goals, discount: float, seed: int, data: st.DataObject
) -> None:
    arrays = make_arrays(lengths)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(arrays.states_ND), max_size=len(arrays.states_ND))))
    weights = np.array(data.draw(st.lists(st.floats(0, 10), min_size=len(arrays.states_ND), max_size=len(arrays.states_ND))))
    drawable = kept & arrays.has_action_N & (weights > 0)
    if not drawable.any():
        with pytest.raises(StoreError, match="no step"):
            HindsightSampler(arrays, window=window, kept=kept, weights=weights)
        return
    sampler = HindsightSampler(arrays, window=window, goals=goals, discount=discount, kept=kept, weights=weights)
    pairs = sampler.sample(np.random.default_rng(seed), 64)

    episode = arrays.episode_N[pairs.observation_indices]
    last = (arrays.starts_E + arrays.lengths_E)[episode]
    ahead = pairs.goal_indices - pairs.observation_indices
    assert (arrays.episode_N[pairs.goal_indices] == episode).all()
    assert (ahead >= 0).all()
    if goals != "last-state-upweighted":
        assert (ahead <= window[1]).all()
        assert ((ahead >= window[0]) | (pairs.goal_indices == last)).all()
    assert drawable[pairs.observation_indices].all()
    assert len(sampler) == drawable.sum()
    np.testing.assert_array_equal(pairs.actions_BD, arrays.actions_ND[pairs.observation_indices])


def test_goals_are_uniform_over_the_window_and_pile_up_at_the_end() -> None:
    pairs = HindsightSampler(make_arrays([10]), window=(0, 3)).sample(np.random.default_rng(0), 40_000)
    ahead = pairs.goal_indices - pairs.observation_indices
    early = ahead[pairs.observation_indices == 2]
    np.testing.assert_allclose(np.bincount(early, minlength=4) / len(early), [0.25] * 4, atol=0.03)
    late = ahead[pairs.observation_indices == 9]
    np.testing.assert_allclose(np.bincount(late, minlength=2) / len(late), [0.25, 0.75], atol=0.03)


def shares(goals: Goals, observation: int, **options: Any) -> list[float]:
    """How often each row is the goal of an observation, in an episode of 10 actions."""
    sampler = HindsightSampler(make_arrays([10]), goals=goals, **options)
    pairs = sampler.sample(np.random.default_rng(0), 200_000)
    chosen = pairs.goal_indices[pairs.observation_indices == observation]
    counts: list[float] = (np.bincount(chosen, minlength=11) / len(chosen)).tolist()
    return counts


def test_delta_goals_are_uniform_over_what_the_episode_leaves_of_the_window() -> None:
    np.testing.assert_allclose(shares("delta", 2, window=(1, 3)), [0] * 3 + [1 / 3] * 3 + [0] * 5, atol=0.02)
    np.testing.assert_allclose(shares("delta", 8, window=(1, 3)), [0] * 9 + [1 / 2] * 2, atol=0.02)
    np.testing.assert_allclose(shares("delta", 8, window=(5, 9)), [0] * 10 + [1], atol=0)


def test_geometric_goals_get_rarer_by_the_discount_and_do_not_pile_up_at_the_end() -> None:
    weights = np.array([1, 0.5, 0.25])
    expected = weights / weights.sum()
    np.testing.assert_allclose(
        shares("geometric", 2, window=(1, 3), discount=0.5), [0] * 3 + expected.tolist() + [0] * 5, atol=0.02
    )
    np.testing.assert_allclose(shares("geometric", 8, window=(1, 30), discount=0.5), [0] * 9 + [2 / 3, 1 / 3], atol=0.02)


def test_the_last_state_is_the_goal_more_often_the_later_the_observation() -> None:
    np.testing.assert_allclose(shares("last-state-upweighted", 0), [0] + [0.1] * 10, atol=0.02)
    np.testing.assert_allclose(shares("last-state-upweighted", 8), [0] * 9 + [0.1, 0.9], atol=0.02)


def test_goals_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="one of uniform, geometric, last-state-upweighted, delta, got 'nearest'"):
        HindsightSampler(make_arrays([3]), goals="nearest")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        HindsightSampler(make_arrays([3]), goals="geometric", discount=1)


def test_steps_are_uniform_and_the_last_observation_is_only_ever_a_goal() -> None:
    arrays = make_arrays([4, 1])
    pairs = HindsightSampler(arrays).sample(np.random.default_rng(0), 50_000)
    share = np.bincount(pairs.observation_indices, minlength=7) / 50_000
    np.testing.assert_allclose(share, [0.2, 0.2, 0.2, 0.2, 0, 0.2, 0], atol=0.01)
    assert {4, 6} <= set(pairs.goal_indices.tolist())


def test_weights_say_how_often_each_step_is_drawn() -> None:
    arrays = make_arrays([4, 1])
    sampler = HindsightSampler(arrays, weights=np.array([1.0, 1, 1, 1, 1, 4, 4]))
    observations = sampler.sample(np.random.default_rng(0), 50_000).observation_indices
    assert (observations == 5).mean() == pytest.approx(0.5, abs=0.01)


def test_balancing_draws_every_instruction_equally_often() -> None:
    arrays = make_arrays([10, 10, 10, 5], instructions=("remove", "remove", "remove", "put"))
    sampler = HindsightSampler(arrays, weights=balanced_by_instruction(arrays))
    observations = sampler.sample(np.random.default_rng(0), 50_000).observation_indices
    assert (arrays.episode_N[observations] == 3).mean() == pytest.approx(0.5, abs=0.01)


def test_imagined_goals_are_what_was_pursued_and_their_rows_are_where_the_pursuit_ended() -> None:
    # Two episodes; a subgoal at steps 0 and 2 of the first, none at the first step of the second.
    arrays = make_arrays([4, 3], pursued_N=np.array([0, 0, 1, 1, -1, -1, 2, 2, -1]), subgoals=(b"0", b"1", b"2"))
    pairs = HindsightSampler(arrays, imagined=1.0, window=(0, 0)).sample(np.random.default_rng(0), 500)
    found = set(zip(pairs.observation_indices.tolist(), pairs.subgoals_B.tolist(), pairs.goal_indices.tolist(), strict=True))
    assert found == {(0, 0, 2), (1, 0, 2), (2, 1, 4), (3, 1, 4), (5, -1, 5), (6, 2, 8), (7, 2, 8)}

    some = HindsightSampler(arrays, imagined=0.25, window=(0, 0)).sample(np.random.default_rng(0), 50_000)
    assert (some.subgoals_B[some.observation_indices != 5] >= 0).mean() == pytest.approx(0.25, abs=0.01)
    assert (HindsightSampler(arrays).sample(np.random.default_rng(0), 500).subgoals_B == -1).all()


@pytest.mark.parametrize("share", [-0.1, 1.1, np.nan])
def test_a_share_of_imagined_goals_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="the share of imagined goals must be in"):
        HindsightSampler(make_arrays([3], pursued_N=np.full(4, -1)), imagined=share)
    with pytest.raises(ValueError, match="0 for arrays without subgoals"):
        HindsightSampler(make_arrays([3]), imagined=0.5)


def test_equal_seeds_draw_equal_pairs() -> None:
    sampler = HindsightSampler(make_arrays([20, 30]))
    first, second = (sampler.sample(np.random.default_rng(5), 16) for _ in range(2))
    np.testing.assert_array_equal(first.observation_indices, second.observation_indices)
    np.testing.assert_array_equal(first.goal_indices, second.goal_indices)


@pytest.mark.parametrize("window", [(-1, 3), (4, 3)])
def test_an_impossible_window_is_refused(window: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="0 <= low <= high"):
        HindsightSampler(make_arrays([3]), window=window)


def test_masks_and_weights_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry a row"):
        HindsightSampler(make_arrays([3]), kept=np.ones(3, bool))
    for weights in ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0], [1.0, 1.0, 1.0, np.nan]):
        with pytest.raises(ValueError, match="4 finite numbers, none negative"):
            HindsightSampler(make_arrays([3]), weights=np.array(weights))


def test_reflexes_are_not_imitated_and_no_goal_lies_beyond_one() -> None:
    reflex_N = np.zeros(13, bool)
    reflex_N[[4, 5]] = True
    sampler = HindsightSampler(make_arrays([9, 2], reflex_N=reflex_N), window=(0, 24))
    pairs = sampler.sample(np.random.default_rng(0), 4000)
    assert set(pairs.observation_indices.tolist()) == {0, 1, 2, 3, 6, 7, 8, 10, 11}
    before, after = pairs.observation_indices < 4, (pairs.observation_indices >= 6) & (pairs.observation_indices < 9)
    assert pairs.goal_indices[before].max() == 4  # what the policy reached, where the reflex begins
    assert pairs.goal_indices[after].max() == 9
    assert pairs.goal_indices[~before & ~after].max() == 12
