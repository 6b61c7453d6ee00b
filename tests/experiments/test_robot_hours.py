from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.experiments.config import Experiment, Variant
from soar.experiments.robot_hours import first_episodes, hour_rows
from soar.reports.plots import hour_curves, save
from soar.types import Episode


def store(folder: Path) -> EpisodeStore:
    """Three episodes of each of two robots, of ten steps, stored robot by robot."""
    episodes = EpisodeStore(folder / "episodes", mode="create")
    for robot in ("a", "b"):
        for number in range(3):
            images, states = np.zeros((11, 8, 8, 3), np.uint8), np.zeros((11, 7), np.float32)
            episodes.append(
                Episode(
                    id=f"run-{robot}-{number:05d}",
                    scene="scene1",
                    instruction="open the drawer",
                    images_THWC=images,
                    states_TD=states,
                    actions_TD=np.zeros((10, 7), np.float32),
                )
            )
    return episodes


def test_the_first_episodes_are_each_robots_first(tmp_path: Path) -> None:
    first = first_episodes(store(tmp_path), "scene1", 4)
    assert [record.id for record in first] == ["run-a-00000", "run-b-00000", "run-a-00001", "run-b-00001"]


def test_a_method_is_a_curve_from_its_base_over_hours(tmp_path: Path) -> None:
    store(tmp_path)
    told = {"conditioning": "language"}
    variants = {
        "pretrained": Variant(data="none"),
        "language pretrained": Variant(data="none", **told),  # type: ignore[arg-type]
        "scene 2": Variant(data="autonomous", first_episodes=2),
        "scene": Variant(data="autonomous"),
        "robofume 4": Variant(data="autonomous", first_episodes=4, learner="robofume", success_only=False, **told),  # type: ignore[arg-type]
    }
    experiment = Experiment(scenes=("scene1",), episodes=6, trials=1, variants=variants)
    rows = [{"variant": name, "scene": "scene1", "task": "t", "successes": 1, "trials": 2} for name in variants]
    found = hour_rows(experiment, rows, tmp_path)
    # A step takes .2 s; the critic's actor begins with nothing, and has no point at zero hours.
    assert [(row["methods"], row["hours"]) for row in found] == [
        (["scene"], 0.0),
        (["scene"], round(2 * 10 * 0.2 / 3600, 3)),
        (["scene"], round(6 * 10 * 0.2 / 3600, 3)),  # all six
        (["robofume"], round(4 * 10 * 0.2 / 3600, 3)),
    ]
    save(hour_curves(found, "hours"), tmp_path / "hours.svg")
    assert "hours of the robot" in (tmp_path / "hours.svg").read_text()


def test_first_episodes_are_of_autonomous_data_of_a_scene() -> None:
    with pytest.raises(ConfigError, match="not pooled"):
        Variant(data="autonomous", pooled=True, first_episodes=3)


def test_hours_are_of_what_a_variant_learned_from(tmp_path: Path) -> None:
    store(tmp_path)
    told = {"conditioning": "language", "learner": "robofume"}
    variants = {
        "pretrained": Variant(data="none"),
        "scene 2": Variant(data="autonomous", first_episodes=2),
        "scene": Variant(data="autonomous"),
        "all": Variant(data="autonomous", pooled=True),
        "control": Variant(data="pretraining"),
        "robofume 4": Variant(data="autonomous", first_episodes=4, success_only=False, **told),  # type: ignore[arg-type]
        "critic": Variant(data="none", acts="scene 2", critic="robofume 4"),
    }
    # Fewer episodes than there are: of an experiment whose budget was larger before.
    experiment = Experiment(scenes=("scene1",), episodes=4, trials=1, variants=variants)
    rows = [{"variant": name, "scene": "scene1", "task": "t", "successes": 1, "trials": 2} for name in variants]
    hour_of = hour_rows(experiment, rows, tmp_path)
    found = {(row["variant"], method): row["hours"] for row in hour_of for method in row["methods"]}
    assert len(hour_of) == len(variants), "a base's trials count once, of however many methods it is the beginning"
    hours = [round(episodes * 10 * 0.2 / 3600, 3) for episodes in (0, 2, 4, 6)]
    assert found == {
        ("pretrained", "scene"): hours[0],
        ("pretrained", "all"): hours[0],
        ("scene 2", "scene"): hours[1],
        ("scene", "scene"): hours[3],  # all that there are, which is what it learned from
        ("all", "all"): hours[3],
        ("control", "control"): hours[0],
        ("robofume 4", "robofume"): hours[2],
        ("critic", "critic"): hours[2],
    }
