from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from soar.errors import CheckpointError
from soar.policies.encoders import EncoderConfig
from soar.policies.learned import LearnedPolicy
from soar.policies.network import NetworkConfig
from soar.training.config import PolicyTrainingConfig
from soar.training.learner import ImitationLearner, Learner, LearningData
from soar.training.loop import FitConfig
from tests.training.test_image_sizes import store

NETWORK = NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64)
RECIPE = PolicyTrainingConfig(fit=FitConfig(steps=2, batch_size=4, warmup_steps=1, checkpoint_every=2), network=NETWORK)


def test_a_candidate_sees_and_is_told_what_its_base_is_whatever_the_recipe_says(tmp_path: Path) -> None:
    data = LearningData(pretraining=store(tmp_path / "old", (48, 64)).uri)
    cropped = ImitationLearner(dataclasses.replace(RECIPE, network=dataclasses.replace(NETWORK, fit="crop")))
    base = cropped.learn(None, data, tmp_path / "base", seed=0)
    learner = ImitationLearner(RECIPE)
    assert isinstance(learner, Learner)
    assert learner.check(base) == LearnedPolicy.load(base).id
    candidate = LearnedPolicy.load(learner.learn(base, data, tmp_path / "candidate", seed=1))
    assert candidate.network.config.fit == "crop"
    assert candidate.id != LearnedPolicy.load(base).id


def test_a_base_of_another_network_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    data = LearningData(pretraining=store(tmp_path / "old", (64, 64)).uri)
    base = ImitationLearner(RECIPE).learn(None, data, tmp_path / "base", seed=0)
    wider = dataclasses.replace(RECIPE, network=dataclasses.replace(NETWORK, encoder=EncoderConfig(name="small", width=8)))
    with pytest.raises(CheckpointError, match=r"another network: network\.encoder"):
        ImitationLearner(wider).check(base)
