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
from soar.run_claim import RunClaim
from soar.run_orders import Orders, Standing
from tests.conftest import Pretrained
from tests.improve.tiny import SCENE, write


def changed(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """Return how many pixels differ by more than the camera's noise."""
    return int((np.abs(one.astype(int) - other).max(-1) > 8).sum())


def collect_on(tmp_path: Path, pretrained: Pretrained, name: str, *, claim: RunClaim | None = None, **changes: object) -> int:
    """Collect with one robot that has the tiny models."""
    weights = pretrained.weights
    config = load_preset(pretrained.preset).improvement.collection
    return collect(
        Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
        workcell=f"sim:{write(tmp_path, 'one.yaml', SCENE)}",
        store=tmp_path / name / "dataset",
        journal=tmp_path / name / "journal.jsonl",
        run="run",
        round=0,
        seed=0,
        config=dataclasses.replace(config, robots=1, **changes),
        workers=1,
        image_size=64,
        claim=claim,
    )


def last_table(
    tmp_path: Path, pretrained: Pretrained, name: str, *, set_table_every: int, stops: list[int]
) -> NDArray[np.uint8]:
    """Collect up to each of the numbers of episodes, with one robot; return the picture with which the last one began."""
    for episodes in stops:
        collect_on(tmp_path, pretrained, name, episodes=episodes, set_table_every=set_table_every)
    store = EpisodeStore(tmp_path / name / "dataset")
    return store.read(max(record.id for record in store.episodes())).images_THWC[0]


def test_a_table_is_set_anew_every_few_attempts_as_for_a_robot_that_begins(tmp_path: Path, pretrained: Pretrained) -> None:
    anew = last_table(tmp_path, pretrained, "anew", set_table_every=2, stops=[3])
    begun_again = last_table(tmp_path, pretrained, "again", set_table_every=0, stops=[2, 3])
    left = last_table(tmp_path, pretrained, "left", set_table_every=0, stops=[3])
    # The arm, which has moved since, is not where it was to the last pixel.
    assert 5 * changed(anew, begun_again) < changed(left, begun_again)


def test_an_order_for_another_policy_that_somebody_wrote_by_hand_ends_no_call(
    tmp_path: Path, pretrained: Pretrained, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "mine"
    run.mkdir()
    (run / "orders.json").write_text('{"schema": 1, "deploy": {"by": "ada", "time_s": 1.0, "policy": 3}}')
    assert collect_on(tmp_path, pretrained, "mine", claim=RunClaim(folder=run, command="soar collect"), episodes=2) == 2
    assert "ada asked for policy 3" in caplog.text
    assert "takes no other policy" in caplog.text
    assert Orders(run).now() == Standing()


def test_a_table_cannot_be_set_more_often_than_before_every_attempt() -> None:
    with pytest.raises(ConfigError, match="set_table_every must be at least 1, or 0 for never; got -1"):
        CollectionConfig(set_table_every=-1)
