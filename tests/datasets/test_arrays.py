from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soar.datasets import load_arrays, train_validation_split
from soar.episodes import EpisodeStore
from soar.episodes import jpeg as frames
from soar.errors import StoreError
from soar.types import Subgoal
from tests.episodes.builders import goal_images, judged, make_arrays, make_episode


def test_arrays_hold_the_matching_episodes_in_the_order_of_insertion(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    lengths = {"c": 3, "a": 5, "b": 2, "d": 4}
    episodes = {
        id: make_episode(id, steps=steps, seed=steps, labels=(judged(id != "b"),), instruction=f"do {id}")
        for id, steps in lengths.items()
    }
    store.append([episodes["c"], episodes["a"]])
    store.append(episodes["b"])
    store.append(episodes["d"])

    loaded = load_arrays(store, "length < 5")

    assert loaded.ids == ("c", "b", "d")
    assert loaded.instructions == ("do c", "do b", "do d")
    assert loaded.lengths_E.tolist() == [3, 2, 4]
    assert loaded.starts_E.tolist() == [0, 4, 7]
    assert loaded.probabilities_E.tolist() == [1, 0, 1]
    expected = [episodes[id] for id in loaded.ids]
    np.testing.assert_array_equal(loaded.states_ND, np.concatenate([episode.states_TD for episode in expected]))
    images_NHWC = np.concatenate([episode.images_THWC for episode in expected])
    assert np.abs(loaded.images_NHWC[np.arange(12)].astype(int) - images_NHWC).max() <= 3
    np.testing.assert_array_equal(loaded.actions_ND[loaded.has_action_N], np.concatenate([e.actions_TD for e in expected]))
    assert np.isnan(loaded.actions_ND[[3, 6, 11]]).all()


def test_subgoals_are_loaded_when_they_are_asked_for(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    plain, late = make_episode("plain", steps=2), make_episode("late", steps=3, seed=1)
    led = make_episode("led", steps=5, seed=2)
    store.append([led_by := replace(led, subgoals=goal_images(led)), plain])
    store.append(replace(late, subgoals=(Subgoal(step=1, image_HWC=late.images_THWC[3]),)))

    loaded = load_arrays(store, subgoals=True)
    assert loaded.pursued_N is not None
    assert loaded.pursued_N.tolist() == [0, 0, 1, 1, 1, -1, -1, -1, -1, -1, 2, 2, -1]
    wanted = [*(subgoal.image_HWC for subgoal in led_by.subgoals), late.images_THWC[3]]
    assert all(
        np.abs(frames.decode(jpeg).astype(int) - image).max() <= 3 for jpeg, image in zip(loaded.subgoals, wanted, strict=True)
    )

    chosen = loaded.select(np.array([False, False, True]))
    assert chosen.pursued_N is not None
    assert chosen.pursued_N.tolist() == [-1, 2, 2, -1]
    assert load_arrays(store).pursued_N is None


def test_probabilities_are_the_judges_own_if_it_gives_them(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    unsure = make_episode("c", labels=(judged(True, probability=0.75),))
    store.append([make_episode("a"), make_episode("b", labels=(judged(True, "simulator"),)), unsure])
    assert load_arrays(store).probabilities_E.tolist() == [0, 0, 0.75]


def test_no_matching_episode_is_one_clear_error(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append(make_episode("a"))
    with pytest.raises(StoreError, match=r"no episode where success; collect some"):
        load_arrays(store, "success")


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode("a", size=16), make_episode("b", size=32)])
    with pytest.raises(StoreError, match="16x16 and 32x32"):
        load_arrays(store)
    assert load_arrays(store, "id = 'b'").images_NHWC.shape == (6, 32, 32, 3)


def test_selected_episodes_stand_close_together() -> None:
    selected = make_arrays([3, 5, 2]).select(np.array([True, False, True]))
    assert selected.ids == ("e0", "e2")
    assert selected.starts_E.tolist() == [0, 4]
    assert selected.states_ND[:, 0].tolist() == [0, 1, 2, 3, 10, 11, 12]
    assert selected.images_NHWC[np.arange(7)][:, 0, 0, 0].tolist() == [0, 1, 2, 3, 10, 11, 12]
    assert selected.has_action_N.tolist() == [True, True, True, False, True, True, False]
    assert selected.episode_N.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_split_is_by_episode_and_by_seed() -> None:
    whole = make_arrays([2] * 20)
    train, validation = train_validation_split(whole, 0.25, seed=1)
    assert len(validation.ids) == 5
    assert sorted(train.ids + validation.ids) == sorted(whole.ids)
    assert train_validation_split(whole, 0.25, seed=1)[1].ids == validation.ids
    assert train_validation_split(whole, 0.25, seed=2)[1].ids != validation.ids


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_neither_side_of_a_split_is_empty(fraction: float) -> None:
    assert all(len(part.ids) for part in train_validation_split(make_arrays([1, 1, 1]), fraction, seed=0))


@pytest.mark.parametrize(("fraction", "episodes"), [(0.0, 5), (1.0, 5), (0.5, 1)])
def test_an_impossible_split_is_refused(fraction: float, episodes: int) -> None:
    with pytest.raises(ValueError, match="0 < fraction < 1 and at least 2"):
        train_validation_split(make_arrays([1] * episodes), fraction, seed=0)


def test_reflexes_are_loaded_are_no_pursuit_and_are_kept_by_a_selection(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    plain = make_episode("a", steps=4)
    store.append([plain, make_episode("b", steps=5, subgoals=goal_images(plain), reflex_steps=(3, 4))])
    arrays = load_arrays(store, subgoals=True)
    assert arrays.reflex_N is not None
    assert np.flatnonzero(arrays.reflex_N).tolist() == [8, 9]
    assert arrays.pursued_N is not None
    assert arrays.pursued_N.tolist() == [-1] * 5 + [0, 0, 1, -1, -1, -1]
    assert arrays.has_action_N.tolist() == [True] * 4 + [False] + [True] * 3 + [False] * 3
    chosen = arrays.select(np.array([False, True]))
    assert chosen.reflex_N is not None
    assert np.flatnonzero(chosen.reflex_N).tolist() == [3, 4]
    assert chosen.reached_N.tolist() == [3, 3, 3, 3, 4, 5]
    assert load_arrays(store, "id = 'a'").reflex_N is None
