"""Train the VAE of a small image editor: latents from which an image can be painted again, small and roughly normal.

Large editors come with theirs. The loss is the squared error of the painted image and a little of the divergence of the latents
from a standard normal. Afterwards the latents' spread goes into the VAE's `scaling_factor`, as `diffusers` wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from soar.subgoals.flow import to_float
from soar.training.augment import AugmentationConfig, augment_together
from soar.training.frame_pairs import FramePairs, StorePairs
from soar.training.loop import FitConfig, fit

DIVERGENCE = 1e-6
"""Weight of the divergence, summed over a latent, in the loss."""


def train_autoencoder(
    vae: Any,
    pairs: StorePairs,
    config: FitConfig,
    folder: Path,
    *,
    augmentation: AugmentationConfig,
    held_out: FramePairs,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, float]:
    """Train a VAE of `diffusers` in place, or resume; it is frozen afterwards.

    Args:
        vae: On the device on which it is to be trained.
        pairs: Where frames come from; both frames of a pair are learned.
        config: The optimisation.
        folder: For checkpoints and curves.
        augmentation: Of frames.
        held_out: Frames for validation.
        on_step: See `soar.training.loop.fit`.

    Returns:
        The last metrics of `fit`.
    """
    device = next(vae.parameters()).device

    def loss_fn(_model: nn.Module, batch: FramePairs) -> dict[str, Tensor]:
        observation, goal = batch.images
        half = len(observation) // 2
        # One frame of each pair: the first half of the batch gives observations, the second one goals.
        frames = torch.cat([observation[:half], goal[half:]]).to(device)
        (images,) = augment_together([frames], augmentation)
        posterior = vae.encode(images).latent_dist
        # Drawn on the CPU, like all noise of a training: the same on every device.
        latents = posterior.mean + posterior.std * torch.randn(posterior.mean.shape).to(device)
        painted = (vae.decode(latents).sample.float() - images).square().mean()
        return {"loss": painted + DIVERGENCE * posterior.kl().float().mean(), "painted": painted}

    def validate(_model: nn.Module) -> dict[str, float]:
        images = to_float(torch.cat(held_out.images)).to(device)
        painted = torch.cat([vae.decode(vae.encode(part).latent_dist.mode()).sample for part in torch.split(images, 16)])
        return {"painted_error": 127.5 * float((painted.clamp(-1, 1) - images).abs().mean())}

    metrics = fit(
        vae,
        lambda rng: pairs.draw(rng, config.batch_size),
        loss_fn,
        config,
        folder,
        part_fn=pairs.read,
        describe=pairs.describe,
        validate=validate,
        on_step=on_step,
    )
    vae.requires_grad_(False)
    with torch.no_grad():
        images = to_float(held_out.images[0]).to(device)
        latents = torch.cat([vae.encode(part).latent_dist.mode() for part in torch.split(images, 16)])
    vae.register_to_config(scaling_factor=float(1 / latents.std()))
    return metrics
