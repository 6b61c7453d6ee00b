from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from soar.errors import CheckpointError, ConfigError, SoarError
from soar.normalization import ActionStatistics
from soar.policies import learned
from soar.policies.encoders import EncoderConfig
from soar.policies.heads import HeadConfig
from soar.policies.instructions import InstructionConfig, InstructionEncoder
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.policies.lineage import Lineage, git_revision
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.testing.contracts import check_policy
from soar.types import Image, Observation

STATISTICS = ActionStatistics(
    mean=np.array([0.001, -0.002, 0.003, 0, 0, 0.01, 0], np.float32),
    std=np.array([0.009, 0.012, 0.012, 0.02, 0.02, 0.07, 1], np.float32),
)


def make_network(seed: int = 0, width: int = 4) -> PolicyNetwork:
    torch.manual_seed(seed)
    return PolicyNetwork(NetworkConfig(encoder=EncoderConfig(name="small", width=width), image_size=64))


def image(seed: int, size: int = 64) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def observe(seed: int, size: int = 64) -> Observation:
    return Observation(image_HWC=image(seed, size), state=np.zeros(7, np.float32))


def save(folder: Path, seed: int = 0) -> LearnedPolicy:
    return LearnedPolicy.save(folder, make_network(seed), STATISTICS, Lineage(metrics={"loss": 0.5}))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_policy_keeps_the_contract_of_policies(tmp_path: Path) -> None:
    check_policy(save(tmp_path))


def test_a_loaded_policy_acts_like_the_network_that_was_saved(tmp_path: Path) -> None:
    network = make_network()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    LearnedPolicy.save(tmp_path, network, STATISTICS, Lineage())
    policy = LearnedPolicy.load(tmp_path)
    observations, goals = [observe(0), observe(1)], [image(2), image(3)]
    actions = policy.act(observations, goals)
    network.eval()
    scale = lambda images: torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1  # noqa: E731
    with torch.no_grad():
        normalized = network(scale([o.image_HWC for o in observations]), scale(goals)).numpy()
    np.testing.assert_allclose(actions[:, :6], (normalized * STATISTICS.std + STATISTICS.mean)[:, :6], atol=1e-6)
    np.testing.assert_array_equal(actions[:, 6], normalized[:, 6] >= 0.5)


def test_a_policy_in_bfloat16_acts_nearly_the_same(tmp_path: Path) -> None:
    exact, fast = save(tmp_path), LearnedPolicy.load(tmp_path, bf16=True)
    assert fast.id == exact.id
    actions = [policy.act([observe(0)], [image(1)])[0, :6] / STATISTICS.std[:6] for policy in (exact, fast)]
    np.testing.assert_allclose(*actions, atol=0.05)
    assert not np.array_equal(*actions)


@pytest.mark.parametrize(("bias", "target"), [(-3.0, 0.0), (3.0, 1.0)])
def test_the_gripper_target_is_open_or_closed(tmp_path: Path, bias: float, target: float) -> None:
    network = make_network()
    with torch.no_grad():
        network.head[-1].bias[6] = bias
    policy = LearnedPolicy.save(tmp_path, network, STATISTICS, Lineage())
    assert policy.act([observe(0)], [image(1)])[0, 6] == target


