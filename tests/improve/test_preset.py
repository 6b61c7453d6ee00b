from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from soar.collect.config import CollectionConfig
from soar.collect.preset import load_collection
from soar.configuration import names
from soar.errors import ConfigError, UnknownNameError
from soar.improve.preset import explained, load_preset


@pytest.mark.parametrize("name", names("presets"))
def test_every_preset_is_valid_and_can_improve_what_it_pretrained(name: str) -> None:
    preset = load_preset(name)
    # Continuing from a checkpoint needs the same network.
    assert preset.improvement.policy.network == preset.pretraining.policy.network
    assert preset.image_size == preset.pretraining.policy.network.image_size


@pytest.mark.parametrize("name", names("presets"))
def test_a_robots_computer_reads_of_a_preset_what_the_loop_does(name: str) -> None:
    light, whole = load_collection(name), load_preset(name)
    assert (light.improvement.collection, light.workers) == (whole.improvement.collection, whole.workers)
    for theirs, ours in ((light, whole), (light.improvement, whole.improvement)):
        known = [{field.name for field in dataclasses.fields(config)} for config in (theirs, ours)]
        assert known[0] == known[1], "a key that one of them refuses"


def test_the_papers_numbers_are_in_its_preset() -> None:
    policy = load_preset("paper").improvement.policy
    assert (policy.fit.batch_size, policy.fit.learning_rate, policy.fit.warmup_steps) == (256, 3e-4, 2000)
    assert (policy.pretraining.goal_window, policy.autonomous.goal_window) == ((0, 24), (0, 12))
    assert policy.autonomous.sum_actions
    assert policy.upsampling == 10


def test_an_unknown_preset_lists_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match="Valid choices: flow, laptop, paper, smoke, upstream"):
        load_preset("desktop")


@pytest.mark.parametrize(
    ("change", "message"), [({"rounds": 0}, r"improvement\.rounds"), ({"trials": 0}, r"improvement\.trials")]
)
def test_amounts_of_nothing_are_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(load_preset("laptop").improvement, **change)
    with pytest.raises(ConfigError, match="at least 1"):
        CollectionConfig(episodes=0)
    with pytest.raises(ConfigError, match=r"collection\.threshold must be between 0 and 1, both excluded; got 0"):
        CollectionConfig(threshold=0)


def test_a_preset_extends_another_one_and_says_only_what_is_different(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: laptop\nimprovement: {collection: {exploration: {sigma: 0.7}}}\n")
    (tmp_path / "ours.yaml").write_text("extends: mine.yaml\nworkers: 5\n")
    laptop, ours = load_preset("laptop"), load_preset(str(tmp_path / "ours.yaml"))
    assert (ours.workers, ours.improvement.collection.exploration.sigma) == (5, 0.7)
    exploration = dataclasses.replace(ours.improvement.collection.exploration, sigma=0.3)
    collection = dataclasses.replace(ours.improvement.collection, exploration=exploration)
    assert dataclasses.replace(ours.improvement, collection=collection) == laptop.improvement
    (tmp_path / "mine.yaml").write_text("extends: ours.yaml\n")
    with pytest.raises(ConfigError, match=r"ours\.yaml extends itself: .*ours\.yaml extends .*mine\.yaml extends .*ours\.yaml"):
        load_preset(str(tmp_path / "ours.yaml"))
    (tmp_path / "mine.yaml").write_text("extends: labtop\n")
    with pytest.raises(UnknownNameError, match="did you mean 'laptop'"):
        load_preset(str(tmp_path / "ours.yaml"))


def test_a_setting_counts_more_than_the_file_and_is_checked_like_it() -> None:
    preset = load_preset(
        "laptop", ["improvement.policy.fit.learning_rate=3e-5", "improvement.policy.autonomous.goal_window=[0, 9]"]
    )
    policy = preset.improvement.policy
    assert (policy.fit.learning_rate, policy.autonomous.goal_window, policy.fit.steps) == (3e-5, (0, 9), 400)
    with pytest.raises(
        UnknownNameError, match=r"unknown key 'sgma'; did you mean 'sigma'.*improvement\.collection\.exploration\.sgma=1"
    ):
        load_preset("laptop", ["improvement.collection.exploration.sgma=1"])
    with pytest.raises(ConfigError, match=r"laptop\.yaml, workers=many: workers"):
        load_preset("laptop", ["workers=many"])
    with pytest.raises(ConfigError, match="write NAME=VALUE"):
        load_preset("laptop", ["workers"])


@pytest.mark.parametrize("name", names("presets"))
def test_what_is_shown_of_a_preset_is_that_preset(name: str, tmp_path: Path) -> None:
    text = explained(name, ["improvement.trials=7"])
    (tmp_path / "again.yaml").write_text(text)
    assert load_preset(str(tmp_path / "again.yaml")) == load_preset(name, ["improvement.trials=7"])
    assert "  trials: 7  # command line" in text
    assert f"# {name}.yaml" in text
    assert "# default" in text
    assert yaml.safe_load(text)["improvement"]["trials"] == 7
