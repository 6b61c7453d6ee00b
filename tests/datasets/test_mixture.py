from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.datasets import HindsightSampler, Mixture, co_training_weights
from soar.episodes import jpeg as frames
from soar.errors import StoreError
from tests.episodes.builders import make_arrays


def test_samples_come_from_the_sources_by_weight() -> None:
    sources = [HindsightSampler(make_arrays([length])) for length in (5, 50)]
    mixture = Mixture([("pretraining", sources[0], 3.0), ("autonomous", sources[1], 1.0)])
    assert mixture.names == ("pretraining", "autonomous")
    np.testing.assert_allclose(mixture.weights, [0.75, 0.25])
    batch = mixture.sample(np.random.default_rng(0), 20_000)
    assert (batch.source_B == 1).mean() == pytest.approx(0.25, abs=0.02)


def test_images_actions_and_states_of_a_sample_belong_together() -> None:
    near = make_arrays([40])
    far = make_arrays([40], states_ND=near.states_ND + 1000, actions_ND=near.actions_ND + 1000)
    mixture = Mixture(
        [("near", HindsightSampler(near, window=(0, 3)), 0.5), ("far", HindsightSampler(far, window=(8, 9)), 0.5)]
    )
    batch = mixture.sample(np.random.default_rng(0), 256)
    assert batch.observation_BHWC.shape == (256, 2, 2, 3)
    assert batch.observation_BHWC.dtype == np.uint8
    offset = 1000 * batch.source_B
    row = batch.observation_states_BD[:, 0] - offset
    goal = batch.goal_states_BD[:, 0] - offset
    np.testing.assert_array_equal(batch.observation_BHWC[:, 0, 0, 0], row)
    np.testing.assert_array_equal(batch.goal_BHWC[:, 1, 1, 2], goal)
    np.testing.assert_array_equal(batch.actions_BD[:, 3] - offset, row)
    ahead = goal - row
    assert ahead[batch.source_B == 0].max() == 3
    assert ahead[(batch.source_B == 1) & (row < 30)].min() == 8


def test_an_imagined_goal_is_the_image_of_the_subgoal_at_the_size_of_the_frames() -> None:
    jpegs = tuple(frames.encode(np.full((8, 8, 3), grey, np.uint8)) for grey in (200, 250))
    imagining = HindsightSampler(
        make_arrays([4], pursued_N=np.array([0, 0, 1, 1, -1]), subgoals=jpegs), imagined=0.5, window=(1, 1)
    )
    mixture = Mixture([("plain", HindsightSampler(make_arrays([4]), window=(1, 1)), 0.5), ("own", imagining, 0.5)])
    batch = mixture.sample(np.random.default_rng(0), 400)
    row, goal = batch.observation_states_BD[:, 0].astype(int), batch.goal_BHWC[:, 0, 0, 0].astype(int)
    imagined = goal >= 100
    assert 60 < imagined.sum() < 140
    assert (batch.source_B[imagined] == 1).all()
    assert np.abs(goal - np.where(imagined, np.where(row < 2, 200, 250), row + 1)).max() <= 2
    # What the arm's pose is compared with is where the pursuit ended.
    np.testing.assert_array_equal(batch.goal_states_BD[:, 0], np.where(imagined, np.where(row < 2, 2, 4), row + 1))


def test_a_source_of_weight_zero_is_never_drawn() -> None:
    sampler = HindsightSampler(make_arrays([5]))
    assert not Mixture([("a", sampler, 1), ("b", sampler, 0)]).sample(np.random.default_rng(0), 500).source_B.any()


def test_equal_seeds_draw_equal_batches() -> None:
    sampler = HindsightSampler(make_arrays([20, 30]))
    mixture = Mixture([("a", sampler, 1), ("b", sampler, 1)])
    first, second = (mixture.sample(np.random.default_rng(3), 32) for _ in range(2))
    np.testing.assert_array_equal(first.source_B, second.source_B)
    np.testing.assert_array_equal(first.goal_BHWC, second.goal_BHWC)


@pytest.mark.parametrize("weights", [[], [0.0], [-1.0, 2.0], [np.nan]])
def test_weights_that_make_no_distribution_are_refused(weights: list[float]) -> None:
    sampler = HindsightSampler(make_arrays([5]))
    with pytest.raises(ValueError, match="not negative and not all zero"):
        Mixture([("a", sampler, weight) for weight in weights])


def test_sources_of_different_image_sizes_are_refused() -> None:
    other = make_arrays([1], images_NHWC=np.zeros((2, 4, 4, 3), np.uint8))
    with pytest.raises(StoreError, match="a, b have images of different sizes"):
        Mixture([("a", HindsightSampler(make_arrays([1])), 1), ("b", HindsightSampler(other), 1)])


@pytest.mark.parametrize(
    ("pretraining", "autonomous", "expected"),
    [(1000, 30, 0.3), (1000, 0, 0.0), (1000, 900, 0.5), (0, 10, 1.0)],
    ids=["the paper's example", "nothing collected", "capped", "nothing to co-train with"],
)
def test_autonomous_data_is_up_sampled_ten_times(pretraining: int, autonomous: int, expected: float) -> None:
    assert co_training_weights(pretraining, autonomous) == pytest.approx((1 - expected, expected))


@given(st.integers(1, 10**9), st.integers(0, 10**9), st.floats(0, 100), st.floats(0, 1))
def test_weights_sum_to_one_and_respect_the_cap(pretraining: int, autonomous: int, upsampling: float, cap: float) -> None:
    weights = co_training_weights(pretraining, autonomous, upsampling, cap)
    assert sum(weights) == pytest.approx(1)
    assert 0 <= weights[1] <= cap


@pytest.mark.parametrize("arguments", [(0, 0), (-1, 5), (5, -1), (5, 5, 10.0, 1.5)])
def test_weights_of_nothing_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no weights for"):
        co_training_weights(*arguments)
