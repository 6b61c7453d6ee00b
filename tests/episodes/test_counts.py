from __future__ import annotations

import json
from pathlib import Path

import pytest

from soar.episodes import EpisodeStore, dataset_statistics
from soar.types import Provenance

from .builders import judged, make_episode


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "s", mode="create")
    autonomous = Provenance(policy="base", vlm="vqa-1")
    store.append(make_episode("a", steps=3, instruction="put", labels=(judged(True),), provenance=autonomous))
    store.append(make_episode("b", steps=4, instruction="put", labels=(judged(False),), provenance=autonomous, scene="2"))
    store.append(make_episode("c", steps=5, instruction="remove", labels=(judged(None),), provenance=autonomous))
    store.append(make_episode("d", steps=6, instruction="put", provenance=Provenance(policy="demonstrator")))
    return store


def test_episodes_are_counted_by_task_scene_and_policy(store: EpisodeStore) -> None:
    statistics = dataset_statistics(store)
    assert statistics["total"] == {"attempts": 4, "labelled": 2, "successes": 1, "failures": 1, "steps": 18}
    assert statistics["by_task"]["put"] == {"attempts": 3, "labelled": 2, "successes": 1, "failures": 1, "steps": 13}
    assert {name: group["attempts"] for name, group in statistics["by_scene"].items()} == {"1": 3, "2": 1}
    assert {name: group["steps"] for name, group in statistics["by_policy"].items()} == {"base": 12, "demonstrator": 6}


def test_the_row_of_table_6(store: EpisodeStore) -> None:
    assert dataset_statistics(store)["table6"] == {
        "trajectories": 4,
        "environments": 2,
        "language": True,
        "failed_trajectories": True,
        "autonomous_share": 0.75,
    }


def test_a_filter_narrows_what_is_counted(store: EpisodeStore) -> None:
    statistics = dataset_statistics(store, "success")
    assert statistics["total"]["attempts"] == 1
    assert statistics["table6"]["failed_trajectories"] is False


def test_statistics_are_json_even_of_an_empty_store(tmp_path: Path, store: EpisodeStore) -> None:
    empty = dataset_statistics(EpisodeStore(tmp_path / "empty", mode="create"))
    assert empty["total"]["attempts"] == 0
    assert empty["by_task"] == {}
    for statistics in (empty, dataset_statistics(store)):
        assert json.loads(json.dumps(statistics)) == statistics
