from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from soar.configuration import validate
from soar.datasets import HindsightSampler, Mixture, StepArrays, action_statistics, load_arrays
from soar.datasets.grasp_reweighting import grasp_places
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError
from soar.policies.encoders import EncoderConfig
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.policies.lineage import Lineage
from soar.policies.network import NetworkConfig
from soar.training.augment import NO_AUGMENTATION
from soar.training.config import PolicyTrainingConfig
from soar.training.data import SourceConfig, co_training_mixture, make_sampler
from soar.training.loop import FitConfig
from soar.training.policy import train_policy
from soar.types import Observation
from tests.episodes.builders import grasping, make_episode

CONFIG = PolicyTrainingConfig(
    fit=FitConfig(steps=6, batch_size=16, warmup_steps=2, checkpoint_every=3, log_every=2),
    network=NetworkConfig(encoder=EncoderConfig(name="small", width=4), image_size=64, auxiliary_weight=0.1),
    augmentation=dataclasses.replace(NO_AUGMENTATION, shift=1, brightness=0.1),
)


def dots(episodes: int = 6, length: int = 12, seed: int = 0, size: int = 64) -> StepArrays:
    """Episodes of a bright dot that wanders: the action is its motion, so the images determine it."""
    rng = np.random.default_rng(seed)
    rows = length + 1
    images = np.zeros((episodes * rows, size, size, 3), np.uint8)
    states = np.zeros((episodes * rows, 7), np.float32)
    actions = np.full((episodes * rows, 7), np.nan, np.float32)
    for episode in range(episodes):
        position = rng.uniform(16, 48, 2)
        velocity = rng.uniform(-2, 2, 2)
        for step in range(rows):
            row = episode * rows + step
            y, x = np.clip(position, 4, 59).astype(int) * size // 64
            images[row, y - 3 : y + 3, x - 3 : x + 3] = 255
            states[row, :2] = position / 100
            if step < length:
                actions[row] = [*velocity / 100, 0, 0, 0, 0, float(velocity[0] > 0)]
            position = position + velocity
    return StepArrays(
        images_NHWC=images,
        states_ND=states,
        actions_ND=actions,
        starts_E=np.arange(episodes) * rows,
        lengths_E=np.full(episodes, length),
        ids=tuple(str(index) for index in range(episodes)),
        instructions=("move",) * episodes,
        probabilities_E=np.ones(episodes),
    )


ARRAYS = dots()
STATISTICS = action_statistics(ARRAYS)
MIXTURE_OF_OWN = ("autonomous", HindsightSampler(dots(seed=1)), 0.3)
MIXTURE = Mixture([("pretraining", HindsightSampler(ARRAYS), 0.7), MIXTURE_OF_OWN])
OBSERVATION = Observation(image_HWC=ARRAYS.images_NHWC[0], state=ARRAYS.states_ND[0])


def test_training_writes_a_policy_with_its_statistics_lineage_and_metrics_by_source(tmp_path: Path) -> None:
    lineage = Lineage(data={"pretraining": {"steps": 3, "episodes": 4}}, revision="abc")
    folder = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000", validation=MIXTURE, lineage=lineage)
    policy = LearnedPolicy.load(folder)
    np.testing.assert_array_equal(policy.statistics.std, STATISTICS.std)
    assert policy.act([OBSERVATION], [ARRAYS.images_NHWC[5]]).shape == (1, 7)
    written = read_lineage(folder)
    assert (written.parent, written.revision) == ("", "abc")
    assert written.data == {"pretraining": {"steps": 3, "episodes": 4}}
    assert {"loss", "validation/pretraining/loss", "validation/autonomous/motion_error"} <= set(written.metrics)


def test_every_checkpoint_of_a_training_is_a_policy(tmp_path: Path) -> None:
    lineage = Lineage(data={"pretraining": {"steps": 3, "episodes": 4}}, revision="abc")
    folder = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000", lineage=lineage)
    last = LearnedPolicy.load(folder / "training" / "checkpoints" / "6")
    assert last.id == LearnedPolicy.load(folder).id
    before = LearnedPolicy.load(folder / "training" / "checkpoints" / "3")
    assert before.id != last.id
    np.testing.assert_array_equal(before.statistics.std, STATISTICS.std)
    written = read_lineage(folder / "training" / "checkpoints" / "3")
    assert (written.data["pretraining"], written.revision) == ({"steps": 3, "episodes": 4}, "abc")


