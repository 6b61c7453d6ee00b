from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from soar.datasets import HindsightSampler
from soar.datasets.grasp_reweighting import balanced_by_place, grasp_places
from tests.episodes.builders import GRASP_STEPS, grasping


def scattered(x: float, count: int = 400, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal([x, 0.0], [0.04, 0.07], (count, 2))


def test_a_grasp_is_where_the_gripper_closes_around_something() -> None:
    places = np.array([[0.3, 0.1], [0.2, -0.1]])
    np.testing.assert_allclose(grasp_places(grasping(places, [5, 11])), places, rtol=1e-6)
    assert np.isnan(grasp_places(grasping(places, opening=0.0))).all(), "the fingers met"
    never = grasping(places)
    never.actions_ND[:GRASP_STEPS, 6] = 1
    np.testing.assert_allclose(grasp_places(never)[1], places[1], rtol=1e-6)
    assert np.isnan(grasp_places(never)[0]).all()


def test_the_first_grasp_that_holds_counts_and_episodes_do_not_look_into_each_other() -> None:
    arrays = grasping(np.array([[0.3, 0.1], [0.2, -0.1]]))
    arrays.actions_ND[1, 6] = 0  # closes and opens again; four steps later the fingers have met
    arrays.states_ND[5, 6] = 0
    np.testing.assert_allclose(grasp_places(arrays)[0], [0.3, 0.1], rtol=1e-6)
    begins_closed = grasping(np.array([[0.3, 0.1], [0.2, -0.1]]))
    begins_closed.actions_ND[GRASP_STEPS + 1 : -1, 6] = 0  # the second episode is closed from its first step on
    assert np.isnan(grasp_places(begins_closed)[1]).all()


def test_weights_bring_the_places_of_practice_to_those_of_the_reference() -> None:
    practice, reference = grasping(scattered(0.33)), grasping(scattered(0.28, seed=1))
    weights_N = balanced_by_place(practice, reference)
    assert weights_N.shape == (len(practice.states_ND),)
    assert weights_N.min() >= 0.1 - 1e-9
    assert weights_N.max() <= 10 + 1e-9
    sampler = HindsightSampler(practice, weights=weights_N)
    rows = sampler.sample(np.random.default_rng(0), 50_000).observation_indices
    x_E = grasp_places(practice)[:, 0]
    assert x_E.mean() == pytest.approx(0.33, abs=0.005)
    assert x_E[practice.episode_N[rows]].mean() == pytest.approx(0.28, abs=0.012)
    np.testing.assert_allclose(balanced_by_place(practice, practice), 1)


def test_what_grasps_nothing_or_too_little_is_drawn_as_before() -> None:
    reference = grasping(scattered(0.28))
    practice = grasping(scattered(0.33, count=20))
    practice.actions_ND[:GRASP_STEPS, 6] = 1
    weights_N = balanced_by_place(practice, reference)
    assert (weights_N[: GRASP_STEPS + 1] == 1).all()
    assert (weights_N[GRASP_STEPS + 1 :] != 1).any()
    few = grasping(scattered(0.33, count=9))
    assert (balanced_by_place(few, reference) == 1).all()
    assert (balanced_by_place(practice, few) == 1).all()
