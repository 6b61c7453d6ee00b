from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from soar.baselines.actor_critic import ActorCritic, ActorCriticConfig, CriticConfig
from soar.baselines.reranking import RerankedPolicy, reranked
from soar.baselines.robofume import save_actor_critic
from soar.collect.rollout import RolloutConfig, rollout
from soar.errors import CheckpointError, ConfigError, UnknownNameError
from soar.normalization import ActionStatistics
from soar.policies.exploration import ExplorationConfig, Explorer
from soar.policies.heads import HeadConfig
from soar.policies.instructions import InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage
from soar.policies.loading import load_policy
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.robots.safety import SafeRobot, SafetyLimits
from soar.testing import FakeRobot, FakeSubgoals
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Observation
from tests.baselines.test_actor_critic import HIGH, LOW, NETWORK

STD = np.array([0.03] * 6 + [1], np.float32)
STATE = np.zeros(7, np.float32)


def base(folder: Path, network: NetworkConfig, std: np.ndarray = STD) -> str:
    torch.manual_seed(0)
    statistics = ActionStatistics(mean=np.zeros(7, np.float32), std=std.astype(np.float32))
    LearnedPolicy.write(folder, PolicyNetwork(network), statistics, Lineage())
    return str(folder)


GOALS = dataclasses.replace(NETWORK, conditioning="goal", head=HeadConfig(hidden=(8,)))
FLOW = dataclasses.replace(GOALS, head=HeadConfig(name="flow", hidden=(8,), chunk=3, execute=2, steps=2))
WORDS = dataclasses.replace(NETWORK, head=HeadConfig(hidden=(8,)))


@pytest.fixture(scope="module")
def critic(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Critics that love a large first dimension."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("critic")
    network = ActorCritic(ActorCriticConfig(network=NETWORK, critic=CriticConfig(hidden=(8,)), low=LOW, high=HIGH))
    with torch.no_grad():
        for head in network.critics.heads:
            head.layers[0].weight.zero_()
            head.layers[0].bias.zero_()
            head.actions[0].weight.zero_()
            head.actions[0].weight[:, 0] = 1
            head.out.weight.fill_(1)
    save_actor_critic(folder, network, Lineage(), InstructionEncoder(NETWORK.instruction))
    return str(folder)


def observations(count: int = 3) -> list[Observation]:
    rng = np.random.default_rng(0)
    return [Observation(image_HWC=rng.integers(0, 256, (64, 64, 3)).astype(np.uint8), state=STATE) for _ in range(count)]


@pytest.mark.parametrize("network", [GOALS, FLOW, WORDS], ids=["goals", "flow", "words"])
def test_the_critic_chooses_what_it_thinks_most_of_among_what_the_base_might_do(
    tmp_path: Path, critic: str, network: NetworkConfig
) -> None:
    folder = base(tmp_path / "base", network)
    seen = observations()
    goals: list[object] = ["open the drawer"] * 3 if network is WORDS else [one.image_HWC for one in observations(3)]
    first = {}
    for choice in ("critic", "random", "first"):
        policy = reranked(folder, critic, candidates=20, choice=choice)  # type: ignore[arg-type]
        policy.instruct("open the drawer")
        first[choice] = policy.act(seen, goals)  # type: ignore[arg-type]
        policy.reset()
        policy.instruct("open the drawer")
        np.testing.assert_allclose(policy.act(seen[:1], goals[:1])[0], first[choice][0], atol=1e-6)  # type: ignore[arg-type]
    own = LearnedPolicy.load(folder).act(seen, goals)  # type: ignore[arg-type]
    np.testing.assert_allclose(first["first"], np.clip(own, LOW, HIGH), atol=1e-6)
    assert (first["critic"][:, 0] > first["first"][:, 0] + 0.005).all()
    assert (first["critic"][:, 0] >= first["random"][:, 0]).all()
    assert not np.allclose(first["random"], first["first"])
    for actions in first.values():
        assert ((actions >= np.float32(LOW)) & (actions <= np.float32(HIGH))).all()
        assert set(actions[:, 6]) <= {0, 1}


def test_a_file_makes_it_a_policy_by_name(tmp_path: Path, critic: str) -> None:
    file = tmp_path / "mine.yaml"
    base(tmp_path / "base", WORDS)
    file.write_text(
        f"backend: soar.baselines.reranking:reranked\nbase: {tmp_path}/base\ncritic: {critic}\nchoice: random\ncandidates: 4\n"
    )
    policy = load_policy(str(file))
    assert isinstance(policy, RerankedPolicy)
    assert (policy.conditioning, policy.id.split("-")[0]) == ("language", "lcbc")
    assert "+random4x0.3-" in policy.id
    file2 = tmp_path / "other.yaml"
    file2.write_text("backend: nothing\n")
    with pytest.raises(UnknownNameError, match="MODULE:NAME, by-task, openpi, remote"):
        load_policy(str(file2))


def test_an_episode_tells_the_critic_its_instruction_also_through_exploration(tmp_path: Path, critic: str) -> None:
    policy = reranked(base(tmp_path / "base", GOALS), critic, candidates=3)
    with pytest.raises(ConfigError, match="an instruction that nobody told it"):
        policy.act(observations(1), [observations(1)[0].image_HWC])
    explorer = Explorer(policy, ExplorationConfig(), action_std=policy.action_std, seed=0)
    robot = SafeRobot(FakeRobot(), FAKE_WORKSPACE, SafetyLimits())
    config = RolloutConfig(subgoals=1, steps_per_subgoal=2)
    result = rollout(robot, "open the drawer", FakeSubgoals(), explorer, seed=0, config=config)
    assert len(result.actions_TD) == 2


def test_a_critic_of_another_range_is_refused(tmp_path: Path, critic: str) -> None:
    folder = base(tmp_path / "base", WORDS, STD * 20)
    with pytest.raises(ConfigError, match=r"knows actions from -0\.1 to 0\.1 in dimension 0.*deviation of 0\.6"):
        reranked(folder, critic)
    with pytest.raises(CheckpointError, match="no soar-actor-critic"):
        reranked(folder, folder)


@pytest.mark.parametrize("change", [{"candidates": 0}, {"sigma": -1.0}, {"choice": "best"}])
def test_what_cannot_be_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        reranked("a", "b", **change)  # type: ignore[arg-type]


def test_a_part_of_a_candidate_is_none(tmp_path: Path, critic: str) -> None:
    file = tmp_path / "mine.yaml"
    folder = base(tmp_path / "base", GOALS)
    file.write_text(f"backend: soar.baselines.reranking:reranked\nbase: {folder}\ncritic: {critic}\ncandidates: 2.5\n")
    with pytest.raises(ConfigError, match=r"candidates"):
        load_policy(str(file))
