"""A trained policy on disk and in use.

    folder/model.safetensors   the weights; of a policy that takes instructions also the embeddings of the instructions it knows
    folder/lineage.json        where they come from, see `Lineage`
    folder/config.json         schema version, network, action statistics, preprocessing, instructions, SHA-256 of the weights

The folder holds all that a robot needs to reproduce the training's preprocessing. `config.json` is written last and names the
weights by their hash, so that a folder that was only half written is recognised as damaged.

How it acts between two looks at its robots is in `soar.policies.chunked`.

Shape suffixes: B batch (robots), H height or actions of a chunk, W width, C channels, D action dimensions, E embedding.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from soar import configuration
from soar.cameras import MAIN
from soar.errors import CheckpointError, ConfigError
from soar.files import replacing, write_json
from soar.nn.model_files import make_network
from soar.normalization import ActionStatistics
from soar.policies.base import Conditioning
from soar.policies.chunked import Both, PlanningPolicy, Told
from soar.policies.instructions import InstructionEncoder
from soar.policies.lineage import Lineage, policy_id
from soar.policies.network import NetworkConfig, PolicyNetwork, images_to_tensor
from soar.types import ACTION_DIM
from soar.untrusted import parse_json

SCHEMA_VERSION = 1
KINDS: Mapping[Conditioning, str] = {
    "goal": "soar-gcbc-policy",
    "language": "soar-lcbc-policy",
    "both": "soar-glcbc-policy",
}
_INSTRUCTIONS = "instructions"
_RESIZE = "brought to network.image_size as network.fit says (soar.images); uint8 RGB / 127.5 - 1"
_PREPROCESSING: Mapping[Conditioning, str] = {
    "goal": f"{_RESIZE}; observation and goal stacked on channels",
    "language": f"{_RESIZE}; instruction embedded by network.instruction.encoder",
    "both": f"{_RESIZE}; observation and goal stacked on channels; instruction embedded by network.instruction.encoder; zeros "
    "in place of what is not given",
}
_REMEDY = "Pass the folder of a policy that `soar train` or `soar pretrain` wrote."


class LearnedPolicy(PlanningPolicy):
    """A trained network that turns observations and goals into actions in physical units.

    Args:
        network: The network.
        statistics: How its actions are normalised.
        id: See `id`.
        instructions: Embeds instructions; needed by a policy that takes them.
        bf16: Compute in bfloat16 autocast; faster, and actions differ by some thousandths of their standard deviation.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        statistics: ActionStatistics,
        id: str,
        instructions: InstructionEncoder | None = None,
        *,
        bf16: bool = False,
    ) -> None:
        config = network.config
        super().__init__(
            id=id,
            conditioning=config.conditioning,
            fitter=config.fitter,
            chunk=config.head.chunk,
            execute=config.head.execute,
            action_std=statistics.std,
            instructions=instructions or InstructionEncoder(config.instruction),
            camera=config.camera,
        )
        self.network = network.eval()
        self.statistics = statistics
        self._bf16 = bf16
        self._device = next(network.parameters()).device

    def predict(
        self,
        observation_BHWC: NDArray[np.uint8],
        goal: Told,
        noise_BHD: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return chunks of actions (B, H, 7), see `PlanningPolicy.predict`."""
        images_BCHW, noise = images_to_tensor(observation_BHWC).to(self._device), torch.from_numpy(noise_BHD).to(self._device)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            plan_BHD = self.network.plan(images_BCHW, goal_tensors(goal, self._device), noise)
            normalized_BHD: NDArray[np.float32] = plan_BHD.float().cpu().numpy()
        return np.asarray(normalized_BHD * self.statistics.std + self.statistics.mean)

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu", *, bf16: bool = False) -> LearnedPolicy:
        """Load the policy in a folder.

        Args:
            folder: Of the policy.
            device: Of torch.
            bf16: Compute in bfloat16 autocast, see the class.

        Raises:
            CheckpointError: The folder is missing, holds something else, is damaged, or its parts do not fit together.
        """
        folder = Path(folder)
        description = _read_description(folder)
        where = str(folder / "config.json")
        try:
            config = configuration.validate(NetworkConfig, description["network"], where)
            mean, std = (np.asarray(description["actions"][key], np.float32) for key in ("mean", "std"))
            expected_sha = str(description["sha256"])
        except ConfigError as error:
            raise CheckpointError(f"the policy does not fit this SOAR: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where} is damaged: {error!r}. {_REMEDY}") from error
        if mean.shape != (ACTION_DIM,) or std.shape != (ACTION_DIM,) or not (np.isfinite(mean).all() and (std > 0).all()):
            raise CheckpointError(f"{where} is damaged: actions.mean and actions.std must hold {ACTION_DIM} numbers each")
        network = make_network(PolicyNetwork, config, folder)
        texts = [str(text) for text in description.get(_INSTRUCTIONS, [])]
        vectors_NE = _load_weights(network, folder / "model.safetensors", expected_sha, len(texts))
        instructions = InstructionEncoder(config.instruction, dict(zip(texts, vectors_NE, strict=True)))
        statistics = ActionStatistics(mean=mean, std=std)
        return cls(network.to(device), statistics, policy_id(description), instructions, bf16=bf16)

    @staticmethod
    def save(
        folder: Path | str,
        network: PolicyNetwork,
        statistics: ActionStatistics,
        lineage: Lineage,
        instructions: InstructionEncoder | None = None,
    ) -> LearnedPolicy:
        """Write a policy to a folder, see `write`, and return it as it is read back."""
        LearnedPolicy.write(folder, network, statistics, lineage, instructions)
        return LearnedPolicy.load(folder)

    @staticmethod
    def write(
        folder: Path | str,
        network: PolicyNetwork,
        statistics: ActionStatistics,
        lineage: Lineage,
        instructions: InstructionEncoder | None = None,
    ) -> None:
        """Write a policy to a folder; the embeddings that `instructions` knows go with it.

        Raises:
            SoarError: The folder is read-only or the disk is full.
        """
        folder = Path(folder)
        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in network.state_dict().items()
        }
        known = instructions.known if instructions is not None else {}
        if known:
            tensors[_INSTRUCTIONS] = torch.from_numpy(np.stack(list(known.values())))
        with replacing(folder / "model.safetensors") as temporary:
            try:
                save_file(tensors, temporary)
            except SafetensorError as error:  # It wraps the operating system's error, such as a full disk.
                raise OSError(str(error)) from error
            sha256 = hashlib.sha256(temporary.read_bytes()).hexdigest()
        write_json(folder / "lineage.json", dataclasses.asdict(lineage))
        write_json(
            folder / "config.json",
            {
                "kind": KINDS[network.config.conditioning],
                "schema_version": SCHEMA_VERSION,
                "network": _described(network.config),
                "actions": {"mean": statistics.mean.tolist(), "std": statistics.std.tolist()},
                "preprocessing": _PREPROCESSING[network.config.conditioning],
                **({_INSTRUCTIONS: list(known)} if known else {}),
                "sha256": sha256,
            },
        )


def goal_tensors(goal: Told, device: torch.device | str) -> torch.Tensor | Both[torch.Tensor]:
    """Return what robots are told as a network takes it, on its device."""
    if isinstance(goal, Both):
        return Both(
            image=images_to_tensor(goal.image).to(device),
            embedding=torch.from_numpy(goal.embedding).to(device),
            given_B2=torch.from_numpy(goal.given_B2).to(device),
        )
    if goal.dtype == np.uint8:
        return images_to_tensor(np.asarray(goal, np.uint8)).to(device)
    return torch.from_numpy(goal).to(device)


def read_lineage(folder: Path | str) -> Lineage:
    """Return the lineage of the policy in a folder.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    path = Path(folder) / "lineage.json"
    try:
        return configuration.validate(Lineage, parse_json(path.read_text(encoding="utf-8")), str(path))
    except (OSError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {_REMEDY}") from error


def _described(config: NetworkConfig) -> dict[str, Any]:
    """Return a network's configuration as JSON; the main camera is not said, so that older versions read it."""
    return {name: value for name, value in dataclasses.asdict(config).items() if (name, value) != ("camera", MAIN)}


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not os.path.isdir(folder):  # unlike Path.is_dir, no exception where nothing may be looked at
        what = "that is a file, and a policy's folder is asked for here" if os.path.isfile(folder) else "no such folder"
        raise CheckpointError(f"there is no policy at {folder}: {what}. {_REMEDY}")
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no policy: config.json is missing. {_REMEDY}")
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. {_REMEDY}") from error
    if not isinstance(description, dict) or description.get("kind") not in KINDS.values():
        raise CheckpointError(f"{path} does not describe a SOAR policy (no kind {' or '.join(KINDS.values())}). {_REMEDY}")
    if description.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: schema_version {description.get('schema_version')}, this SOAR reads {SCHEMA_VERSION}. Update SOAR."
        )
    return description


def _load_weights(network: PolicyNetwork, path: Path, expected_sha: str, texts: int) -> NDArray[np.float32]:
    """Load the weights into a network, and return the embeddings (texts, E) of the instructions."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}. {_REMEDY}") from error
    if hashlib.sha256(data).hexdigest() != expected_sha:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 is not the sha256 of config.json. Copy or train the policy again."
        )
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}. Copy or train the policy again.") from error
    features = network.config.instruction.features
    expected = network.state_dict()
    vectors_NE = torch.zeros(texts, features)
    if texts:
        expected = {**expected, _INSTRUCTIONS: vectors_NE}
        vectors_NE = tensors.get(_INSTRUCTIONS, vectors_NE)
    wrong = [
        f"{name} is {_shape(tensors.get(name))} in the file, {_shape(expected.get(name))} by config.json"
        for name in sorted(expected | tensors)
        if _shape(tensors.get(name)) != _shape(expected.get(name))
    ]
    if wrong:
        raise CheckpointError(f"{path} does not fit config.json: {'; '.join(wrong[:3])}. Copy or train the policy again.")
    network.load_state_dict({name: value for name, value in tensors.items() if name != _INSTRUCTIONS})
    return vectors_NE.numpy()


def _shape(tensor: torch.Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))
