"""SuSIE's published weights as a folder of `diffusers`, without JAX.

The file is Flax's, see `soar.nn.flax_checkpoints`. Flax keeps its kernels as (height, width, in, out) and (in, out), torch as
(out, in, height, width) and (out, in); the names differ in how lists are numbered. Every name and shape is checked against the
UNet that the weights are for before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from soar.errors import CheckpointError
from soar.nn.flax_checkpoints import read_flax
from soar.subgoals.diffusion import save_pipeline
from soar.untrusted import parse_json

UNET = {"sample_size": 32, "in_channels": 8, "out_channels": 4, "cross_attention_dim": 768}
"""What SuSIE's UNet is besides the defaults of `UNet2DConditionModel`, which are those of Stable Diffusion 1."""
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "epsilon",
}
_LISTS = "down_blocks|up_blocks|attentions|resnets|transformer_blocks|downsamplers|upsamplers|net|to_out"
_NUMBERED = re.compile(rf"({_LISTS})_(\d+)")
_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight", "bias": "bias"}
_FLAX_ONLY = ("_class_name", "dtype", "split_head_dim", "use_memory_efficient_attention")


def torch_weights(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return Flax arrays under torch's names and in torch's layout, float32.

    Raises:
        CheckpointError: A name is none of a UNet's, or a weight is no number.
    """
    weights = {}
    for name, array in arrays.items():
        *parts, leaf = name.removeprefix("params/").split("/")
        if leaf not in _LEAVES:
            raise CheckpointError(f"{name!r} is no parameter of a Flax UNet: it should end in {', '.join(_LEAVES)}")
        path = ".".join(_NUMBERED.sub(r"\1.\2", part) if _NUMBERED.fullmatch(part) else part for part in parts)
        values = np.asarray(array, np.float32)
        if leaf == "kernel":
            values = values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{name!r} holds NaN or infinity: the file is damaged, or its training failed. Download it again."
            )
        weights[f"{path}.{_LEAVES[leaf]}"] = torch.from_numpy(np.array(values, order="C"))
    return weights


def import_susie(source: Path, base: str, out: Path, unet_config: Path | None = None) -> int:
    """Write a folder that `soar.subgoals.diffusion` loads.

    Args:
        source: SuSIE's `unet/diffusion_flax_model.msgpack`.
        base: Path or hub name of a Stable Diffusion 1.5 pipeline, for the VAE, text encoder and tokenizer.
        out: The new folder; it must not exist.
        unet_config: JSON of the UNet's configuration; SuSIE's by default.

    Returns:
        How many parameters were converted.

    Raises:
        CheckpointError: The weights, their names or shapes, or the base are not what they should be. Nothing is written then.
    """
    import diffusers  # slow to import
    from transformers import CLIPTextModel, CLIPTokenizer

    if out.exists():
        raise CheckpointError(f"{out} exists already; name another folder with --out")
    weights = torch_weights(read_flax(source))
    unet = _empty_unet(diffusers, unet_config)
    _check(weights, {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()}, source)
    unet.load_state_dict(weights)
    try:
        local = {"local_files_only": Path(base).exists()}
        vae = diffusers.AutoencoderKL.from_pretrained(base, subfolder="vae", use_safetensors=True, **local)
        text = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", use_safetensors=True, **local)
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer", **local)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{base!r} has no VAE, text encoder and tokenizer as safetensors, or the hub cannot be reached: "
            f"{' '.join(str(error).split())[:300].rstrip('.')}. "
            "Name a folder or a hub's model of Stable Diffusion 1.5 with --base."
        ) from error
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    save_pipeline(pipeline, out)
    return sum(tensor.numel() for tensor in weights.values())


def _empty_unet(diffusers: Any, config: Path | None) -> Any:
    if config is None:
        return diffusers.UNet2DConditionModel(**UNET)
    try:
        values = parse_json(config.read_text(encoding="utf-8"))
        return diffusers.UNet2DConditionModel.from_config({k: v for k, v in values.items() if k not in _FLAX_ONLY})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{config} is not the configuration of a UNet: {error}") from error


def _check(weights: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]], source: Path) -> None:
    missing, foreign = sorted(shapes.keys() - weights.keys()), sorted(weights.keys() - shapes.keys())
    wrong = [
        f"{name} is {tuple(weights[name].shape)}, not {shapes[name]}"
        for name in sorted(shapes.keys() & weights.keys())
        if tuple(weights[name].shape) != shapes[name]
    ]
    problems = [
        *([f"{len(missing)} missing, such as {missing[0]}"] if missing else []),
        *([f"{len(foreign)} unknown, such as {foreign[0]}"] if foreign else []),
        *([f"{len(wrong)} of another shape, such as {wrong[0]}"] if wrong else []),
    ]
    if problems:
        raise CheckpointError(
            f"{source} does not fit the UNet: {'; '.join(problems)}. Pass the configuration of its UNet with --unet-config."
        )
