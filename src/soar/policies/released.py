"""Released JAX checkpoints become policies here: no JAX is needed, a checkpoint is msgpack (upstream format of flax).

    checkpoint            {"params": …, "opt_states": …, …}, as one file, see `soar.nn.flax_checkpoints`
    params                …/encoder/…   conv_init, norm_init, ResNetBlock_i or BottleneckResNetBlock_i
                          …/network     Dense_0, Dense_1, …: the hidden layers
                          …/Dense_0     the mean of the action

Convolutions are stored (height, width, in, out) and become (out, in, height, width); dense layers are transposed. The paddings
are those of `soar.policies.encoders.ResNet`. The architecture follows from the names and shapes; what is left over is an error.

A released checkpoint does not hold its action statistics, so that they must be given; without the right ones a policy is
useless. `configs/actions` has those of BridgeData v2.

Shape suffixes: none; arrays are parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from soar import configuration
from soar.errors import CheckpointError, ConfigError
from soar.nn.flax_checkpoints import read_flax
from soar.normalization import ActionStatistics
from soar.policies.encoders import STAGES, EncoderConfig
from soar.policies.heads import HeadConfig
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage, git_revision
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.types import ACTION_DIM

Parameters = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionsConfig:
    """Statistics of a dataset's actions, see `configs/actions`.

    Attributes:
        mean: Of the six motion dimensions [m, rad].
        std: Of the six motion dimensions [m, rad].
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != ACTION_DIM - 1 or len(self.std) != ACTION_DIM - 1 or min(self.std) <= 0:
            raise ConfigError(
                f"actions: mean and std must hold {ACTION_DIM - 1} numbers each, and std positive ones; got {list(self.mean)} "
                f"and {list(self.std)}"
            )

    def statistics(self) -> ActionStatistics:
        """Return them with the gripper's, which is not normalised."""
        return ActionStatistics(mean=np.array([*self.mean, 0], np.float32), std=np.array([*self.std, 1], np.float32))


def import_checkpoint(
    source: Path, folder: Path, *, actions: str, image_size: int = 256, dropout: float = 0.1, gripper_std: float = 0.1
) -> LearnedPolicy:
    """Write a released goal-conditioned checkpoint to a folder as a policy.

    Args:
        source: The msgpack file, or a folder that holds it as `checkpoint`.
        folder: Where the policy goes; must not hold one.
        actions: Name of the statistics of its training data under `configs/actions`, or path of a YAML file.
        image_size: Of the images that it was trained on [px].
        dropout: Of its head; of interest only when it is trained further.
        gripper_std: Fixed deviation of its gripper target; of interest only when it is trained further.

    Raises:
        CheckpointError: The file is missing, damaged, or holds another network.
        ConfigError: There are no such statistics.
    """
    statistics = configuration.load(ActionsConfig, "actions", actions).statistics()
    if (folder / "config.json").exists():
        raise CheckpointError(f"{folder} holds a policy already. Write to another folder, or move that one away.")
    path = _file(source)
    parameters = _policy_parameters(read_flax(path), path)
    config = _architecture(parameters, path, image_size=image_size, dropout=dropout, gripper_std=gripper_std)
    network = PolicyNetwork(config)
    network.load_state_dict(_state(parameters, network, path))
    lineage = Lineage(parent=f"{path.parent.name}/{path.name}", revision=git_revision())
    return LearnedPolicy.save(folder, network, statistics, lineage)


def _file(source: Path) -> Path:
    candidates = [source, source / "checkpoint", source / "checkpoint" / "checkpoint"]
    for path in candidates:
        if path.is_file():
            return path
    raise CheckpointError(
        f"there is no checkpoint at {source}. Pass the msgpack file, or the folder that holds it as `checkpoint`; checkpoints "
        "in other formats (a folder of many files) are not read."
    )


def _policy_parameters(flat: Mapping[str, NDArray[Any]], path: Path) -> Parameters:
    """Return the policy's parameters, by names that begin with `encoder`, `network` or `mean`."""
    # A training state holds the parameters several times: as they are, as a target, as moments of the optimiser.
    stems = sorted((name for name in flat if name.endswith("/conv_init/kernel")), key=_rank)
    if not stems:
        raise CheckpointError(f"{path} holds no ResNet (no conv_init/kernel). Pass a goal-conditioned policy.")
    encoder = stems[0].removesuffix("/conv_init/kernel")
    actor = encoder
    while actor and f"{actor}/network/Dense_0/kernel" not in flat:
        actor = actor.rpartition("/")[0]
    if not actor:
        raise CheckpointError(f"{path} holds no action head (no network/Dense_0 beside {encoder}).")
    found: Parameters = {}
    for name, value in flat.items():
        if name.startswith(f"{encoder}/"):
            found["encoder" + name.removeprefix(encoder)] = value.astype(np.float32)
        elif name.startswith(f"{actor}/network/"):
            found[name.removeprefix(f"{actor}/")] = value.astype(np.float32)
        elif name.startswith(f"{actor}/"):
            found["mean/" + name.removeprefix(f"{actor}/")] = value.astype(np.float32)
    return found


