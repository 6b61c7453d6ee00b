"""Collection in the real simulator: when a table is set anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from soar.collect.config import CollectionConfig
from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.fleet.collection import collect
from soar.improve.preset import load_preset
from tests.conftest import Pretrained
from tests.improve.tiny import SCENE, write


def changed(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """Return how many pixels differ by more than the camera's noise."""
    return int((np.abs(one.astype(int) - other).max(-1) > 8).sum())


def last_table(
    tmp_path: Path, pretrained: Pretrained, name: str, *, set_table_every: int, stops: list[int]
) -> NDArray[np.uint8]:
    """Collect up to each of the numbers of episodes, with one robot; return the picture with which the last one began."""
    weights = pretrained.weights
    config = load_preset(pretrained.preset).improvement.collection
    for episodes in stops:
        collect(
            Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
            workcell=f"sim:{write(tmp_path, 'one.yaml', SCENE)}",
            store=tmp_path / name,
            journal=tmp_path / f"{name}.jsonl",
            run="run",
            round=0,
            seed=0,
            config=dataclasses.replace(config, episodes=episodes, robots=1, set_table_every=set_table_every),
            workers=1,
            image_size=64,
        )
    store = EpisodeStore(tmp_path / name)
    return store.read(max(record.id for record in store.episodes())).images_THWC[0]


def test_a_table_is_set_anew_every_few_attempts_as_for_a_robot_that_begins(tmp_path: Path, pretrained: Pretrained) -> None:
    anew = last_table(tmp_path, pretrained, "anew", set_table_every=2, stops=[3])
    begun_again = last_table(tmp_path, pretrained, "again", set_table_every=0, stops=[2, 3])
    left = last_table(tmp_path, pretrained, "left", set_table_every=0, stops=[3])
    # The arm, which has moved since, is not where it was to the last pixel.
    assert 5 * changed(anew, begun_again) < changed(left, begun_again)


def test_a_table_cannot_be_set_more_often_than_before_every_attempt() -> None:
    with pytest.raises(ConfigError, match="set_table_every must be at least 1, or 0 for never; got -1"):
        CollectionConfig(set_table_every=-1)
