from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.baselines.rewards import RewardConfig, rewards_of, verdicts
from soar.datasets import StepArrays
from soar.episodes.schema import EpisodeRecord
from soar.errors import ConfigError, StoreError
from soar.types import Label, Provenance


def arrays(*lengths: int) -> StepArrays:
    lengths_E = np.array(lengths)
    rows = int(lengths_E.sum()) + len(lengths)
    return StepArrays(
        images_NHWC=np.zeros((rows, 1, 1, 3), np.uint8),
        states_ND=np.zeros((rows, 7), np.float32),
        actions_ND=np.zeros((rows, 7), np.float32),
        starts_E=np.cumsum(lengths_E + 1) - lengths_E - 1,
        lengths_E=lengths_E,
        ids=tuple(map(str, range(len(lengths)))),
        instructions=("",) * len(lengths),
        probabilities_E=np.zeros(len(lengths)),
    )


def record(*labels: Label, simulator: bool | None = None, success: bool | None = None) -> EpisodeRecord:
    return EpisodeRecord(
        id="e", scene="s", instruction="i", length=3, success=success, probability=None, simulator_success=simulator,
        labels=labels, provenance=Provenance(policy=""), created_s=0, first_row=0, attempt=0, origin={},
    )  # fmt: skip


def test_the_last_three_steps_of_a_success_end_it_and_a_failure_never_ends() -> None:
    found = rewards_of(arrays(5, 4), np.array([True, False]), RewardConfig(discount=0.5))
    assert found.reward_N.tolist() == [-1, -1, 0, 0, 0, 0, -1, -1, -1, -1, 0]
    assert found.terminal_N.tolist() == [False, False, True, True, True] + [False] * 6
    assert found.return_N.tolist() == [-1.5, -1, 0, 0, 0, 0, -2, -2, -2, -2, 0]


def test_a_success_shorter_than_its_end_is_all_end() -> None:
    found = rewards_of(arrays(2), np.array([True]), RewardConfig())
    assert found.reward_N.tolist() == [0, 0, 0]
    assert found.terminal_N.tolist() == [True, True, False]


@given(
    length=st.integers(1, 40),
    discount=st.floats(0.5, 0.99),
    success=st.booleans(),
    reward=st.floats(0, 10),
    steps=st.integers(1, 5),
)
def test_a_return_is_its_reward_and_the_next_return(
    length: int, discount: float, success: bool, reward: float, steps: int
) -> None:
    config = RewardConfig(discount=discount, success_reward=reward, success_steps=steps)
    found = rewards_of(arrays(length), np.array([success]), config)
    for row in range(length):
        following = 0.0 if found.terminal_N[row] else found.return_N[row + 1] if row + 1 < length else config.failure_return
        assert found.return_N[row] == pytest.approx(found.reward_N[row] + discount * following, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_a_discount_of_one_is_refused_since_a_failure_never_ends(discount: float) -> None:
    with pytest.raises(ConfigError, match=r"discount must lie between 0 and 1.*never ends"):
        RewardConfig(discount=discount)


def test_a_reward_for_failing_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be below"):
        RewardConfig(step_reward=0.0)
    with pytest.raises(ConfigError, match=r"step_reward must not be positive, got 0.5.*failing for ever"):
        RewardConfig(step_reward=0.5, success_reward=1.0)
    assert RewardConfig(step_reward=0.0, success_reward=1.0).failure_return == 0


def test_episodes_that_nobody_judged_have_no_rewards() -> None:
    judged = record(Label(success=None, probability=None, source="vlm"))
    by_simulator = record(Label(success=True, probability=None, source="simulator"), simulator=True)
    assert verdicts([judged], "vlm", "store").tolist() == [False]  # undecidable
    assert verdicts([by_simulator], "simulator", "store").tolist() == [True]
    with pytest.raises(StoreError, match=r"store: 1 of 2 episodes have no verdict of the vlm \(e\).*soar data rejudge"):
        verdicts([judged, by_simulator], "vlm", "store")
    with pytest.raises(StoreError, match="no verdict of the simulator"):
        verdicts([judged], "simulator", "store")
    assert verdicts([dataclasses.replace(judged, success=True)], "vlm", "store").tolist() == [True]
