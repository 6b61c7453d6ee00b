from __future__ import annotations

import dataclasses

import pytest

from soar.collect.config import CollectionConfig
from soar.configuration import names
from soar.errors import ConfigError, UnknownNameError
from soar.improve.preset import load_preset
from soar.tasks.proposal import ProposalConfig


@pytest.mark.parametrize("name", names("presets"))
def test_every_preset_is_valid_and_can_improve_what_it_pretrained(name: str) -> None:
    preset = load_preset(name)
    # Continuing from a checkpoint needs the same network.
    assert preset.improvement.policy.network == preset.pretraining.policy.network
    assert preset.image_size == preset.pretraining.policy.network.image_size


def test_the_papers_numbers_are_in_its_preset() -> None:
    policy = load_preset("paper").improvement.policy
    assert (policy.fit.batch_size, policy.fit.learning_rate, policy.fit.warmup_steps) == (256, 3e-4, 2000)
    assert (policy.pretraining.goal_window, policy.autonomous.goal_window) == ((0, 24), (0, 12))
    assert policy.autonomous.sum_actions
    assert policy.upsampling == 10


def test_an_unknown_preset_lists_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match="Valid choices: flow, laptop, paper, upstream"):
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


def test_a_message_about_missing_objects_needs_somebody_who_looks_for_them() -> None:
    proposal = ProposalConfig(notify="https://example.org/hook")
    assert CollectionConfig(proposal=proposal).watch_objects
    with pytest.raises(ConfigError, match="set watch_objects: true"):
        CollectionConfig(proposal=proposal, watch_objects=False)
