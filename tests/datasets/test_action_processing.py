from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from soar.datasets import StepArrays, action_statistics, drop_empty, drop_idle, gripper_moments, steady_gripper, sum_actions
from tests.episodes.builders import make_arrays


def still(steps: int, moved_m: NDArray[np.floating] | None = None) -> StepArrays:
    """One episode in which the gripper is open and moves along x by `moved_m` (steps + 1,) from the start."""
    states_ND = np.zeros((steps + 1, 7), np.float32)
    states_ND[:, 6] = 1
    if moved_m is not None:
        states_ND[:, 0] = moved_m
    actions_ND = np.zeros((steps + 1, 7), np.float32)
    actions_ND[:, 6] = 1
    actions_ND[-1] = np.nan
    return make_arrays([steps], states_ND=states_ND, actions_ND=actions_ND)


def test_consecutive_motions_are_summed_within_an_episode_only() -> None:
    arrays = make_arrays([3, 2])  # rows 0 1 2 | 3 ends, rows 4 5 | 6 ends; every action is its row's number
    summed = sum_actions(arrays).actions_ND
    assert summed[[0, 1, 2, 4, 5], 0].tolist() == [1, 3, 2, 9, 5]
    np.testing.assert_array_equal(summed[:, 0], summed[:, 5])


def test_summing_keeps_each_steps_gripper_target_and_the_rest() -> None:
    arrays = make_arrays([3, 2])
    summed = sum_actions(arrays)
    np.testing.assert_array_equal(summed.actions_ND[:, 6], arrays.actions_ND[:, 6])
    assert np.isnan(summed.actions_ND[[3, 6]]).all()
    assert summed.states_ND is arrays.states_ND
    assert arrays.actions_ND[0, 0] == 0, "the input is not changed"


def test_a_gripper_that_rests_is_idle() -> None:
    assert not drop_idle(still(8)).any()


def test_a_gripper_that_moves_is_not_idle_and_the_last_row_is_never_kept() -> None:
    assert drop_idle(still(8, np.arange(9) * 0.01)).tolist() == [True] * 8 + [False]


def test_slow_motion_is_measured_over_the_window() -> None:
    assert not drop_idle(still(8, np.arange(9) * 0.0039)).any()
    assert drop_idle(still(8, np.arange(9) * 0.0041))[:-1].all()


def test_only_the_windows_that_see_the_motion_are_kept() -> None:
    moved = np.where(np.arange(11) >= 6, 0.05, 0.0)  # between observations 5 and 6
    assert np.flatnonzero(drop_idle(still(10, moved))).tolist() == [3, 4, 5]


def test_the_last_full_window_decides_about_the_end_of_an_episode() -> None:
    moved = np.where(np.arange(11) >= 8, 0.05, 0.0)  # between observations 7 and 8, in the window 7 to 10
    assert np.flatnonzero(drop_idle(still(10, moved))).tolist() == [5, 6, 7, 8, 9]


def test_a_gripper_that_opens_or_closes_in_place_is_not_idle() -> None:
    arrays = still(10)
    arrays.states_ND[6:, 6] = 0.3
    assert np.flatnonzero(drop_idle(arrays)).tolist() == [3, 4, 5]


def test_the_step_that_commands_the_gripper_to_close_is_kept() -> None:
    arrays = still(10)
    arrays.actions_ND[6:-1, 6] = 0.0
    kept = drop_idle(arrays)
    assert kept[6]
    assert not kept[[0, 1, 2, 8]].any()


def test_moments_of_the_gripper_lie_around_a_change_of_its_target_within_the_episode() -> None:
    arrays = make_arrays([8, 3])
    arrays.actions_ND[:, 6] = 1
    arrays.actions_ND[4:8, 6] = 0  # closes at step 4 and stays closed
    arrays.actions_ND[11, 6] = 0  # the last action of the second episode, which begins open
    arrays.actions_ND[[8, 12]] = np.nan
    assert np.flatnonzero(gripper_moments(arrays)).tolist() == [3, 4, 5, 6, 10, 11]
    assert np.flatnonzero(gripper_moments(arrays, before=0, after=0)).tolist() == [4, 11]
    assert not gripper_moments(still(5)).any()


def with_gripper(targets: str) -> StepArrays:
    """One episode of the targets: o is open, c is closed."""
    arrays = still(len(targets))
    arrays.actions_ND[:-1, 6] = [float(target == "o") for target in targets]
    return arrays


@pytest.mark.parametrize(
    ("asked", "steady"),
    [
        ("ooooccccoooo", "ooooccccoooo"),
        ("ooocoococccoccco", "ooooooooccccccco"),  # what flickers stays as it was; the end may cut a change short
        ("cooooo", "oooooo"),  # nothing was there before
        ("cocococo", "oooooooo"),
        ("ccc", "ccc"),
    ],
)
def test_a_change_of_the_gripper_that_does_not_last_is_undone(asked: str, steady: str) -> None:
    before = with_gripper(asked)
    after = steady_gripper(before).actions_ND
    assert "".join("o" if target else "c" for target in after[:-1, 6]) == steady
    assert np.isnan(after[-1]).all()
    np.testing.assert_array_equal(before.actions_ND, with_gripper(asked).actions_ND, "the input is not changed")


def test_what_leads_to_a_gripper_closed_around_nothing_is_left_out() -> None:
    arrays = with_gripper("oooooccccoooocccccoooo")
    arrays.states_ND[6:9, 6] = 0.3
    arrays.states_ND[7:9, 6] = 0.0  # the fingers meet
    arrays.states_ND[9, 6] = 0.0  # still, while they are told to open
    arrays.states_ND[14:18, 6] = 0.4  # held by a thing
    assert np.flatnonzero(drop_empty(arrays, ahead_steps=4)).tolist() == [0, 1, 2, *range(9, 22)]
    assert np.flatnonzero(drop_empty(arrays, ahead_steps=0)).tolist() == [*range(7), *range(9, 22)]
    following = make_arrays([4, 4])
    following.actions_ND[:, 6] = 0
    following.states_ND[:, 6] = 1
    following.states_ND[5, 6] = 0  # at the first step of the second episode
    assert np.flatnonzero(drop_empty(following)).tolist() == [0, 1, 2, 3, 6, 7, 8]


def test_episodes_do_not_look_into_each_other() -> None:
    arrays = make_arrays([4, 4], states_ND=np.repeat([[0.0] * 7, [9.0] * 7], 5, 0).astype(np.float32))
    arrays.actions_ND[:, 6] = 1
    assert not drop_idle(arrays).any()


def test_episodes_shorter_than_the_window_are_judged_whole() -> None:
    assert drop_idle(still(2, np.array([0, 0.01, 0.02]))).tolist() == [True, True, False]
    assert not drop_idle(still(1)).any()


def test_statistics_are_of_the_actions_alone_and_leave_the_gripper_as_it_is() -> None:
    arrays = make_arrays([2, 1])  # actions 0 1 | 3
    arrays.actions_ND[:, 5] = np.where(np.isnan(arrays.actions_ND[:, 5]), np.nan, 0.5)
    statistics = action_statistics(arrays)
    np.testing.assert_allclose(statistics.mean, [4 / 3] * 5 + [0.5, 0])
    np.testing.assert_allclose(statistics.std[[0, 6]], [np.std([0, 1, 3]), 1], rtol=1e-6)
    assert 0 < statistics.std[5] < 1e-3, "a constant dimension can be divided by"
    assert statistics.mean.dtype == statistics.std.dtype == np.float32
