from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from soar.baselines.config import load_recipe
from soar.baselines.robofume import RoboFuMEConfig, RoboFuMELearner, load_actor_critic, train_robofume
from soar.configuration import names
from soar.datasets import load_arrays
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.training.cotraining import AutonomousData
from soar.training.data import SourceConfig
from soar.training.learner import Learner, LearningData
from soar.types import Observation
from tests.baselines.tiny import RECIPE, TASKS, store


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LearningData:
    folder = tmp_path_factory.mktemp("stores")
    own = AutonomousData(store=store(folder / "own", verdicts=(True, False, None)), success_only=False)
    return LearningData(pretraining=store(folder / "old"), autonomous=own)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: LearningData) -> Path:
    return RoboFuMELearner(RECIPE).learn(None, data, tmp_path_factory.mktemp("run"), seed=3)


def test_the_actor_is_a_policy_that_follows_instructions_within_the_range_of_the_data(
    trained: Path, data: LearningData
) -> None:
    policy = LearnedPolicy.load(trained)
    assert policy.conditioning == "language"
    state = np.zeros(7, np.float32)
    seen = [Observation(image_HWC=np.full((64, 64, 3), grey, np.uint8), state=state) for grey in (10, 200)]
    actions = policy.act(seen, [TASKS[0], TASKS[1]])
    arrays = load_arrays(EpisodeStore(data.pretraining))
    limit = np.nanmax(np.abs(arrays.actions_ND[:, :6]))
    assert (np.abs(actions[:, :6]) <= limit * 1.2).all()
    assert np.isfinite(load_actor_critic(trained).config.low).all()
    assert set(read_lineage(trained).metrics) >= {"td_error", "penalty", "below_bound", "bc_error", "q_follows_return"}
    assert RoboFuMELearner(RECIPE).check(trained) == policy.id
    assert isinstance(RoboFuMELearner(RECIPE), Learner)


def test_an_interrupted_training_ends_at_the_same_weights(tmp_path: Path, trained: Path, data: LearningData) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, *_: object) -> None:
        if done == 3:
            raise Stop

    learner = RoboFuMELearner(RECIPE)
    with pytest.raises(Stop):
        learner.learn(None, data, tmp_path / "again", seed=3, on_step=stop)
    learner.learn(None, data, tmp_path / "again", seed=3)
    for name in ("model.safetensors", "critic/model.safetensors"):
        assert digest(tmp_path / "again" / name) == digest(trained / name)
    before = digest(trained / "config.json")
    learner.learn(None, data, trained, seed=3)
    assert digest(trained / "config.json") == before


def test_the_actor_learns_at_its_own_rate(tmp_path: Path, data: LearningData) -> None:
    still = dataclasses.replace(RECIPE, critic=dataclasses.replace(RECIPE.critic, actor_rate=1e-9))
    networks = []
    for steps in (1, 4):
        fit = dataclasses.replace(RECIPE.policy.fit, steps=steps)
        recipe = dataclasses.replace(still, policy=dataclasses.replace(RECIPE.policy, fit=fit))
        networks.append(load_actor_critic(RoboFuMELearner(recipe).learn(None, data, tmp_path / str(steps), seed=0)))
    torch.testing.assert_close(networks[0].actor[-1].weight, networks[1].actor[-1].weight)
    assert not torch.allclose(networks[0].critics.heads[0].out.weight, networks[1].critics.heads[0].out.weight)


@pytest.mark.parametrize("shared", [True, False])
def test_it_trains_in_bfloat16_as_the_recipes_do(tmp_path: Path, data: LearningData, shared: bool) -> None:
    fit = dataclasses.replace(RECIPE.policy.fit, bf16=True, channels_last=True, steps=2)
    policy = dataclasses.replace(RECIPE.policy, fit=fit, augmentation=load_recipe("laptop").robofume.policy.augmentation)
    critic = dataclasses.replace(RECIPE.critic, shared=shared)
    folder = RoboFuMELearner(dataclasses.replace(RECIPE, policy=policy, critic=critic)).learn(None, data, tmp_path, seed=0)
    assert np.isfinite(read_lineage(folder).metrics["critic_loss"])


