"""Editing images by latent diffusion: the sampling loop behind `soar.subgoals.diffusion` and its training.

    image ──► VAE ──► latents ─┐
    text ──► text encoder ─────┼──► UNet, `steps` times ──► latents ──► VAE ──► image
    noise ─────────────────────┘

It computes what the released InstructPix2Pix pipeline computes, step for step, and leaves out what that does twice:

- The three branches of guidance (neither condition, image, image and text) are one batch of the UNet:
  noise = N + image_guidance · (I − N) + guidance · (T − I). A branch whose coefficient is 0 is not computed.
- Guidance can be limited to an interval of the steps; outside it, a step costs one branch instead of three. Off by default:
  it changes the images.
- An image that occurs several times in a batch is encoded once, and an instruction once in the life of the model.
- Latents stay in float32 between steps, whatever the weights' precision.
- What is no number (float16 ends at 65504) is an error that says which part made it; it never becomes a grey picture.

Shape suffixes: B images, C channels, H height, W width, L tokens, D width of a token. Images inside are float in [-1, 1].
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from soar.errors import ConfigError, NumericalError

SAMPLERS = {
    "ddim": "DDIMScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
"""`ddim` is the reference; the others come to much the same in fewer steps."""
_TEXTS_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionSamplingConfig:
    """How images are sampled (defaults: paper §B.4).

    Attributes:
        guidance: Weight of the text; 1 is none.
        image_guidance: Weight of the image; 1 is none.
        guidance_interval: Share of the steps at which guidance begins, and at which it ends; the first steps are the noisiest.
        sampler: See `SAMPLERS`.
        steps: Of the sampler.
        spacing: Which noise levels the steps visit, as `diffusers` names it; the checkpoint's own by default.
        image_size: Side of the model's images [px].
    """

    guidance: float = 7.5
    image_guidance: float = 2.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    sampler: Literal["ddim", "dpm", "unipc", "euler"] = "ddim"
    steps: int = 50
    spacing: Literal["leading", "trailing", "linspace"] | None = None
    image_size: int = 256

    def __post_init__(self) -> None:
        if not (0 <= self.guidance < float("inf") and 0 <= self.image_guidance < float("inf")):
            raise ConfigError(f"guidance and image_guidance must be 0 or more, got {self.guidance} and {self.image_guidance}")
        begin, end = self.guidance_interval
        if not 0 <= begin < end <= 1:
            raise ConfigError(f"guidance_interval must be [begin, end] with 0 <= begin < end <= 1, got [{begin}, {end}]")
        if self.sampler not in SAMPLERS:
            raise ConfigError(f"sampler must be one of {', '.join(SAMPLERS)}, got {self.sampler!r}")
        if self.image_size < 8 or self.image_size % 8:
            raise ConfigError(f"image_size must be a multiple of 8, got {self.image_size}")
        if self.steps < 1:
            raise ConfigError(f"steps must be positive, got {self.steps}")

    @property
    def everywhere(self) -> bool:
        """Whether every step is guided."""
        return self.guidance_interval == (0.0, 1.0)


class DiffusionSampler:
    """The parts of a pipeline, and how they are sampled.

    Args:
        pipeline: A `StableDiffusionInstructPix2PixPipeline`; its parts are on one device.
        config: How to sample.
        unet: Called instead of the pipeline's UNet, for example a compiled one.
    """

    def __init__(self, pipeline: Any, config: DiffusionSamplingConfig, unet: Callable[..., Any] | None = None) -> None:
        self.config, self.pipeline = config, pipeline
        self._unet = unet or pipeline.unet
        self._scheduler = _scheduler(pipeline.scheduler, config)
        self._texts: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.pipeline.unet.parameters()).device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        dtype: torch.dtype = next(self.pipeline.unet.parameters()).dtype
        return dtype

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the noise of one image."""
        side = self.config.image_size // self.pipeline.vae_scale_factor
        return self.pipeline.vae.config.latent_channels, side, side

    @torch.inference_mode()
    def edit(self, images_BCHW: Tensor, instructions: Sequence[str], noise_BCHW: Tensor) -> Tensor:
        """Return the edited images, on the CPU, in float32.

        Args:
            images_BCHW: In [-1, 1], of the model's size.
            instructions: One an image.
            noise_BCHW: Standard normal, see `noise_shape`.

        Raises:
            NumericalError: A part of the model made something that is no number.
        """
        seen, where_B = _distinct([image.numpy().tobytes() for image in images_BCHW])
        image = self._checked(self.see(images_BCHW[seen]), "the VAE's encoder")[where_B]
        texts = self._checked(self._embed(instructions), "the text encoder")
        edited = self._checked(self._denoise(image, texts, noise_BCHW.to(self.device)), "the UNet")
        return self._checked(self.paint(edited), "the VAE's decoder").cpu()

    def _checked(self, made: Tensor, part: str) -> Tensor:
        if not bool(torch.isfinite(made).all()):
            name = str(self.dtype).removeprefix("torch.")
            way_out = (
                "The weights are damaged, or the guidance is far too strong"
                if self.dtype == torch.float32
                else "This precision is too small for it: set `dtype: float32` (or bfloat16 for float16) in the model's "
                "YAML file, or `numerical_failure: float32`, which goes on in float32 and says so in the journal"
            )
            raise NumericalError(f"{part} made NaN or infinity in {name}, so that there is no subgoal. {way_out}.")
        return made

    def see(self, images_BCHW: Tensor) -> Tensor:
        """Return the latents of images as the UNet gets them: the mode, not scaled."""
        latents: Tensor = self.pipeline.vae.encode(images_BCHW.to(self.device, self.dtype)).latent_dist.mode()
        return latents

    def paint(self, latents_BCHW: Tensor) -> Tensor:
        """Return the images of latents, in [-1, 1] (float32); infinity stays what it is."""
        vae = self.pipeline.vae
        images: Tensor = vae.decode((latents_BCHW / vae.config.scaling_factor).to(self.dtype), return_dict=False)[0]
        return torch.where(images.isfinite(), images.float().clamp(-1, 1), images.float())

    def _embed(self, instructions: Sequence[str]) -> Tensor:
        """Return the embeddings of instructions (B, L, D), then of as many empty ones."""
        texts = ["", *instructions]
        if new := list(dict.fromkeys(text for text in texts if text not in self._texts)):
            if len(self._texts) + len(new) > _TEXTS_KEPT:
                self._texts.clear()
                new = list(dict.fromkeys(texts))
            for text, embedding in zip(new, embed(self.pipeline, new), strict=True):
                self._texts[text] = embedding.to(self.dtype)
        return torch.stack([self._texts[text] for text in (*instructions, *[""] * len(instructions))])

    def _denoise(self, image_BCHW: Tensor, texts_2BLD: Tensor, noise_BCHW: Tensor) -> Tensor:
        config, scheduler, count = self.config, self._scheduler, len(image_BCHW)
        # The sampler looks its times up: on the CPU, or each step would wait for the device.
        scheduler.set_timesteps(config.steps, device="cpu")
        times = scheduler.timesteps.to(noise_BCHW.device)
        latents_BCHW: Tensor = noise_BCHW * scheduler.init_noise_sigma
        conditions: dict[bool, tuple[list[float], Tensor, Tensor]] = {}
        total = len(scheduler.timesteps)
        for number, time in enumerate(scheduler.timesteps):
            guided = config.everywhere or config.guidance_interval[0] <= number / total < config.guidance_interval[1]
            if guided not in conditions:
                conditions[guided] = _branches(config, image_BCHW, texts_2BLD, guided=guided)
            weights, images, texts = conditions[guided]
            noisy = scheduler.scale_model_input(torch.cat([latents_BCHW] * len(weights)), time)
            predicted = self._unet(torch.cat([noisy.to(self.dtype), images], 1), times[number], texts, return_dict=False)[0]
            mixed = sum(weight * branch for weight, branch in zip(weights, predicted.float().split(count), strict=True))
            latents_BCHW = scheduler.step(mixed, time, latents_BCHW, return_dict=False)[0]
        return latents_BCHW


