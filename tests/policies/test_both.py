"""A policy that takes a goal image, an instruction, or both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soar.collect.models import NONE, wants_subgoals
from soar.collect.rollout import RolloutConfig, rollout
from soar.errors import CheckpointError, ConfigError
from soar.policies.card import card
from soar.policies.chunked import Both
from soar.policies.encoders import EncoderConfig
from soar.policies.heads import HeadConfig
from soar.policies.instructions import InstructionConfig, InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage
from soar.policies.loading import load_policy
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.policies.onnx import ExportedPolicy
from soar.policies.onnx_export import export_policy
from soar.policies.probing import Situation, probe
from soar.robots import SafeRobot
from soar.robots.safety import SafetyLimits
from soar.serving.application import ServiceConfig
from soar.serving.policies import policy_application
from soar.testing import FakeRobot, FakeSubgoals
from soar.testing.contracts import check_policy
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Goal, ImageAndInstruction
from tests.policies.test_learned import STATISTICS, image, observe, save, save_language
from tests.serving.running import running

OPEN, CLOSE = "open the drawer", "close the drawer"
WORDS = InstructionConfig(encoder="hashed-words", features=16, hidden=8)
CONFIG = NetworkConfig(
    conditioning="both", encoder=EncoderConfig(name="small", width=4), instruction=WORDS, image_size=64, auxiliary_weight=0.1
)
GOALS: list[Goal] = [
    image(7),
    OPEN,
    ImageAndInstruction(image_HWC=image(7), instruction=OPEN),
    ImageAndInstruction(image_HWC=image(7), instruction=CLOSE),
    ImageAndInstruction(image_HWC=image(8), instruction=OPEN),
]
"""Each differs from each other one in what a policy is told."""


def save_both(folder: Path, head: HeadConfig | None = None) -> LearnedPolicy:
    """A policy that has learned nothing, whose words have a say."""
    torch.manual_seed(0)
    network = PolicyNetwork(CONFIG if head is None else NetworkConfig(**{**_fields(CONFIG), "head": head}))
    for film in network.encoder.films:  # type: ignore[union-attr]
        torch.nn.init.normal_(film.linear.weight)
    instructions = InstructionEncoder(WORDS)
    instructions([OPEN, CLOSE])
    return LearnedPolicy.save(folder, network, STATISTICS, Lineage(), instructions)


def _fields(config: NetworkConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def act(policy: Any, goals: list[Goal]) -> np.ndarray[Any, Any]:
    """Return what is done about each goal from one observation, in units of the actions."""
    policy.reset()
    return np.asarray(policy.act([observe(0)] * len(goals), goals) / policy.action_std)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[LearnedPolicy, Path]:
    folder = tmp_path_factory.mktemp("both")
    return save_both(folder), folder


def test_whatever_is_missing_actions_are_finite_and_everything_that_is_told_has_a_say(
    both: tuple[LearnedPolicy, Path],
) -> None:
    actions = act(both[0], GOALS)
    assert np.isfinite(actions).all()
    for first in range(len(GOALS)):
        for second in range(first):
            assert np.abs(actions[first] - actions[second]).max() > 1e-3, f"{first} and {second} are told apart"
    np.testing.assert_allclose(actions[1], act(both[0], [OPEN])[0], atol=1e-4)


def test_what_is_not_given_counts_for_nothing_whatever_stands_in_its_place(both: tuple[LearnedPolicy, Path]) -> None:
    rng = np.random.default_rng(0)
    given = np.array([[1, 0], [0, 1]], np.float32)
    told = [
        Both(
            image=rng.integers(0, 256, (2, 64, 64, 3), np.uint8),
            embedding=rng.standard_normal((2, 16), np.float32),
            given_B2=given,
        )
        for _ in range(2)
    ]
    kept = Both(
        image=np.stack([told[0].image[0], told[1].image[1]]),
        embedding=np.stack([told[1].embedding[0], told[0].embedding[1]]),
        given_B2=given,
    )
    seen, noise = np.stack([image(1), image(2)]), np.zeros((2, 1, 7), np.float32)
    np.testing.assert_array_equal(both[0].predict(seen, told[0], noise), both[0].predict(seen, kept, noise))
    found = both[0].predict(seen, told[0], noise)
    assert not np.allclose(found, both[0].predict(seen, told[1], noise))
    second = np.array([1])
    np.testing.assert_allclose(both[0].predict(seen[1:], told[0][second], noise[1:]), found[1:], atol=1e-5)


def test_a_goal_image_that_is_not_given_costs_nothing_in_the_auxiliary_loss() -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(CONFIG).eval()
    pictures, states = torch.rand(2, 4, 3, 64, 64) * 2 - 1, torch.randn(2, 4, 7)

    def state_error(goal_states: torch.Tensor, given: list[float]) -> float:
        goal = Both(image=pictures[1], embedding=torch.randn(4, 16), given_B2=torch.tensor([given] * 4))
        with torch.no_grad():
            found = network.losses(
                pictures[0], goal, torch.zeros(4, 7), observation_state_BD=states[0], goal_state_BD=goal_states
            )
        return float(found["state_error"])

    assert state_error(states[1], [0, 1]) == pytest.approx(state_error(states[1] + 5, [0, 1]), rel=1e-3)
    assert state_error(states[1] + 5, [1, 0]) > 2 * state_error(states[1], [1, 0])


def test_saved_loaded_and_exported_policies_agree(both: tuple[LearnedPolicy, Path], tmp_path: Path) -> None:
    saved, folder = both
    loaded = load_policy(str(folder))
    assert (loaded.id, loaded.conditioning) == (saved.id, "both")
    assert loaded.id.startswith("glcbc-")
    check_policy(loaded)
    assert export_policy(saved, tmp_path / "both.onnx") <= 1e-4
    exported = ExportedPolicy.load(tmp_path / "both.onnx")
    check_policy(exported)
    np.testing.assert_allclose(act(exported, GOALS), act(saved, GOALS), atol=1e-4)
    assert "follows an instruction, or both" in card(folder, name="x", license="mit")


def test_a_chunk_is_planned_anew_when_either_half_of_the_goal_changes(tmp_path: Path) -> None:
    policy = save_both(tmp_path, HeadConfig(name="flow", hidden=(16,), chunk=4, execute=4, steps=2))
    plans: list[int] = []
    plan = policy.network.plan
    policy.network.plan = lambda *told: (plans.append(1), plan(*told))[1]  # type: ignore[method-assign]
    for goal in (GOALS[2], ImageAndInstruction(image_HWC=image(7), instruction=OPEN), GOALS[3], GOALS[4]):
        policy.act([observe(0)], [goal])
    assert len(plans) == 3


@pytest.mark.parametrize("imagines", [True, False])
def test_an_episode_tells_it_subgoals_with_the_instruction_or_the_instruction_alone(
    both: tuple[LearnedPolicy, Path], monkeypatch: pytest.MonkeyPatch, imagines: bool
) -> None:
    policy, told = both[0], list[Goal]()
    acting = policy.act
    monkeypatch.setattr(policy, "act", lambda seen, goals: told.extend(goals) or acting(seen, goals))
    assert wants_subgoals(policy, "model" if imagines else NONE) is imagines
    config = RolloutConfig(subgoals=2, steps_per_subgoal=2)
    robot, model = SafeRobot(FakeRobot(size=64), FAKE_WORKSPACE), FakeSubgoals() if imagines else None
    result = rollout(robot, OPEN, model, policy, seed=0, config=config)
    assert len(told) == 4
    if not imagines:
        assert told == [OPEN] * 4
        return
    for goal, subgoal in zip(told, [result.subgoals[0]] * 2 + [result.subgoals[1]] * 2, strict=True):
        assert isinstance(goal, ImageAndInstruction)
        assert goal.instruction == OPEN
        np.testing.assert_array_equal(goal.image_HWC, subgoal.image_HWC)


def test_without_subgoals_a_policy_that_reaches_nothing_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--subgoals none: policy gcbc-.* follows goal images.*soar train glcbc"):
        wants_subgoals(save(tmp_path / "goal"), NONE)
    assert not wants_subgoals(save_language(tmp_path / "language"), NONE)


def test_one_of_a_single_kind_does_not_take_both(tmp_path: Path) -> None:
    for policy in (save(tmp_path / "goal"), save_language(tmp_path / "language")):
        with pytest.raises(ConfigError, match="and got images with instructions"):
            policy.act([observe(0)], [GOALS[2]])


def test_behind_a_server_it_acts_as_here(both: tuple[LearnedPolicy, Path]) -> None:
    policy = both[0]
    with running(policy_application(policy, ServiceConfig())) as url:
        served = load_policy(url)
        assert served.conditioning == "both"
        check_policy(served)
        np.testing.assert_allclose(act(served, GOALS), act(policy, GOALS), atol=1e-4)


def test_a_server_refuses_what_its_policy_is_not_told(tmp_path: Path) -> None:
    import httpx

    from soar.remote.wire import pack

    item = {"image": pack(image(1), "png"), "state": [0.0] * 7, "plan_index": 0}
    goals = [{"goal": OPEN, "instruction": OPEN}, {"goal": pack(image(2), "png"), "instruction": OPEN}]
    for policy, refused in ((save_both(tmp_path / "both"), goals[:1]), (save(tmp_path / "goal"), goals)):
        with running(policy_application(policy, ServiceConfig())) as url:
            for goal in refused:
                answer = httpx.post(f"{url}/v1/actions", json={"items": [item | goal]})
                assert (answer.status_code, "follows goal images" in answer.text) == (422, True), answer.text


def test_a_probe_says_what_it_wants_and_whether_it_listens(both: tuple[LearnedPolicy, Path]) -> None:
    limits = SafetyLimits()
    situation = Situation(observation=observe(0), instruction=OPEN, another=CLOSE, limits=limits, workspace=FAKE_WORKSPACE)
    found = {finding.check: finding for finding in probe(both[0], situation, asks=2)}
    assert "follows goal images, instructions and both" in found["policy"].detail
    assert found["another instruction"].ok


def test_another_conditioning_is_refused_with_the_valid_ones(both: tuple[LearnedPolicy, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"network.conditioning: unknown 'touch'. Valid choices: goal, language, both."):
        NetworkConfig(conditioning="touch")  # type: ignore[arg-type]
    save_both(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["network"]["conditioning"] = "goal"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"does not fit config.json: encoder.films"):
        LearnedPolicy.load(tmp_path)