def test_training_goes_on_from_a_run_and_not_from_another_network(tmp_path: Path, trained: Path, data: LearningData) -> None:
    folder = RoboFuMELearner(RECIPE).learn(trained, data, tmp_path / "next", seed=4)
    assert read_lineage(folder).parent == LearnedPolicy.load(trained).id
    assert load_actor_critic(folder).config.low == load_actor_critic(trained).config.low
    wider = dataclasses.replace(RECIPE, critic=dataclasses.replace(RECIPE.critic, hidden=(16,)))
    with pytest.raises(CheckpointError, match=r"another network: critic\.hidden"):
        RoboFuMELearner(wider).learn(trained, data, tmp_path / "wider", seed=0)
    assert not (tmp_path / "wider").exists()
    RoboFuMELearner(RECIPE).learn(None, LearningData(pretraining=data.pretraining), tmp_path / "alone", seed=0)
    with pytest.raises(ConfigError, match="another configuration"):
        RoboFuMELearner(wider).learn(None, data, tmp_path / "alone", seed=0)


def test_a_policy_without_critics_is_no_base(tmp_path: Path) -> None:
    from tests.improve.tiny import random_policy

    with pytest.raises(CheckpointError, match="no soar-actor-critic"):
        RoboFuMELearner(RECIPE).check(random_policy(tmp_path / "policy"))


def test_actions_outside_the_critics_range_are_refused_with_both_numbers(
    tmp_path: Path, trained: Path, data: LearningData
) -> None:
    wild = AutonomousData(store=store(tmp_path / "wild", verdicts=(True,), reach=0.5), success_only=False)
    with pytest.raises(
        ConfigError, match=r"source 'autonomous': 4\d of 48 actions lie outside the range that the critic knows"
    ):
        train_robofume(RECIPE, tmp_path / "out", pretraining=data.pretraining, autonomous=wild, initial=trained)


def test_rewards_without_verdicts_are_refused(tmp_path: Path, data: LearningData) -> None:
    unjudged = AutonomousData(store=store(tmp_path / "unjudged"), success_only=False)
    with pytest.raises(StoreError, match="6 of 6 episodes have no verdict of the vlm"):
        train_robofume(RECIPE, tmp_path / "out", pretraining=data.pretraining, autonomous=unjudged)


def test_what_changes_actions_is_no_part_of_a_recipe() -> None:
    policy = dataclasses.replace(RECIPE.policy, autonomous=SourceConfig(sum_actions=True))
    with pytest.raises(ConfigError, match=r"policy\.autonomous\.sum_actions changes what was done"):
        RoboFuMEConfig(policy=policy)


def test_every_recipe_loads_and_can_be_changed_by_name() -> None:
    for name in names("baselines"):
        assert load_recipe(name).robofume.rewards.discount == 0.98
    assert load_recipe("laptop", ["robofume.calql.alpha=1"]).robofume.calql.alpha == 1


def test_episodes_with_other_verdicts_are_another_run(tmp_path: Path, data: LearningData) -> None:
    RoboFuMELearner(RECIPE).learn(None, data, tmp_path / "run", seed=0)
    claimed = json.loads((tmp_path / "run/training/run.json").read_text())
    assert claimed["rewarded"] == {"pretraining": 18, "autonomous": 6}
    assert data.autonomous is not None
    truth = dataclasses.replace(data.autonomous, store=store(tmp_path / "true", verdicts=(True, True, None)))
    with pytest.raises(ConfigError, match="rewarded"):
        RoboFuMELearner(RECIPE).learn(None, dataclasses.replace(data, autonomous=truth), tmp_path / "run", seed=0)


def test_verdicts_that_changed_places_are_another_run(tmp_path: Path, data: LearningData) -> None:
    assert data.autonomous is not None
    RoboFuMELearner(RECIPE).learn(None, data, tmp_path / "run", seed=0)
    # As many successes of the same length, but of other episodes.
    other = dataclasses.replace(data.autonomous, store=store(tmp_path / "other", verdicts=(False, True, None)))
    with pytest.raises(ConfigError, match=r"another configuration: verdicts\.autonomous"):
        RoboFuMELearner(RECIPE).learn(None, dataclasses.replace(data, autonomous=other), tmp_path / "run", seed=0)
    # A run that was begun before verdicts were written down goes on.
    file = tmp_path / "run/training/run.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in said.items() if key != "verdicts"}))
    RoboFuMELearner(RECIPE).learn(None, data, tmp_path / "run", seed=0)


def test_instructions_by_somebody_else_are_not_silently_left_out(tmp_path: Path, data: LearningData) -> None:
    assert data.autonomous is not None
    told = dataclasses.replace(data.autonomous, instructions_by="dial-1")
    with pytest.raises(ConfigError, match=r"verdict is about what was commanded.*instructions by 'dial-1'"):
        train_robofume(RECIPE, tmp_path / "out", pretraining=data.pretraining, autonomous=told)


def test_motions_in_millimetres_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another unit"):
        train_robofume(RECIPE, tmp_path / "out", pretraining=store(tmp_path / "far", reach=30.0))
