"""Training of policies that take goal images and instructions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.datasets import HindsightSampler, Mixture, StepArrays, action_statistics
from soar.episodes import EpisodeStore
from soar.errors import ConfigError, StoreError
from soar.policies.encoders import EncoderConfig
from soar.policies.heads import HeadConfig
from soar.policies.instructions import InstructionConfig, InstructionEncoder
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.training.augment import NO_AUGMENTATION
from soar.training.config import PolicyTrainingConfig, conditioned
from soar.training.learner import ImitationLearner, LearningData
from soar.training.loop import FitConfig
from soar.training.policy import train_policy
from soar.training.samples import Samples
from soar.types import Goal, ImageAndInstruction, Observation
from tests.episodes.builders import make_episode
from tests.training.test_policy import CONFIG, MIXTURE, STATISTICS

WORDS = InstructionConfig(encoder="hashed-words", features=16, hidden=16)
NETWORK = dataclasses.replace(CONFIG.network, conditioning="both", instruction=WORDS, dropout=0.0, gripper_std=1.0)
BOTH = dataclasses.replace(CONFIG, network=NETWORK)
STEP = 0.01


def two_answers() -> StepArrays:
    """Episodes of one step each: where the dot is in the goal image decides x, and only that; the words decide y."""
    sides = [(left, word) for left in (0, 1) for word in (0, 1)] * 2
    images = np.zeros((2 * len(sides), 64, 64, 3), np.uint8)
    actions = np.full((2 * len(sides), 7), np.nan, np.float32)
    for episode, (left, word) in enumerate(sides):
        images[2 * episode + 1, 24:40, (4 if left else 44) : (20 if left else 60)] = 255
        actions[2 * episode] = [STEP * (2 * left - 1), STEP * (2 * word - 1), 0, 0, 0, 0, 1]
    return StepArrays(
        images_NHWC=images,
        states_ND=np.zeros((len(images), 7), np.float32),
        actions_ND=actions,
        starts_E=np.arange(len(sides)) * 2,
        lengths_E=np.ones(len(sides), np.int64),
        ids=tuple(str(index) for index in range(len(sides))),
        instructions=tuple("raise the block" if word else "lower the block" for _, word in sides),
        probabilities_E=np.ones(len(sides)),
    )


def test_it_learns_what_only_the_goal_says_and_what_only_the_words_say_and_acts_with_either(tmp_path: Path) -> None:
    arrays = two_answers()
    fit = FitConfig(steps=120, batch_size=16, warmup_steps=5, learning_rate=3e-3, checkpoint_every=120, log_every=40)
    network = dataclasses.replace(NETWORK, encoder=EncoderConfig(name="small", width=8), head=HeadConfig(hidden=(64,)))
    config = dataclasses.replace(BOTH, fit=fit, network=network, augmentation=NO_AUGMENTATION)
    mixture = Mixture([("two", HindsightSampler(arrays, window=(1, 1)), 1.0)])
    policy = LearnedPolicy.load(train_policy(config, mixture, action_statistics(arrays), tmp_path))
    seen = Observation(image_HWC=arrays.images_NHWC[0], state=np.zeros(7, np.float32))
    right, left = arrays.images_NHWC[1], arrays.images_NHWC[5]

    def moves(goal: Goal) -> tuple[float, float]:
        policy.reset()
        x, y = policy.act([seen], [goal])[0, :2] / STEP
        return float(x), float(y)

    for image, x in ((left, 1), (right, -1)):
        for word, y in (("raise the block", 1), ("lower the block", -1)):
            assert moves(ImageAndInstruction(image_HWC=image, instruction=word)) == pytest.approx((x, y), abs=0.3)
            assert moves(word)[1] == pytest.approx(y, abs=0.3)
            assert abs(moves(word)[0]) < 0.5, "the words say nothing of x"
        assert moves(image)[0] == pytest.approx(x, abs=0.3)
        assert abs(moves(image)[1]) < 0.5, "the image says nothing of y"


def test_each_condition_is_left_out_three_times_in_ten_and_never_both_as_the_seed_says() -> None:
    samples = Samples(BOTH, MIXTURE, InstructionEncoder(WORDS))
    batch = samples.draw(np.random.default_rng(0), 10_000)
    assert batch.given_B2 is not None
    np.testing.assert_allclose(1 - batch.given_B2.mean(0), 0.3, atol=0.02)
    assert batch.given_B2.max(-1).min() == 1
    again = samples.draw(np.random.default_rng(0), 10_000)
    np.testing.assert_array_equal(batch.given_B2, again.given_B2)
    part = samples.gather(batch, np.array([3, 5]))
    assert part.given_B2 is not None
    assert part.embeddings_BE is not None
    np.testing.assert_array_equal(part.given_B2, batch.given_B2[[3, 5]])
    others = Samples(CONFIG, MIXTURE, InstructionEncoder(WORDS)).draw(np.random.default_rng(0), 10_000)
    assert others.given_B2 is None
    np.testing.assert_array_equal(others.augmentation_BU, batch.augmentation_BU)
    kept = dataclasses.replace(BOTH, condition_dropout=0.0)
    whole = Samples(kept, MIXTURE, InstructionEncoder(WORDS)).draw(np.random.default_rng(0), 100)
    assert whole.given_B2 is not None
    assert whole.given_B2.min() == 1
    with pytest.raises(ConfigError, match=r"condition_dropout must lie between 0 and 0\.5"):
        dataclasses.replace(BOTH, condition_dropout=0.6)


def test_an_interrupted_training_resumes_to_the_same_policy_and_another_dropout_is_another_run(tmp_path: Path) -> None:
    def interrupt(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    whole = train_policy(BOTH, MIXTURE, STATISTICS, tmp_path / "whole", validation=MIXTURE)
    assert "validation/autonomous/motion_error" in read_lineage(whole).metrics
    with pytest.raises(KeyboardInterrupt):
        train_policy(BOTH, MIXTURE, STATISTICS, tmp_path / "cut", on_step=interrupt)
    with pytest.raises(ConfigError, match=r"condition_dropout \(0.3 there, 0.1 now\)"):
        train_policy(dataclasses.replace(BOTH, condition_dropout=0.1), MIXTURE, STATISTICS, tmp_path / "cut")
    cut = train_policy(BOTH, MIXTURE, STATISTICS, tmp_path / "cut")
    assert LearnedPolicy.load(cut).id == LearnedPolicy.load(whole).id


def learned(folder: Path, recipe: PolicyTrainingConfig, **episode: Any) -> tuple[Path, LearningData]:
    store = EpisodeStore(folder / "store", mode="create")
    store.append([make_episode(f"e{index}", steps=6, size=64, seed=index, **episode) for index in range(3)])
    data = LearningData(pretraining=store.uri)
    return ImitationLearner(recipe).learn(None, data, folder / "base", seed=0), data


def test_a_candidate_of_a_base_that_takes_both_takes_both(tmp_path: Path) -> None:
    fit = FitConfig(steps=2, batch_size=4, warmup_steps=1, checkpoint_every=2)
    recipe = dataclasses.replace(CONFIG, fit=fit)
    told = conditioned(recipe, "both", "hashed-words")
    base, data = learned(tmp_path, told)
    assert LearnedPolicy.load(base).conditioning == "both"
    learner = ImitationLearner(recipe)
    assert learner.check(base) == LearnedPolicy.load(base).id
    candidate = LearnedPolicy.load(learner.learn(base, data, tmp_path / "candidate", seed=1))
    assert candidate.network.config.conditioning == "both"
    assert read_lineage(tmp_path / "candidate").parent == LearnedPolicy.load(base).id


def test_without_instructions_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none of the 3 episodes .* has an instruction"):
        learned(tmp_path, conditioned(CONFIG, "both", "hashed-words"), instruction="")