def test_a_network_learns_what_the_images_show(tmp_path: Path) -> None:
    arrays = dots(episodes=100, seed=2)
    mixture = Mixture([("dots", HindsightSampler(arrays, window=(4, 12)), 1.0)])
    held_out = Mixture([("new", HindsightSampler(dots(episodes=20, seed=3), window=(4, 12)), 1.0)])
    fit = FitConfig(steps=60, batch_size=64, warmup_steps=5, learning_rate=3e-3, checkpoint_every=60, log_every=10)
    network = dataclasses.replace(CONFIG.network, gripper_std=1.0, dropout=0.0)
    config = dataclasses.replace(CONFIG, fit=fit, network=network, augmentation=NO_AUGMENTATION)
    folder = train_policy(config, mixture, action_statistics(arrays), tmp_path / "000", validation=held_out)
    # The two moving dimensions have unit variance when normalised: not looking at the images would give 2/6 at best.
    assert read_lineage(folder).metrics["validation/new/motion_error"] < 0.2


def test_an_interrupted_training_resumes_to_the_same_policy(tmp_path: Path) -> None:
    def interrupt(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    whole = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "cut", on_step=interrupt)
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        LearnedPolicy.load(tmp_path / "cut")
    cut = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "cut")
    assert LearnedPolicy.load(cut).id == LearnedPolicy.load(whole).id


