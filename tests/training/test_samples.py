from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from soar.datasets import HindsightSampler, Mixture
from soar.errors import SoarError, StoreError
from soar.policies.heads import HeadConfig
from soar.policies.instructions import InstructionConfig, InstructionEncoder
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.training.checkpoints import claim
from soar.training.config import PolicyTrainingConfig
from soar.training.data import with_instructions
from soar.training.policy import train_policy
from soar.training.samples import Samples, chunks_of
from tests.training.test_policy import ARRAYS, CONFIG, MIXTURE, OBSERVATION, STATISTICS

WORDS = InstructionConfig(encoder="hashed-words", features=16, hidden=16)
LANGUAGE = dataclasses.replace(CONFIG, network=dataclasses.replace(CONFIG.network, conditioning="language", instruction=WORDS))
FLOW = dataclasses.replace(
    CONFIG, network=dataclasses.replace(CONFIG.network, head=HeadConfig(name="flow", hidden=(32,), chunk=3, execute=2))
)


def test_chunks_end_with_their_episode() -> None:
    chunks = chunks_of(ARRAYS, np.array([0, 10, 11, 13]), 3)
    np.testing.assert_array_equal(chunks[0], ARRAYS.actions_ND[0:3])
    np.testing.assert_array_equal(chunks[1][:2], ARRAYS.actions_ND[10:12])
    assert np.isnan(chunks[1][2]).all()
    assert np.isnan(chunks[2][1:]).all()
    np.testing.assert_array_equal(chunks[3], ARRAYS.actions_ND[13:16])


def test_parts_of_a_batch_are_the_batch() -> None:
    samples = Samples(CONFIG, MIXTURE, InstructionEncoder(WORDS))
    batch = samples.draw(np.random.default_rng(0))
    whole = samples.gather(batch, slice(None)).hindsight
    parts = [samples.gather(batch, slice(part, None, 2)).hindsight for part in range(2)]
    assert whole is not None
    for name in ("observation_BHWC", "goal_BHWC", "actions_BD", "source_B", "rows_B"):
        for part, found in enumerate(parts):
            np.testing.assert_array_equal(getattr(whole, name)[part::2], getattr(found, name))


def test_every_sample_has_the_embedding_of_its_own_instruction() -> None:
    arrays = dataclasses.replace(ARRAYS, instructions=tuple(f"move number {index}" for index in range(6)))
    encoder = InstructionEncoder(WORDS)
    samples = Samples(LANGUAGE, Mixture([("own", HindsightSampler(arrays), 1.0)]), encoder)
    batch = samples.gather(samples.draw(np.random.default_rng(0)), slice(None))
    assert batch.embeddings_BE is not None
    expected = encoder([f"move number {row // 13}" for row in batch.draw.observation_B])
    np.testing.assert_array_equal(batch.embeddings_BE, expected)


@pytest.mark.parametrize(("config", "goal"), [(LANGUAGE, "move"), (FLOW, ARRAYS.images_NHWC[5])])
def test_language_and_flow_train_to_policies_that_act(config: PolicyTrainingConfig, goal: object, tmp_path: Path) -> None:
    folder = train_policy(config, MIXTURE, STATISTICS, tmp_path / "000", validation=MIXTURE)
    policy = LearnedPolicy.load(folder)
    assert policy.act([OBSERVATION], [goal]).shape == (1, 7)  # type: ignore[list-item]
    assert "validation/autonomous/motion_error" in read_lineage(folder).metrics
    child = train_policy(config, MIXTURE, STATISTICS, tmp_path / "001", initial=folder)
    assert read_lineage(child).parent == policy.id


def test_a_loss_that_is_not_finite_names_the_episodes(tmp_path: Path) -> None:
    actions = ARRAYS.actions_ND.copy()
    actions[0:12, 0] = np.inf
    broken = dataclasses.replace(ARRAYS, actions_ND=actions, ids=tuple(f"episode-{index}" for index in range(6)))
    only = HindsightSampler(broken, weights=(broken.episode_N == 0).astype(float))
    with pytest.raises(SoarError, match=r"loss is (inf|nan) at step 1, whose batch is from the episodes episode-0\."):
        train_policy(CONFIG, Mixture([("broken", only, 1.0)]), STATISTICS, tmp_path)


def test_episodes_without_an_instruction_are_left_out_and_none_with_one_is_an_error() -> None:
    some = dataclasses.replace(ARRAYS, instructions=("move", "", " ", "move", "", ""))
    assert with_instructions(some, "here").ids == ("0", "3")
    with pytest.raises(StoreError, match=r"none of the 6 episodes of here has an instruction.*soar train gcbc"):
        with_instructions(dataclasses.replace(ARRAYS, instructions=("",) * 6), "here")
    with pytest.raises(StoreError, match="without an instruction"):
        Samples(LANGUAGE, Mixture([("some", HindsightSampler(some), 1.0)]), InstructionEncoder(WORDS))


def test_a_run_that_was_begun_before_an_option_existed_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    claim(path, {"steps": 5}, {})
    claim(path, {"steps": 5, "compile": False}, {"steps": 1, "compile": False})
    with pytest.raises(SoarError, match=r"compile \(False there, True now\)"):
        claim(path, {"steps": 5, "compile": True}, {"steps": 1, "compile": False})


def test_the_numbers_that_decide_an_augmentation_are_independent() -> None:
    draws = Samples(CONFIG, MIXTURE, InstructionEncoder(WORDS)).draw(np.random.default_rng(0), 1000).augmentation_BU
    assert draws.shape == (1000, 8)
    assert np.abs(np.corrcoef(draws.T) - np.eye(8)).max() < 0.15
