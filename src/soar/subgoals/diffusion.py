"""Subgoals from any InstructPix2Pix-style checkpoint of `diffusers`, such as SuSIE's (paper §B.4).

The released pipeline does the sampling: in each step one call of the UNet for all images and all three guidance branches, and

    noise = none + image_guidance · (image − none) + guidance · (image and text − image)

An image is resized to the model's resolution, and its subgoal back to the image's. Each subgoal has a seed of its own: in
float32 it depends on image, instruction and seed only; in half precision also, by a grey level here and there, on the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import cv2
import numpy as np
import torch
from PIL import Image as Pillow

from soar.errors import CheckpointError, ConfigError
from soar.types import Image

SAMPLERS = {
    "ddim": "DDIMScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
"""`ddim` is the reference; the others come to much the same in fewer steps."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig:
    """One checkpoint and how it is sampled; the content of a YAML file with `backend: diffusion`.

    Attributes:
        model: Path of a folder with model_index.json, or a name on the hub.
        revision: Of the hub's model; the newest by default.
        guidance: Weight of the text; more than 1.
        image_guidance: Weight of the image; at least 1.
        sampler: See `SAMPLERS`.
        steps: Of the sampler.
        image_size: Side of the model's images [px], a multiple of 8.
        batch_size: Images at a time.
        device: Of torch; `auto` takes a GPU when there is one.
        dtype: Of the weights; `auto` is bfloat16 on a GPU and float32 elsewhere.
        compile: Let `torch.compile` make the UNet faster; the first image then takes minutes.
    """

    model: str
    revision: str | None = None
    guidance: float = 7.5
    image_guidance: float = 2.0
    sampler: Literal["ddim", "dpm", "unipc", "euler"] = "ddim"
    steps: int = 50
    image_size: int = 256
    batch_size: int = 8
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        if not self.guidance > 1 or not self.image_guidance >= 1:
            # Below these the pipeline turns guidance off altogether.
            raise ConfigError(
                f"guidance must be more than 1 and image_guidance at least 1, got {self.guidance} and {self.image_guidance}"
            )
        if self.image_size < 8 or self.image_size % 8:
            raise ConfigError(f"image_size must be a multiple of 8, got {self.image_size}")
        if self.steps < 1 or self.batch_size < 1:
            raise ConfigError(f"steps and batch_size must be positive, got {self.steps} and {self.batch_size}")


class DiffusionSubgoals:
    """A `soar.subgoals.base.SubgoalModel` around a released InstructPix2Pix pipeline."""

    def __init__(self, config: DiffusionConfig, pipeline: Any, digest: str) -> None:
        self.config, self._pipeline = config, pipeline
        self._id = f"diffusion-{digest}-{config.sampler}{config.steps}-{config.guidance:g}-{config.image_guidance:g}"

    @classmethod
    def load(cls, config: DiffusionConfig) -> Self:
        """Load a checkpoint; from the hub it is downloaded once. Only safetensors are read: they run no code.

        Raises:
            CheckpointError: There is no such checkpoint, or it is not an InstructPix2Pix one, or damaged.
        """
        import diffusers  # slow to import

        device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        dtype = _DTYPES[config.dtype if config.dtype != "auto" else "float32" if device == "cpu" else "bfloat16"]
        try:
            pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
                config.model,
                revision=config.revision,
                dtype=dtype,
                use_safetensors=True,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
                local_files_only=Path(config.model).exists(),
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise CheckpointError(
                f"the subgoal model {config.model!r} cannot be loaded: {' '.join(str(error).split())[:400]}. "
                "Name a folder or a model of the hub that holds an InstructPix2Pix pipeline as safetensors."
            ) from error
        needed = 2 * pipeline.vae.config.latent_channels
        if pipeline.unet.config.in_channels != needed:
            raise CheckpointError(
                f"the UNet of {config.model!r} has {pipeline.unet.config.in_channels} input channels; one that edits images "
                f"has {needed}: noise and image. Name an InstructPix2Pix-style checkpoint."
            )
        scheduler = getattr(diffusers, SAMPLERS[config.sampler])
        # DDIM clips its estimate of pixels by default; latents are no pixels.
        options = {"clip_sample": False} if config.sampler == "ddim" else {}
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **options)
        pipeline.set_progress_bar_config(disable=True)
        digest = _digest(pipeline.unet)
        pipeline.to(device)
        if config.compile:
            pipeline.unet = torch.compile(pipeline.unet)
        return cls(config, pipeline, digest)

    @property
    def id(self) -> str:
        """`diffusion-`, a digest of the UNet's weights, and how it is sampled."""
        return self._id

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal a (image, instruction), of the image's own size."""
        if not len(images) == len(instructions) == len(seeds):
            raise ValueError(f"{len(images)} images, {len(instructions)} instructions and {len(seeds)} seeds")
        goals: list[Image] = []
        for start in range(0, len(images), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            goals += self._generate(images[part], instructions[part], seeds[part])
        return goals

    def _generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        size = (self.config.image_size, self.config.image_size)
        with torch.inference_mode():
            made_BHWC = self._pipeline(
                prompt=list(instructions),
                image=[Pillow.fromarray(_resized(image, size)) for image in images],
                num_inference_steps=self.config.steps,
                guidance_scale=self.config.guidance,
                image_guidance_scale=self.config.image_guidance,
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
                output_type="np",
            ).images
        goals = np.rint(255 * np.nan_to_num(made_BHWC)).clip(0, 255).astype(np.uint8)
        return [_resized(goal, image.shape[1::-1]) for goal, image in zip(goals, images, strict=True)]


def _resized(image_HWC: Image, size: tuple[int, ...]) -> Image:
    if image_HWC.shape[1::-1] == tuple(size):
        return image_HWC
    smaller = size[0] < image_HWC.shape[1]
    resized = cv2.resize(image_HWC, tuple(size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(resized, np.uint8)


def _digest(unet: Any) -> str:
    """Return what tells a UNet from all others."""
    sha = hashlib.sha256()
    for name, tensor in sorted(unet.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return sha.hexdigest()[:8]
