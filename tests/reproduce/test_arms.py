"""An experiment with arms, on the smallest models with which it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from improve.conftest import Pretrained, pretrained
from improve.tiny import SCENE, write
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.results import read_results
from soar.improve.collecting import Models
from soar.reproduce.arms import Arm, Experiment, judged, mean_speed_m, reproduce

__all__ = ["pretrained"]

EXPERIMENT = """
scene: {scene}
episodes: 2
trials: 1
training_seeds: 2
headroom_worlds: 1
arms:
  pretrained: {{data: none}}
  faster: {{data: none, as_fast_as: improved}}
  improved: {{data: autonomous, success_only: false}}
  control: {{data: pretraining}}
"""


def test_every_arm_is_trained_and_measured_on_the_same_starts(tmp_path: Path, pretrained: Pretrained) -> None:
    experiment = write(tmp_path, "tiny.yaml", EXPERIMENT.format(scene=write(tmp_path, "one.yaml", SCENE)))
    weights = pretrained.weights
    said: list[str] = []

    def run(*only: str) -> None:
        reproduce(
            experiment,
            run=tmp_path / "run",
            models=Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
            preset=pretrained.preset,
            pretraining=pretrained.data / "demonstrations" / "episodes",
            results=tmp_path / "results" / "tiny.json",
            only=only,
            workers=1,
            report=lambda what, done, total, note: said.append(what),
        )

    run()
    rows = read_results(tmp_path / "results" / "tiny.json")["rows"]
    assert sorted((row["arm"], row["training_seed"]) for row in rows) == [
        ("control", 0),
        ("control", 1),
        ("faster", 0),
        ("improved", 0),
        ("improved", 1),
        ("pretrained", 0),
    ]
    assert {row["trials"] for row in rows} == {1}
    assert len({row["policy"] for row in rows if row["arm"] in ("control", "improved")}) == 4
    assert sum(judged(tmp_path / "run" / "episodes").values()) == 2
    assert mean_speed_m(tmp_path / "run" / "evaluations" / "pretrained-0.json") > 0

    said.clear()
    run()
    assert "train" not in said  # nothing that was finished is done again

    with pytest.raises(UnknownNameError, match="unknown arm 'fastest'; did you mean 'faster'"):
        run("fastest")


def test_an_arm_that_is_as_fast_as_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="as_fast_as names 'x', which is none of faster"):
        Experiment(
            scene="scene1",
            episodes=1,
            trials=1,
            training_seeds=1,
            headroom_worlds=1,
            arms={"faster": Arm(data="none", as_fast_as="x")},
        )
