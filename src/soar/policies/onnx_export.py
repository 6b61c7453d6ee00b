"""A trained policy becomes one ONNX file; `soar.policies.onnx` says what it holds and runs it without torch.

The file is checked before it is written: what onnxruntime computes from it must be what torch computes.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.cameras import MAIN
from soar.errors import CheckpointError, ConfigError
from soar.files import replacing
from soar.policies.base import Conditioning
from soar.policies.chunked import Both, Told
from soar.policies.learned import LearnedPolicy
from soar.policies.network import PolicyNetwork
from soar.policies.onnx import METADATA, OF_ANOTHER_CAMERA, OF_BOTH, SCHEMA_VERSION, SUFFIX, ExportedPolicy
from soar.seeding import generator

TOLERANCE = 1e-4
"""Largest difference between onnxruntime and torch, in normalised units (float32)."""
INPUTS: Mapping[Conditioning, tuple[bool, bool, bool]] = {
    "goal": (True, False, False),
    "language": (False, True, False),
    "both": (True, True, True),
}
"""Whether a policy's graph has the inputs `goal`, `embedding` and `given`."""
_OPSET = 20
_CHECKED = 3
"""Robots of the batch on which both are compared; the graph is traced with another number."""


class _Physical(nn.Module):
    """From uint8 images to chunks in physical units."""

    mean_D: Tensor
    std_D: Tensor

    def __init__(self, network: PolicyNetwork, mean_D: Tensor, std_D: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean_D", mean_D)
        self.register_buffer("std_D", std_D)

    def forward(
        self,
        observation_BHWC: Tensor,
        goal_BHWC: Tensor | None,
        embedding_BE: Tensor | None,
        given_B2: Tensor | None,
        noise_BHD: Tensor,
    ) -> Tensor:
        """Return (B, H, 7)."""
        goal: Tensor | Both[Tensor]
        if given_B2 is not None and goal_BHWC is not None and embedding_BE is not None:
            goal = Both(image=_scaled(goal_BHWC), embedding=embedding_BE, given_B2=given_B2)
        elif embedding_BE is not None:
            goal = embedding_BE
        else:
            assert goal_BHWC is not None
            goal = _scaled(goal_BHWC)
        chunks_BHD = self.network.plan(_scaled(observation_BHWC), goal, noise_BHD)
        return chunks_BHD * self.std_D + self.mean_D


def _scaled(image_BHWC: Tensor) -> Tensor:
    return image_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1


def export_policy(policy: LearnedPolicy, out: Path) -> float:
    """Write a policy as an ONNX file.

    Args:
        policy: On the CPU.
        out: The file; must end in .onnx.

    Returns:
        The largest difference to torch that was found, in normalised units; less than `TOLERANCE`.

    Raises:
        ConfigError: The file has another ending, or packages are missing.
        CheckpointError: onnxruntime computes something else than torch.
        SoarError: The file cannot be written.
    """
    if out.suffix != SUFFIX:
        raise ConfigError(f"--out: an exported policy is a file that ends in {SUFFIX}, got {out}")
    config = policy.network.config
    goal, embedding, given = INPUTS[config.conditioning]
    # A Gaussian has no use for noise: it would become an input that nothing reads.
    has = {"observation": True, "goal": goal, "embedding": embedding, "given": given, "noise": config.head.name == "flow"}
    names = [name for name, there in has.items() if there]
    model = _Physical(policy.network, *(torch.from_numpy(value) for value in (policy.statistics.mean, policy.statistics.std)))
    instructions = policy.instructions.known if embedding else {}
    metadata = {
        "schema_version": OF_BOTH if given else SCHEMA_VERSION if config.camera == MAIN else OF_ANOTHER_CAMERA,
        **({} if config.camera == MAIN else {"camera": config.camera}),
        "id": f"{policy.id}+onnx",
        "conditioning": config.conditioning,
        "image_size": config.image_size,
        "fit": config.fit,
        "chunk": config.head.chunk,
        "execute": config.head.execute,
        "action_std": policy.statistics.std.tolist(),
        "instruction": dataclasses.asdict(config.instruction),
        "instructions": list(instructions),
        "embeddings": base64.b64encode(b"".join(vector.tobytes() for vector in instructions.values())).decode(),
    }
    images, told, noise = _inputs(policy, 2)
    values = {"observation": images, "goal": told.image, "embedding": told.embedding, "given": told.given_B2, "noise": noise}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of deprecations inside of torch and onnxscript.
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            program = torch.onnx.export(
                model,
                tuple(torch.from_numpy(value) if has[name] else None for name, value in values.items()),
                input_names=names,
                output_names=["actions"],
                dynamic_shapes=[{0: torch.export.Dim.DYNAMIC} if there else None for there in has.values()],
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise ConfigError(
            f"an export needs a package that is not installed ({error}). Install it with `pip install 'soar-robot[onnx]'`"
        ) from error
    assert program is not None
    program.model.metadata_props[METADATA] = json.dumps(metadata)
    with replacing(out) as temporary:
        program.save(str(temporary))
        difference = _difference(policy, ExportedPolicy.load(temporary))
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"onnxruntime computes actions that differ by {difference:.2g} from torch's (normalised; {TOLERANCE} is "
                f"the limit). {out} was not written; try other versions of onnx, onnxscript and onnxruntime."
            )
    return difference


def _inputs(policy: LearnedPolicy, robots: int) -> tuple[NDArray[np.uint8], Both[NDArray[Any]], NDArray[np.float32]]:
    """Return images, goals of both kinds and noise of so many robots, drawn at random; of most robots one kind is missing."""
    config, rng = policy.network.config, generator(0, "export")
    size = config.image_size
    images, goals = rng.integers(0, 256, (2, robots, size, size, 3), np.uint8)
    embeddings = rng.standard_normal((robots, config.instruction.features), np.float32)
    noise = rng.standard_normal((robots, *policy.network.noise_shape), np.float32)
    given_B2 = np.array([[1, 1], [1, 0], [0, 1]], np.float32)[np.arange(robots) % 3]
    return images, Both(image=goals, embedding=embeddings, given_B2=given_B2), noise


def _difference(policy: LearnedPolicy, exported: ExportedPolicy) -> float:
    images, both, noise = _inputs(policy, _CHECKED)
    told: Mapping[Conditioning, Told] = {"goal": both.image, "language": both.embedding, "both": both}
    goal = told[policy.conditioning]
    ours, theirs = policy.predict(images, goal, noise), exported.predict(images, goal, noise)
    return float(np.abs((ours - theirs) / policy.statistics.std).max())
