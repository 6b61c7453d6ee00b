"""A goal-conditioned policy on disk and in use.

    folder/model.safetensors   the weights
    folder/lineage.json        where they come from, see `Lineage`
    folder/config.json         schema version, network, action statistics, preprocessing, SHA-256 of the weights

The folder holds all that a robot needs to reproduce the training's preprocessing. `config.json` is written last and names the
weights by their hash, so that a folder that was only half written is recognised as damaged.

Shape suffixes: B batch (robots), H height, W width, C channels, D action dimensions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from soar import configuration
from soar.episodes.relabel import ActionStatistics
from soar.errors import CheckpointError, ConfigError
from soar.files import replacing, write_json
from soar.policies.gcbc import GCBCConfig, GCBCNetwork, images_to_tensor
from soar.policies.lineage import Lineage
from soar.types import ACTION_DIM, Image, Observation

SCHEMA_VERSION = 1
KIND = "soar-gcbc-policy"
_PREPROCESSING = "resize by area to network.image_size; uint8 RGB / 127.5 - 1; observation and goal stacked on channels"
_REMEDY = "Pass the folder of a policy that `soar train` or `soar pretrain` wrote."


class GCBCPolicy:
    """A trained network that turns observations and goal images into actions in physical units."""

    def __init__(self, network: GCBCNetwork, statistics: ActionStatistics, id: str) -> None:
        self.network = network.eval()
        self.statistics = statistics
        self._id = id
        self._device = next(network.parameters()).device

    @property
    def id(self) -> str:
        """Kind and hash of configuration and weights: equal ids mean equal policies."""
        return self._id

    def act(self, observations: Sequence[Observation], goals: Sequence[Image]) -> NDArray[np.float32]:
        """Return the most likely actions (B, 7) in physical units; the gripper's target is exactly 0 or 1."""
        if len(observations) != len(goals):
            raise ValueError(f"each observation needs one goal, got {len(observations)} and {len(goals)}")
        if not observations:
            return np.zeros((0, ACTION_DIM), np.float32)
        size = self.network.config.image_size
        stacks_BHWC = np.stack(
            [
                np.concatenate([_resized(observation.image_HWC, size), _resized(goal, size)], axis=-1)
                for observation, goal in zip(observations, goals, strict=True)
            ]
        )
        with torch.inference_mode():
            images_BCHW = images_to_tensor(stacks_BHWC).to(self._device)
            normalized_BD = self.network(images_BCHW[:, :3], images_BCHW[:, 3:]).cpu().numpy()
        action_BD: NDArray[np.float32] = normalized_BD * self.statistics.std + self.statistics.mean
        action_BD[:, -1] = action_BD[:, -1] >= 0.5
        return action_BD

    def reset(self) -> None:
        """Do nothing: this policy remembers nothing."""

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> GCBCPolicy:
        """Load the policy in a folder.

        Raises:
            CheckpointError: The folder is missing, holds something else, is damaged, or its parts do not fit together.
        """
        folder = Path(folder)
        description = _read_description(folder)
        where = str(folder / "config.json")
        try:
            config = configuration.validate(GCBCConfig, description["network"], where)
            mean, std = (np.asarray(description["actions"][key], np.float32) for key in ("mean", "std"))
            expected_sha = str(description["sha256"])
        except ConfigError as error:
            raise CheckpointError(f"the policy does not fit this SOAR: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{where} is damaged: {error!r}. {_REMEDY}") from error
        if mean.shape != (ACTION_DIM,) or std.shape != (ACTION_DIM,) or not (np.isfinite(mean).all() and (std > 0).all()):
            raise CheckpointError(f"{where} is damaged: actions.mean and actions.std must hold {ACTION_DIM} numbers each")
        network = GCBCNetwork(config)
        _load_weights(network, folder / "model.safetensors", expected_sha)
        identity = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        return cls(network.to(device), ActionStatistics(mean=mean, std=std), f"gcbc-{identity[:8]}")

    @staticmethod
    def save(folder: Path | str, network: GCBCNetwork, statistics: ActionStatistics, lineage: Lineage) -> GCBCPolicy:
        """Write a policy to a folder and return it as it is read back.

        Raises:
            SoarError: The folder is read-only or the disk is full.
        """
        folder = Path(folder)
        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in network.state_dict().items()
        }
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
                "kind": KIND,
                "schema_version": SCHEMA_VERSION,
                "network": dataclasses.asdict(network.config),
                "actions": {"mean": statistics.mean.tolist(), "std": statistics.std.tolist()},
                "preprocessing": _PREPROCESSING,
                "sha256": sha256,
            },
        )
        return GCBCPolicy.load(folder)


def read_lineage(folder: Path | str) -> Lineage:
    """Return the lineage of the policy in a folder.

    Raises:
        CheckpointError: It is missing or damaged.
    """
    path = Path(folder) / "lineage.json"
    try:
        return configuration.validate(Lineage, json.loads(path.read_text()), str(path))
    except (OSError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. {_REMEDY}") from error


def _read_description(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not os.path.isdir(folder):  # unlike Path.is_dir, no exception where nothing may be looked at
        raise CheckpointError(f"there is no policy at {folder}: no such folder. {_REMEDY}")
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no policy: config.json is missing. {_REMEDY}")
    try:
        description = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. {_REMEDY}") from error
    if not isinstance(description, dict) or description.get("kind") != KIND:
        raise CheckpointError(f"{path} does not describe a SOAR policy (no kind {KIND!r}). {_REMEDY}")
    if description.get("schema_version") != SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: schema_version {description.get('schema_version')}, this SOAR reads {SCHEMA_VERSION}. Update SOAR."
        )
    return description


def _load_weights(network: GCBCNetwork, path: Path, expected_sha: str) -> None:
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
    expected = network.state_dict()
    wrong = [
        f"{name} is {_shape(tensors.get(name))} in the file, {_shape(expected.get(name))} by config.json"
        for name in sorted(expected | tensors)
        if _shape(tensors.get(name)) != _shape(expected.get(name))
    ]
    if wrong:
        raise CheckpointError(f"{path} does not fit config.json: {'; '.join(wrong[:3])}. Copy or train the policy again.")
    network.load_state_dict(tensors)


def _shape(tensor: torch.Tensor | None) -> str:
    return "missing" if tensor is None else str(tuple(tensor.shape))


def _resized(image_HWC: Image, size: int) -> NDArray[np.uint8]:
    if image_HWC.shape[:2] == (size, size):
        return image_HWC
    return np.asarray(cv2.resize(image_HWC, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