def embed(pipeline: Any, texts: Sequence[str]) -> Tensor:
    """Return the embeddings (B, L, D) of texts, padded to the tokenizer's length; what is longer is cut."""
    tokenizer, encoder = pipeline.tokenizer, pipeline.text_encoder
    tokens = tokenizer(
        list(texts), padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    masked = getattr(encoder.config, "use_attention_mask", False)
    mask = tokens.attention_mask.to(encoder.device) if masked else None
    embeddings: Tensor = encoder(tokens.input_ids.to(encoder.device), attention_mask=mask)[0]
    return embeddings


def _branches(
    config: DiffusionSamplingConfig, image_BCHW: Tensor, texts_2BLD: Tensor, *, guided: bool
) -> tuple[list[float], Tensor, Tensor]:
    """Return the weights of the branches of guidance that count, and their conditions, one branch after another."""
    texts, empty = texts_2BLD.chunk(2)
    text_weight, image_weight = (config.guidance, config.image_guidance) if guided else (1.0, 1.0)
    branches = [
        (text_weight, image_BCHW, texts),
        (image_weight - text_weight, image_BCHW, empty),
        (1 - image_weight, torch.zeros_like(image_BCHW), empty),
    ]
    counting = [branch for branch in branches if branch[0] != 0]
    return [weight for weight, _, _ in counting], torch.cat([b[1] for b in counting]), torch.cat([b[2] for b in counting])


def _scheduler(reference: Any, config: DiffusionSamplingConfig) -> Any:
    import diffusers  # slow to import

    # DDIM clips its estimate of pixels by default; latents are no pixels.
    options: dict[str, Any] = {"clip_sample": False} if config.sampler == "ddim" else {}
    if config.spacing is not None:
        options["timestep_spacing"] = config.spacing
    kind = getattr(diffusers, SAMPLERS[config.sampler])
    return kind.from_config(copy.deepcopy(dict(reference.config)), **options)


def _distinct(items: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """Return where each distinct item occurs first, and which of these each item is."""
    first: dict[bytes, int] = {}
    seen: list[int] = []
    where = []
    for index, item in enumerate(items):
        if item not in first:
            first[item] = len(seen)
            seen.append(index)
        where.append(first[item])
    return seen, where
