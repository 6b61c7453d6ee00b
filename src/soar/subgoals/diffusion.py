"""Subgoals from any InstructPix2Pix-style checkpoint of `diffusers`, such as SuSIE's (paper §B.4).

`soar.subgoals.diffusion_sampling` does the sampling. An image is resized to the model's resolution, and its subgoal back
to the image's. Each subgoal has a seed of its own: in float32 it depends on image, instruction and seed only; in half precision
also, by a grey level here and there, on the batch.

A model that makes NaN or infinity in half precision, or a picture of one colour (a filter for pictures paints it black),
imagines nothing, and a robot must not pursue that: it is a `NumericalError`, or the same again in float32 if the file says so.

A folder that `soar train subgoal` wrote says in `sampling.yaml` how its images are sampled; for others the defaults count.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch

from soar.errors import CheckpointError, ConfigError, NumericalError, SoarError
from soar.images import resized
from soar.nn.devices import usable_device
from soar.remote.fallbacks import fell_back
from soar.subgoals.base import check_imagined
from soar.subgoals.diffusion_sampling import DiffusionSampler, DiffusionSamplingConfig
from soar.subgoals.flow import to_float, to_uint8
from soar.types import Image

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PIPELINE = "model_index.json"
"""What makes a folder a pipeline of `diffusers`."""
SAMPLING = "sampling.yaml"
"""Beside it: the fields of `DiffusionSamplingConfig` that fit the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionConfig(DiffusionSamplingConfig):
    """One checkpoint and how it is sampled; the content of a YAML file with `backend: diffusion`.

    Attributes:
        model: Path of a folder with model_index.json, or a name on the hub.
        revision: Of the hub's model; the newest by default.
        batch_size: Images at a time.
        device: Of torch; `auto` takes a GPU when there is one.
        dtype: Of the weights; `auto` is bfloat16 on a GPU and float32 elsewhere.
        channels_last: Keep images and convolutions channels-last in memory, which is faster; `auto` does so in half precision.
        compile: Let `torch.compile` make the UNet faster; the first images then take minutes. Batches are filled up to 1, 2, 4
            … images, so that few shapes are compiled.
        camera: Whose pictures it imagines; empty: any camera's.
        numerical_failure: What NaN in half precision means: `stop`, or go on in `float32` for good, which listeners are told.
    """

    model: str
    revision: str | None = None
    batch_size: int = 8
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool = False
    camera: str = ""
    numerical_failure: Literal["stop", "float32"] = "stop"

    def __post_init__(self) -> None:
        DiffusionSamplingConfig.__post_init__(self)
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be positive, got {self.batch_size}")