def test_images_of_another_size_are_resized_by_area(tmp_path: Path) -> None:
    policy = save(tmp_path)
    large, goal = observe(0, 128), image(1, 256)
    small = Observation(
        image_HWC=np.asarray(cv2.resize(large.image_HWC, (64, 64), interpolation=cv2.INTER_AREA)), state=large.state
    )
    small_goal = np.asarray(cv2.resize(goal, (64, 64), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(policy.act([large], [goal]), policy.act([small], [small_goal]))


def test_no_observations_get_no_actions(tmp_path: Path) -> None:
    assert save(tmp_path).act([], []).shape == (0, 7)


def test_equal_policies_have_equal_ids_wherever_they_lie(tmp_path: Path) -> None:
    ids = [save(tmp_path / name, seed).id for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert ids[0] == ids[1] != ids[2]
    assert re.fullmatch(r"gcbc-[0-9a-f]{8}", ids[0])


def test_other_statistics_make_another_id(tmp_path: Path) -> None:
    faster = ActionStatistics(mean=STATISTICS.mean, std=STATISTICS.std * 2)
    assert LearnedPolicy.save(tmp_path / "b", make_network(), faster, Lineage()).id != save(tmp_path / "a").id


def test_lineage_is_read_back(tmp_path: Path) -> None:
    lineage = Lineage(parent="gcbc-1", data={"autonomous": {"episodes": 7}}, revision="abc", metrics={"loss": 0.25})
    LearnedPolicy.save(tmp_path, make_network(), STATISTICS, lineage)
    assert read_lineage(tmp_path) == lineage
    (tmp_path / "lineage.json").unlink()
    with pytest.raises(CheckpointError, match=r"lineage\.json cannot be read"):
        read_lineage(tmp_path)


def test_a_missing_folder_says_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no policy at .*nowhere.*soar train"):
        LearnedPolicy.load(tmp_path / "nowhere")


def test_a_folder_of_something_else_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        LearnedPolicy.load(tmp_path)
    (tmp_path / "config.json").write_text('{"kind": "vqa"}')
    with pytest.raises(CheckpointError, match="does not describe a SOAR policy"):
        LearnedPolicy.load(tmp_path)
    (tmp_path / "config.json").write_text('{"kind"')
    with pytest.raises(CheckpointError, match="damaged"):
        LearnedPolicy.load(tmp_path)


def test_an_unknown_schema_version_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    edit(tmp_path, schema_version=99)
    with pytest.raises(CheckpointError, match="schema_version 99, this SOAR reads 1"):
        LearnedPolicy.load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str) -> None:
    save(tmp_path)
    path = tmp_path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if damage == "changed" else data[:100])
    if damage == "gone":
        path.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors (is damaged|cannot be read)"):
        LearnedPolicy.load(tmp_path)


def test_weights_that_do_not_fit_the_configuration_name_the_tensor(tmp_path: Path) -> None:
    save(tmp_path)
    network = json.loads((tmp_path / "config.json").read_text())["network"]
    edit(tmp_path, network=network | {"encoder": {"name": "small", "width": 8}})
    with pytest.raises(CheckpointError, match=r"body\.0\.bias is \(4,\) in the file, \(8,\) by config\.json"):
        LearnedPolicy.load(tmp_path)


def test_weights_with_a_missing_tensor_name_it(tmp_path: Path) -> None:
    save(tmp_path)
    tensors = make_network().state_dict()
    del tensors["head.3.bias"]
    save_file(tensors, tmp_path / "model.safetensors")
    edit(tmp_path, sha256=learned.hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match=r"head\.3\.bias is missing in the file"):
        LearnedPolicy.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"network": {"depth": 3}}, "depth"),
        ({"network": {"image_size": "big"}}, "image_size"),
        ({"network": {"dropout": 2.0}}, "dropout"),
        ({"actions": {"mean": [0.0] * 7}}, "std"),
        ({"actions": {"mean": [0.0] * 7, "std": [1.0] * 6}}, "7 numbers"),
    ],
)
def test_an_invalid_description_names_the_field(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    save(tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(CheckpointError, match=named):
        LearnedPolicy.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SoarError, match="cannot write"):
        save(tmp_path / "file" / "000")


def test_the_git_revision_is_a_hash_or_nothing() -> None:
    assert re.fullmatch(r"([0-9a-f]{12,40}\+?)?", git_revision())


class Looking:
    """Counts how often a policy looks at its robots."""

    def __init__(self, network: PolicyNetwork) -> None:
        self.batches: list[int] = []
        plan = network.plan

        def counted(observation: torch.Tensor, goal: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            self.batches.append(len(observation))
            return plan(observation, goal, noise)

        network.plan = counted  # type: ignore[method-assign]


def save_flow(folder: Path) -> LearnedPolicy:
    torch.manual_seed(0)
    head = HeadConfig(name="flow", hidden=(16,), chunk=4, execute=2, steps=2)
    network = PolicyNetwork(NetworkConfig(encoder=EncoderConfig(name="small", width=4), head=head, image_size=64))
    return LearnedPolicy.save(folder, network, STATISTICS, Lineage())


def test_a_policy_with_chunks_looks_again_when_they_are_over_or_the_goal_changes(tmp_path: Path) -> None:
    policy = save_flow(tmp_path)
    check_policy(policy)
    policy.reset()
    looks = Looking(policy.network)
    one, other = image(1), image(2)
    first = [policy.act([observe(0), observe(0)], [one, one.copy()]) for _ in range(4)]
    assert looks.batches == [2, 2]
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_allclose(first[0][0], first[0][1], atol=1e-6)
    policy.act([observe(0), observe(0)], [one, one])
    policy.act([observe(0), observe(0)], [one, other])
    assert looks.batches == [2, 2, 2, 1]
    policy.reset()
    again = [policy.act([observe(0)], [one]) for _ in range(4)]
    np.testing.assert_allclose(np.stack(again)[:, 0], np.stack(first)[:, 0], atol=1e-6)


def save_language(folder: Path) -> LearnedPolicy:
    torch.manual_seed(0)
    instruction = InstructionConfig(encoder="hashed-words", features=16, hidden=8)
    network = PolicyNetwork(
        NetworkConfig(
            conditioning="language", encoder=EncoderConfig(name="small", width=4), instruction=instruction, image_size=64
        )
    )
    for film in network.encoder.films:  # type: ignore[union-attr]
        torch.nn.init.normal_(film.linear.weight)
    instructions = InstructionEncoder(instruction)
    instructions(["open the drawer", "close the drawer"])
    return LearnedPolicy.save(folder, network, STATISTICS, Lineage(), instructions)


def test_a_language_conditioned_policy_follows_instructions_and_carries_their_embeddings(tmp_path: Path) -> None:
    saved = save_language(tmp_path)
    policy = LearnedPolicy.load(tmp_path)
    assert policy.conditioning == "language"
    assert policy.id == saved.id
    assert policy.id.startswith("lcbc-")
    assert set(policy.instructions.known) == {"open the drawer", "close the drawer"}
    opening, closing = policy.act([observe(0), observe(0)], ["open the drawer", "close the drawer"])
    assert not np.allclose(opening[:6], closing[:6])
    np.testing.assert_allclose(policy.act([observe(0)], ["close the drawer"])[0], closing, atol=1e-5)


def test_a_goal_of_the_wrong_kind_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="follows instructions, and got images"):
        save_language(tmp_path / "language").act([observe(0)], [image(1)])
    with pytest.raises(ConfigError, match="follows goal images, and got instructions"):
        save(tmp_path / "goal").act([observe(0)], ["open the drawer"])