@pytest.mark.parametrize("cache_bytes", [0, 20 * 64 * 64 * 3, None], ids=["no cache", "a small cache", "all cached"])
def test_training_from_the_store_resumes_to_the_policy_that_training_from_memory_makes(
    tmp_path: Path, cache_bytes: int | None
) -> None:
    store = EpisodeStore(tmp_path / "store", mode="create")
    store.append([make_episode(f"e{index}", steps=12, size=64, seed=index) for index in range(3)])
    stored = load_arrays(store, cache_bytes=cache_bytes)
    decoded = dataclasses.replace(stored, images_NHWC=store.rows(np.arange(39)).images_NHWC)

    def interrupt(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    mixtures = [co_training_mixture(make_sampler(arrays, CONFIG.pretraining), None) for arrays in (decoded, stored)]
    whole = train_policy(CONFIG, mixtures[0], STATISTICS, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_policy(CONFIG, mixtures[1], STATISTICS, tmp_path / "cut", on_step=interrupt)
    # Robots go on collecting meanwhile: what was begun sees none of it.
    store.append(make_episode("new", steps=12, size=64, seed=9))
    cut = train_policy(CONFIG, mixtures[1], STATISTICS, tmp_path / "cut")
    assert LearnedPolicy.load(cut).id == LearnedPolicy.load(whole).id


def test_a_finished_policy_is_returned_at_once(tmp_path: Path) -> None:
    folder = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000")
    steps: list[int] = []
    assert train_policy(CONFIG, MIXTURE, STATISTICS, folder, on_step=lambda step, *_: steps.append(step)) == folder
    assert steps == []


def test_continuing_keeps_the_statistics_and_begins_with_the_weights_of_the_parent(tmp_path: Path) -> None:
    parent = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000")
    other = dataclasses.replace(STATISTICS, std=STATISTICS.std * 2)
    # So small a learning rate leaves the weights practically where they began.
    config = dataclasses.replace(CONFIG, fit=dataclasses.replace(CONFIG.fit, learning_rate=1e-12, steps=1))
    child = LearnedPolicy.load(train_policy(config, MIXTURE, other, tmp_path / "001", initial=parent))
    np.testing.assert_array_equal(child.statistics.std, STATISTICS.std)
    expected = LearnedPolicy.load(parent)
    for name, value in expected.network.state_dict().items():
        np.testing.assert_allclose(child.network.state_dict()[name], value, atol=1e-6, err_msg=name)
    assert read_lineage(tmp_path / "001").parent == expected.id


def test_continuing_with_another_network_names_the_difference(tmp_path: Path) -> None:
    parent = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000")
    network = dataclasses.replace(CONFIG.network, encoder=EncoderConfig(name="small", width=8))
    config = dataclasses.replace(CONFIG, network=network)
    with pytest.raises(CheckpointError, match=r"network\.encoder .*'width': 4.* there, .*'width': 8.* now"):
        train_policy(config, MIXTURE, STATISTICS, tmp_path / "001", initial=parent)


def test_a_folder_begun_with_another_configuration_or_data_is_refused(tmp_path: Path) -> None:
    folder = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000")
    brighter = dataclasses.replace(CONFIG, augmentation=dataclasses.replace(CONFIG.augmentation, brightness=0.3))
    with pytest.raises(ConfigError, match=r"augmentation\.brightness \(0\.1 there, 0\.3 now\)"):
        train_policy(brighter, MIXTURE, STATISTICS, folder)
    for other in (dots(seed=2), dataclasses.replace(ARRAYS, instructions=("turn",) * 6), ARRAYS.select(np.arange(6) > 0)):
        mixture = Mixture([("pretraining", HindsightSampler(other), 0.7), MIXTURE_OF_OWN])
        with pytest.raises(ConfigError, match=r"configuration: .*data\.pretraining\.digest"):
            train_policy(CONFIG, mixture, STATISTICS, folder)


def test_a_run_without_autonomous_data_may_change_what_is_configured_for_it(tmp_path: Path) -> None:
    alone = Mixture([("pretraining", HindsightSampler(ARRAYS), 1.0)])
    folder = train_policy(CONFIG, alone, STATISTICS, tmp_path / "000")
    other = dataclasses.replace(CONFIG, autonomous=SourceConfig(clean_grasps=True), upsampling=35, autonomous_share=0.2)
    assert train_policy(other, alone, STATISTICS, folder) == folder
    with pytest.raises(ConfigError, match=r"another configuration: pretraining\.drop_idle \(False there, True now\)\."):
        train_policy(dataclasses.replace(other, pretraining=SourceConfig(drop_idle=True)), alone, STATISTICS, folder)
    with pytest.raises(ConfigError, match=r"autonomous\.clean_grasps \(False there, True now\)"):
        train_policy(other, MIXTURE, STATISTICS, train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "001"))


def test_a_finished_policy_is_not_refused_because_its_store_has_grown(tmp_path: Path) -> None:
    folder = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000", lineage=Lineage(data={"pretraining": {"steps": 1}}))
    again = ARRAYS.select(np.ones(6, bool))
    mixture = Mixture([("pretraining", HindsightSampler(again), 0.7), MIXTURE_OF_OWN])
    assert train_policy(CONFIG, mixture, STATISTICS, folder, lineage=Lineage(data={"pretraining": {"steps": 2}})) == folder


def test_images_of_another_size_than_the_network_are_refused(tmp_path: Path) -> None:
    mixture = Mixture([("large", HindsightSampler(dots(episodes=1, size=96)), 1.0)])
    with pytest.raises(ConfigError, match=r"image_size is 64 px, .* 96 x 96"):
        train_policy(CONFIG, mixture, STATISTICS, tmp_path / "000")


def test_a_damaged_policy_is_not_taken_for_a_finished_run(tmp_path: Path) -> None:
    folder = train_policy(CONFIG, MIXTURE, STATISTICS, tmp_path / "000")
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        train_policy(CONFIG, MIXTURE, STATISTICS, folder)


def test_the_configuration_survives_a_round_trip_through_yaml_values() -> None:
    assert validate(PolicyTrainingConfig, json.loads(json.dumps(dataclasses.asdict(CONFIG))), "here") == CONFIG


def test_the_defaults_are_the_papers() -> None:
    config = PolicyTrainingConfig(fit=FitConfig(steps=500_000))
    assert config.pretraining == SourceConfig(goal_window=(0, 24))
    assert config.autonomous == SourceConfig(goal_window=(0, 12), sum_actions=True)
    assert (config.upsampling, config.network.encoder.name, config.network.image_size) == (10.0, "resnet34", 256)
    assert dataclasses.astuple(config.fit)[:7] == (500_000, 256, 3e-4, 2000, 1e-3, 0.98, 1.0)


def test_a_source_sums_actions_and_drops_idle_steps_as_configured() -> None:
    raw = make_sampler(ARRAYS, SourceConfig())
    summed = make_sampler(ARRAYS, SourceConfig(goal_window=(0, 12), sum_actions=True))
    assert summed.window == (0, 12)
    np.testing.assert_allclose(summed.arrays.actions_ND[0, :2], 2 * raw.arrays.actions_ND[0, :2], rtol=1e-6)
    still = dataclasses.replace(ARRAYS, states_ND=np.zeros_like(ARRAYS.states_ND))
    first_moves = still.states_ND.copy()
    first_moves[: ARRAYS.lengths_E[0] + 1] = ARRAYS.states_ND[: ARRAYS.lengths_E[0] + 1] * 10
    moving = dataclasses.replace(still, states_ND=first_moves)
    assert len(make_sampler(moving, SourceConfig(drop_idle=True))) == ARRAYS.lengths_E[0]
    assert len(make_sampler(moving, SourceConfig())) == ARRAYS.lengths_E.sum()


def test_a_source_draws_gripper_moments_and_rare_instructions_more_often() -> None:
    actions_ND = ARRAYS.actions_ND.copy()
    actions_ND[:, 6] = np.where(np.isnan(actions_ND[:, 6]), np.nan, 1)
    actions_ND[3, 6] = 0  # closes and opens again in the first episode: rows 2 to 6 matter
    instructions = ("rare", *("common" for _ in ARRAYS.lengths_E[1:]))
    arrays = dataclasses.replace(ARRAYS, actions_ND=actions_ND, instructions=instructions)
    rng = np.random.default_rng(0)

    def share(config: SourceConfig) -> float:
        drawn = make_sampler(arrays, config).sample(rng, 100_000).observation_indices
        return float(((drawn >= 2) & (drawn <= 6)).mean())

    steps, first = int(arrays.lengths_E.sum()), int(arrays.lengths_E[0])
    assert share(SourceConfig()) == pytest.approx(5 / steps, abs=0.01)
    assert share(SourceConfig(gripper_weight=5)) == pytest.approx(25 / (steps + 20), abs=0.01)
    # Balancing comes first: the other instruction keeps the weight of `first`, whatever happens at moments of the gripper.
    assert share(SourceConfig(gripper_weight=5, balance_instructions=True)) == pytest.approx(25 / (2 * first + 20), abs=0.01)
    # The first episode is the only one that its judge is unsure of.
    unsure = dataclasses.replace(arrays, probabilities_E=np.where(np.arange(len(arrays.lengths_E)) == 0, 0.25, 1.0))
    drawn = make_sampler(unsure, SourceConfig(weigh_by_probability=True)).sample(rng, 100_000).observation_indices
    assert float((drawn <= first).mean()) == pytest.approx(0.25 * first / (steps - 0.75 * first), abs=0.01)
    with pytest.raises(ConfigError, match="gripper_weight must be positive, got 0"):
        SourceConfig(gripper_weight=0)


def test_a_source_leaves_out_grasps_that_missed_and_commands_that_flicker() -> None:
    first = int(ARRAYS.lengths_E[0])
    actions_ND, states_ND = ARRAYS.actions_ND.copy(), ARRAYS.states_ND.copy()
    actions_ND[:first, 6], states_ND[:, 6] = 1, 1
    actions_ND[2, 6] = 0  # for one step
    actions_ND[first - 2 : first, 6] = 0
    states_ND[first - 1, 6] = 0  # the fingers meet
    arrays = dataclasses.replace(ARRAYS, actions_ND=actions_ND, states_ND=states_ND)
    sampler = make_sampler(arrays, SourceConfig(clean_grasps=True))
    assert (sampler.arrays.actions_ND[: first - 2, 6] == 1).all()
    rows = np.unique(sampler.sample(np.random.default_rng(0), 10_000).observation_indices)
    assert rows[rows < first].max() == first - 10, "eight steps before the fingers met"
    assert len(rows) == len(make_sampler(arrays, SourceConfig())) - 9


def test_a_source_draws_grasps_where_those_of_the_pre_training_data_are() -> None:
    rng = np.random.default_rng(0)
    own, reference = (grasping(rng.normal([x, 0], [0.04, 0.07], (300, 2))) for x in (0.33, 0.28))

    def mean_x(config: SourceConfig) -> float:
        drawn = make_sampler(own, config, reference).sample(rng, 20_000).observation_indices
        return float(grasp_places(own)[own.episode_N[drawn], 0].mean())

    assert mean_x(SourceConfig()) == pytest.approx(0.33, abs=0.01)
    assert mean_x(SourceConfig(balance_places=True)) == pytest.approx(0.28, abs=0.015)
    with pytest.raises(ConfigError, match="set it for `autonomous` only"):
        make_sampler(own, SourceConfig(balance_places=True))


def test_co_training_up_samples_autonomous_data_ten_times() -> None:
    pretraining, autonomous = make_sampler(dots(episodes=50), SourceConfig()), make_sampler(dots(episodes=1), SourceConfig())
    np.testing.assert_allclose(co_training_mixture(pretraining, autonomous).weights, [0.8, 0.2])
    assert co_training_mixture(pretraining, None).names == ("pretraining",)


def test_a_fixed_share_of_autonomous_data_does_not_depend_on_its_amount() -> None:
    sampler, few = HindsightSampler(dots(episodes=50)), HindsightSampler(dots(episodes=1))
    assert co_training_mixture(sampler, few, share=0.2).weights.tolist() == [0.8, 0.2]
    with pytest.raises(ConfigError, match="autonomous_share must lie between 0 and 1, got 2"):
        dataclasses.replace(CONFIG, autonomous_share=2)


def test_goals_of_a_source_are_chosen_as_configured() -> None:
    sampler = make_sampler(ARRAYS, SourceConfig(goals="geometric", goal_window=(1, 100), goal_discount=0.01))
    pairs = sampler.sample(np.random.default_rng(0), 1000)
    assert (pairs.goal_indices - pairs.observation_indices == 1).mean() > 0.97
    with pytest.raises(ConfigError, match="goal_discount must lie between 0 and 1, got 1"):
        SourceConfig(goal_discount=1)
    with pytest.raises(ConfigError, match="last-state-upweighted"):
        validate(SourceConfig, {"goals": "nearest"}, "source")
