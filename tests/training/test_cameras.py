"""Policies and models that learn from the pictures of a further camera, and act on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.baselines.rewards import RewardConfig
from soar.baselines.transitions import rewarded_data
from soar.cli.train import Train
from soar.collect.episode import run_episode
from soar.collect.rollout import RolloutConfig, rollout
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError, UnknownNameError
from soar.policies.base import cameras_of, check_cameras
from soar.policies.encoders import EncoderConfig
from soar.policies.exploration import ExplorationConfig, Explorer, ScaledPolicy
from soar.policies.learned import LearnedPolicy
from soar.policies.network import NetworkConfig
from soar.robots import SafeRobot
from soar.robots.workcell import open_workcell
from soar.subgoals.oracle import OracleSubgoals
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals, check_policy
from soar.testing.fakes import FAKE_WORKSPACE
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData, cotrain
from soar.training.data import SourceConfig
from soar.training.frame_pairs import StorePairs, pinned
from soar.training.learner import ImitationLearner
from soar.training.loop import FitConfig
from soar.types import Image, Label, Observation
from tests.episodes.builders import make_episode
from tests.robots import own
from tests.robots.test_workcell import cell

CONFIG = PolicyTrainingConfig(
    fit=FitConfig(steps=2, batch_size=4, warmup_steps=1, checkpoint_every=2),
    network=NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64, camera="wrist"),
)


def filled(folder: Path, *, cameras: bool = True, wrist_seed: int = 0, main_seed: int = 0) -> Path:
    store = EpisodeStore(folder, mode="create")
    for number in range(3):
        rng = np.random.default_rng(wrist_seed + number)
        wrist = np.kron(rng.integers(0, 256, (6, 4, 4, 3)), np.ones((1, 8, 8, 1), int)).astype(np.uint8)
        label = Label(success=True, probability=0.9, source="judge")
        episode = make_episode(f"e{number}", size=24, seed=main_seed + number, labels=(label,))
        drawn = make_episode("x", size=24, seed=number)  # the same motions, whatever the pictures
        episode = replace(episode, actions_TD=drawn.actions_TD, states_TD=drawn.states_TD)
        store.append(replace(episode, extra_images={"wrist": wrist}) if cameras else episode)
    return folder


def trained(folder: Path, **seeds: int) -> LearnedPolicy:
    store = filled(folder / "store", **seeds)
    own_data = AutonomousData(store=store)
    return LearnedPolicy.load(cotrain(CONFIG, folder / "policy", pretraining=store, autonomous=own_data))


def weights(policy: LearnedPolicy) -> np.ndarray[Any, Any]:
    return np.concatenate([value.numpy().ravel() for value in policy.network.state_dict().values()])


def test_a_policy_learns_from_the_chosen_cameras_pictures_only(tmp_path: Path) -> None:
    first, other_main, other_wrist = (
        trained(tmp_path / name, **seeds) for name, seeds in (("a", {}), ("b", {"main_seed": 50}), ("c", {"wrist_seed": 50}))
    )
    assert np.array_equal(weights(first), weights(other_main))
    assert not np.array_equal(weights(first), weights(other_wrist))


def test_a_policy_says_and_remembers_its_camera_and_looks_at_it(tmp_path: Path) -> None:
    policy = trained(tmp_path)
    assert cameras_of(policy) == ("wrist",)
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(2))
    state, goal = np.zeros(7, np.float32), rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)

    def act(main: Image, wrist: Image) -> np.ndarray[Any, Any]:
        policy.reset()
        return policy.act([Observation(image_HWC=main, state=state, extra_images={"wrist": wrist})], [goal])

    assert np.array_equal(act(one, one), act(other, one))
    assert not np.array_equal(act(one, one)[:, :6], act(one, other)[:, :6])
    with pytest.raises(UnknownNameError, match="unknown camera 'wrist'"):
        policy.act([Observation(image_HWC=one, state=state)], [goal])
    check_policy(policy)


def test_a_policy_of_the_main_camera_is_described_as_ever(tmp_path: Path) -> None:
    store = filled(tmp_path / "store", cameras=False)
    plain = replace(CONFIG, network=replace(CONFIG.network, camera="main"))
    said = json.loads((cotrain(plain, tmp_path / "p", pretraining=store) / "config.json").read_text())
    assert "camera" not in said["network"]  # versions from before read it
    assert cameras_of(LearnedPolicy.load(tmp_path / "p")) == ("main",)


def test_a_camera_that_the_data_do_not_have_is_an_error_with_those_that_they_have(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown camera 'wrist' Valid choices: main\. Of the episodes in .*plain"):
        cotrain(CONFIG, tmp_path / "p", pretraining=filled(tmp_path / "plain", cameras=False))
    mixed = EpisodeStore(filled(tmp_path / "mixed"))
    mixed.append(make_episode("old", size=24))
    with pytest.raises(StoreError, match=r"1 of 4 episodes have no camera 'wrist', for example 'old'"):
        cotrain(CONFIG, tmp_path / "p", pretraining=tmp_path / "mixed")
    assert not (tmp_path / "p").exists()


def test_imagined_goals_of_a_camera_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    config = replace(CONFIG, autonomous=SourceConfig(imagined_goals=0.5))
    store = filled(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"autonomous.imagined_goals: .*--camera wrist leave them out"):
        cotrain(config, tmp_path / "p", pretraining=store, autonomous=AutonomousData(store=store))


def test_a_candidate_looks_at_the_camera_of_its_base(tmp_path: Path) -> None:
    policy = trained(tmp_path)
    assert ImitationLearner(replace(CONFIG, network=NetworkConfig()))._for(tmp_path / "policy").network.camera == "wrist"
    assert Train(out=tmp_path / "q", initial=tmp_path / "policy")._camera() == "wrist"
    assert Train(out=tmp_path / "q", initial=tmp_path / "policy", camera="main")._camera() == "main"
    plain = replace(CONFIG, network=replace(CONFIG.network, camera="main"))
    with pytest.raises(CheckpointError, match=r"network.camera \(wrist there, main now\)"):
        cotrain(plain, tmp_path / "q", pretraining=tmp_path / "store", initial=tmp_path / "policy")
    assert policy.id


def test_critics_learn_from_the_cameras_pictures(tmp_path: Path) -> None:
    network = replace(CONFIG.network, conditioning="language")
    policy = replace(CONFIG, network=network)
    data = rewarded_data(policy, RewardConfig(), filled(tmp_path / "store"), None)
    seen = EpisodeStore(tmp_path / "store", camera="wrist").rows([0]).images_NHWC
    assert np.array_equal(data.sources["pretraining"].images_NHWC[np.array([0])], np.stack([network.fitter(seen[0])]))


def test_a_subgoal_models_pairs_are_of_the_camera_and_that_is_written_down(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    store, _ = pinned(tmp_path / "store", "", tmp_path / "data.json", "wrist")
    pairs = StorePairs(store, store.episodes(), 32, 2, 0.0)
    drawn = pairs.read(pairs.draw(np.random.default_rng(0), 4))
    expected = store.rows(drawn.observation_B).images_NHWC
    assert expected.shape[1:] == (32, 32, 3)
    assert np.array_equal(drawn.images[0].numpy(), expected)
    with pytest.raises(CheckpointError, match="camera wrist"):
        pinned(tmp_path / "store", "", tmp_path / "data.json")


class Wrist(FakePolicy):
    """Looks at the wrist camera; remembers its goals."""

    cameras = ("wrist",)

    def __init__(self) -> None:
        super().__init__()
        self.goals: list[Any] = []

    def act(self, observations: Any, goals: Any) -> Any:
        self.goals += goals
        return super().act(observations, goals)


def test_subgoals_are_imagined_from_the_camera_that_the_policy_looks_at() -> None:
    robot, policy = SafeRobot(FakeRobot(cameras=("wrist",)), FAKE_WORKSPACE), Wrist()
    result = rollout(
        robot, "open the drawer", FakeSubgoals(), policy, seed=0, config=RolloutConfig(subgoals=1, steps_per_subgoal=3)
    )
    wrist = FakeRobot(cameras=("wrist",)).observe().picture("wrist")
    assert {goal.shape for goal in policy.goals} == {wrist.shape}
    assert result.images_THWC.shape == (4, 64, 64, 3)
    assert result.extra_images["wrist"].shape == (4, *wrist.shape)


def test_a_policy_that_wants_a_camera_is_refused_before_anything_moves(tmp_path: Path) -> None:
    class Moves(own.Arm):
        def home(self) -> None:
            raise AssertionError("it moved")

        act = home  # type: ignore[assignment]

    with open_workcell(cell(tmp_path)) as workcell:
        workcell.robot._robot._robot = Moves()  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match=r"looks at the camera 'wrist', and workcell 'bench' has: main\."):
            run_episode(workcell, Wrist(), "open the drawer", FakeSubgoals())
        with pytest.raises(ConfigError, match="this robot has: main"):
            rollout(workcell.robot, "open the drawer", FakeSubgoals(), Wrist(), seed=0, config=RolloutConfig())


def test_wrappers_say_what_the_policy_says() -> None:
    explorer = Explorer(Wrist(), ExplorationConfig(), action_std=Wrist().action_std, seed=0)
    assert cameras_of(ScaledPolicy(explorer, 2.0)) == ("wrist",)
    assert cameras_of(FakePolicy()) == ("main",)


def test_subgoals_of_another_camera_are_refused() -> None:
    oracle = OracleSubgoals(lambda _text, _seed: np.zeros((8, 8, 3), np.uint8))
    check_cameras(FakePolicy(), (), "here", oracle)
    check_cameras(Wrist(), ("wrist",), "here", FakeSubgoals())  # edits whatever it is given
    with pytest.raises(ConfigError, match="of the camera 'wrist', and the subgoal model imagines those of 'main'"):
        check_cameras(Wrist(), ("wrist",), "here", oracle)