def _rank(name: str) -> tuple[bool, int]:
    parts = name.split("/")
    return "params" not in parts or any(part.startswith(("opt_state", "target")) for part in parts), len(parts)


def _architecture(parameters: Parameters, path: Path, *, image_size: int, dropout: float, gripper_std: float) -> NetworkConfig:
    blocks = {int(match[2]): match[1] for name in parameters if (match := re.match(r"encoder/(\w*?ResNetBlock)_(\d+)/", name))}
    bottleneck = "BottleneckResNetBlock" in blocks.values()
    names = [name for name, stages in STAGES.items() if sum(stages) == len(blocks) and (name == "resnet50") == bottleneck]
    stem = parameters["encoder/conv_init/kernel"]
    channels, width = stem.shape[2:]
    if not names or channels not in (6, 8):
        raise CheckpointError(
            f"{path} holds an encoder of {len(blocks)} residual blocks for images of {channels} channels. Encoders that can be "
            f"imported: {', '.join(STAGES)} of an observation and a goal stacked on channels (6, or 8 with coordinates)."
        )
    layers = sorted(int(name.split("_")[1].split("/")[0]) for name in parameters if re.match(r"network/Dense_\d+/kernel", name))
    hidden = tuple(parameters[f"network/Dense_{layer}/kernel"].shape[1] for layer in layers)
    return NetworkConfig(
        encoder=EncoderConfig(name=names[0], width=width, spatial_coordinates=channels == 8),  # type: ignore[arg-type]
        head=HeadConfig(hidden=hidden),
        image_size=image_size,
        dropout=dropout,
        gripper_std=gripper_std,
    )


def _state(parameters: Parameters, network: PolicyNetwork, path: Path) -> dict[str, torch.Tensor]:
    """Return the state of a network, made of all parameters."""
    left = dict(parameters)
    wrong: list[str] = []
    state: dict[str, torch.Tensor] = {}
    for name, value in network.state_dict().items():
        source = _source(name, network)
        found = left.pop(source, None)
        layout = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim)
        if found is not None and layout and found.ndim == value.ndim:
            found = found.transpose(layout)
        if found is None or found.shape != tuple(value.shape):
            wrong.append(f"{source} should become {tuple(value.shape)}, is {'missing' if found is None else found.shape}")
        else:
            state[name] = torch.from_numpy(np.ascontiguousarray(found))
    wrong += [f"{name} is one too many" for name in left]
    if wrong:
        raise CheckpointError(f"{path} holds another network: {'; '.join(wrong[:3])}. Nothing was written.")
    return state


_PARTS = {"stem": "conv_init", "norm": "norm_init", "shortcut.0": "conv_proj", "shortcut.1": "norm_proj"}


def _source(name: str, network: PolicyNetwork) -> str:
    """Return the released name of one of our parameters."""
    module, _, kind = name.rpartition(".")
    is_norm = isinstance(network.get_submodule(module), torch.nn.GroupNorm)
    leaf = ("scale" if is_norm else "kernel") if kind == "weight" else "bias"
    if match := re.fullmatch(r"head\.(\d+)\.0", module):
        return f"network/Dense_{match[1]}/{leaf}"
    if module.startswith("head."):
        return f"mean/Dense_0/{leaf}"
    if match := re.fullmatch(r"encoder\.blocks\.(\d+)\.(.+)", module):
        kind = "BottleneckResNetBlock" if network.config.encoder.name == "resnet50" else "ResNetBlock"
        part = match[2]
        if part not in _PARTS:
            part = ("MyGroupNorm_" if is_norm else "Conv_") + str(int(part[-1]) - 1)
        return f"encoder/{kind}_{match[1]}/{_PARTS.get(part, part)}/{leaf}"
    return f"encoder/{_PARTS[module.removeprefix('encoder.')]}/{leaf}"