class DiffusionSubgoals:
    """A `soar.subgoals.base.SubgoalModel` around an InstructPix2Pix pipeline."""

    def __init__(self, config: DiffusionConfig, pipeline: Any) -> None:
        """Take a pipeline that is where it is to run."""
        self.config = config
        if config.camera:
            self.camera = config.camera
        sampled = f"{config.sampler}{config.steps}-{config.guidance:g}-{config.image_guidance:g}"
        if config.spacing is not None:
            sampled += f"-{config.spacing}"
        if not config.everywhere:
            sampled += "-guided{:g}to{:g}".format(*config.guidance_interval)
        self._id = f"diffusion-{_digest(pipeline.unet)}-{sampled}"
        half = next(pipeline.unet.parameters()).dtype != torch.float32
        if config.channels_last is True or (config.channels_last == "auto" and half):
            for part in (pipeline.unet, pipeline.vae):
                part.to(memory_format=torch.channels_last)
        if config.compile:
            pipeline.unet.fuse_qkv_projections()
        # Shapes are few (see `_filled`), so each may have kernels of its own.
        self._sampler = DiffusionSampler(
            pipeline, config, torch.compile(pipeline.unet, dynamic=False) if config.compile else None
        )

    @classmethod
    def load(cls, config: DiffusionConfig) -> Self:
        """Load a checkpoint; from the hub it is downloaded once. Only safetensors are read: they run no code.

        Raises:
            CheckpointError: There is no such checkpoint, or it is not an InstructPix2Pix one, or damaged.
            ConfigError: The device cannot be used.
        """
        device = usable_device(config.device)
        dtype = DTYPES[config.dtype if config.dtype != "auto" else "float32" if device == "cpu" else "bfloat16"]
        return cls(config, load_pipeline(config.model, config.revision, dtype).to(device))

    @property
    def id(self) -> str:
        """`diffusion-`, a digest of the UNet's weights, and how it is sampled."""
        return self._id

    def reset(self) -> None:
        """Nothing is kept."""

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal a (image, instruction), of the image's own size.

        Raises:
            NumericalError: The model made something that is no number, or a picture of one colour.
        """
        if not len(images) == len(instructions) == len(seeds):
            raise ValueError(f"{len(images)} images, {len(instructions)} instructions and {len(seeds)} seeds")
        goals: list[Image] = []
        for start in range(0, len(images), self.config.batch_size):
            part = slice(start, start + self.config.batch_size)
            goals += self._generate(images[part], instructions[part], seeds[part])
        return goals

    def _generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        size = (self.config.image_size, self.config.image_size)
        small = [torch.from_numpy(resized(image, size)) for image in images]
        noise = [torch.randn(self._sampler.noise_shape, generator=torch.Generator("cpu").manual_seed(seed)) for seed in seeds]
        texts, count = list(instructions), len(images)
        if self.config.compile:
            extra = _filled(count, self.config.batch_size) - count
            small, noise, texts = small + small[:1] * extra, noise + noise[:1] * extra, texts + texts[:1] * extra
        made_BCHW = self._edit(to_float(torch.stack(small)), texts, torch.stack(noise))
        goals = to_uint8(made_BCHW[:count]).numpy()
        check_imagined(list(goals), images, self.id)
        return [resized(goal, image.shape[1::-1]) for goal, image in zip(goals, images, strict=True)]

    def _edit(self, images_BCHW: torch.Tensor, texts: Sequence[str], noise_BCHW: torch.Tensor) -> torch.Tensor:
        try:
            return self._sampler.edit(images_BCHW, texts, noise_BCHW)
        except NumericalError as error:
            if self.config.numerical_failure == "stop" or self._sampler.dtype == torch.float32:
                raise
            fell_back(self.id, "float32", str(error))
        # From the file: weights that were halved before stay so. It is not compiled again.
        pipeline = load_pipeline(self.config.model, self.config.revision).to(self._sampler.device)
        self._sampler = DiffusionSampler(pipeline, self.config)
        return self._sampler.edit(images_BCHW, texts, noise_BCHW)


def load_pipeline(model: str, revision: str | None = None, dtype: torch.dtype = torch.float32) -> Any:
    """Return an InstructPix2Pix pipeline of `diffusers` from a folder or the hub.

    Raises:
        CheckpointError: There is no such checkpoint, or it is not an InstructPix2Pix one, or damaged.
    """
    diffusers = quiet_diffusers()
    try:
        pipeline = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
            model,
            revision=revision,
            dtype=dtype,
            use_safetensors=True,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
            local_files_only=Path(model).exists(),
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise CheckpointError(
            f"the subgoal model {model!r} cannot be loaded: {' '.join(str(error).split())[:400]}. "
            "Name a folder or a model of the hub that holds an InstructPix2Pix pipeline as safetensors."
        ) from error
    needed = 2 * pipeline.vae.config.latent_channels
    if pipeline.unet.config.in_channels != needed:
        raise CheckpointError(
            f"the UNet of {model!r} has {pipeline.unet.config.in_channels} input channels; one that edits images "
            f"has {needed}: noise and image. Name an InstructPix2Pix-style checkpoint."
        )
    return pipeline


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Write a pipeline to a folder, in which other files may be; whole or, without its model_index.json, not at all.

    Raises:
        SoarError: The folder is read-only or the disk is full.
    """
    quiet_diffusers()
    aside: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".pipeline.", dir=folder))
        pipeline.save_pretrained(aside, safe_serialization=True)
        (folder / PIPELINE).unlink(missing_ok=True)
        for part in sorted(aside.iterdir(), key=lambda part: part.name == PIPELINE):
            if part.is_dir():
                shutil.rmtree(folder / part.name, ignore_errors=True)
            part.rename(folder / part.name)
    except OSError as error:
        raise SoarError(
            f"cannot write the pipeline {folder}: {error.strerror or error}. Free some space or choose a folder that you may "
            "write to, then run the same command again."
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def quiet_diffusers() -> Any:
    """Return `diffusers`, without progress bars of its own, and without what it says on import: that torchvision is missing."""
    import diffusers  # slow to import
    import transformers

    messages = transformers.utils.logging
    diffusers.utils.logging.disable_progress_bar()
    messages.disable_progress_bar()
    before = messages.get_verbosity()
    messages.set_verbosity_error()
    try:
        # Nothing is imported before it is asked for.
        _ = diffusers.StableDiffusionInstructPix2PixPipeline
    finally:
        messages.set_verbosity(before)
    return diffusers


def _filled(count: int, most: int) -> int:
    """Return the next power of two, at most `most`."""
    return min(most, 1 << (count - 1).bit_length())


def _digest(unet: Any) -> str:
    """Return what tells a UNet from all others."""
    sha = hashlib.sha256()
    for name, tensor in sorted(unet.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    return sha.hexdigest()[:8]
