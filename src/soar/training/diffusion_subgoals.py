"""Train an image editor to imagine subgoals (paper §B.4): fine-tune any InstructPix2Pix-style checkpoint, or a small one.

The UNet learns to predict the noise in the latents of the goal, given those of the observation and the instruction. In
`dropout` of the samples the text is missing, in as many the image, and in as many both (InstructPix2Pix): the predictions
without them are what guidance extrapolates from. VAE and text encoder of a checkpoint stay as they are; a small editor begins
with random weights, its VAE is trained first, and its text encoder with the UNet.

The folder then holds a pipeline of `diffusers`, and beside it

    sampling.yaml                 how its subgoals are sampled (`soar.subgoals.loading`)
    lineage.json                  what it was made from, and its metrics
    samples.png                   held-out observations, true goals and samples, one a column
    training/                     checkpoints and curves; needed to resume, not to use it

The metrics are about whole episodes that are held out: `validation/loss`; `validation/changed_error`, the mean absolute error
of sampled goals on the pixels that change, in units of the error of copying the observation (0 is perfect, 1 no better than a
copy); `validation/unchanged_error` on the others, in grey levels; `validation/painted_error`, what the VAE alone does to the
first of these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml
from torch import Tensor, nn

from soar.cameras import MAIN
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.files import replacing, write_json, write_text
from soar.seeding import derive_seed, generator
from soar.subgoals.diffusion import PIPELINE, SAMPLING, load_pipeline, save_pipeline
from soar.subgoals.diffusion_sampling import DiffusionSampler, DiffusionSamplingConfig, embed
from soar.subgoals.flow import to_float, to_uint8
from soar.subgoals.small_pipeline import SmallConfig, small_pipeline
from soar.training.augment import NO_AUGMENTATION, AugmentationConfig, augment
from soar.training.checkpoints import claim
from soar.training.diffusion_vae import train_autoencoder
from soar.training.distributed import current_group
from soar.training.frame_pairs import FramePairs, StorePairs, pinned, split
from soar.training.loop import FitConfig, check_parts, fit
from soar.training.subgoal_metrics import held_out_error
from soar.types import SUBGOAL_STEPS

PICTURED = 8
_AT_ONCE = 8
Report = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionSubgoalTrainingConfig:
    """How an image editor is trained; `fine_tuning` and `from_nothing` have recipes.

    Attributes:
        base: Folder or hub name of the checkpoint to fine-tune; None for a small editor from nothing.
        network: Of the small editor.
        fit: The optimisation of the UNet.
        autoencoder: The optimisation of the small editor's VAE.
        horizon: Steps from the observation to the goal (paper §B.4: 20).
        horizon_jitter: Largest relative change of the horizon of a sample.
        dropout: Share of samples without text, as many without image, and as many without both.
        augmentation: Of both images alike.
        held_out: Share of the episodes that is kept for the metrics; at least one.
        validation_pairs: Held-out pairs that the metrics are about.
        sampling: How held-out goals are sampled, and later all subgoals.
        gradient_checkpointing: Compute activations twice instead of keeping them: slower, in much less memory.
    """

    base: str | None = None
    network: SmallConfig = field(default_factory=SmallConfig)
    fit: FitConfig
    autoencoder: FitConfig = field(default_factory=lambda: FitConfig(steps=1))
    horizon: int = SUBGOAL_STEPS
    horizon_jitter: float = 0.0
    dropout: float = 0.05
    augmentation: AugmentationConfig = NO_AUGMENTATION
    held_out: float = 0.05
    validation_pairs: int = 32
    sampling: DiffusionSamplingConfig = field(default_factory=DiffusionSamplingConfig)
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(f"horizon must be at least 1 step, got {self.horizon}")
        if not 0 <= self.horizon_jitter < 1:
            raise ConfigError(f"horizon_jitter must be in 0..1, 1 excluded; got {self.horizon_jitter}")
        if not 0 <= self.dropout < 1 / 3:
            raise ConfigError(f"dropout must be at least 0 and below 1/3: it counts three times; got {self.dropout}")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out must be between 0 and 1, both excluded; got {self.held_out}")
        if self.validation_pairs < 1:
            raise ConfigError(f"validation_pairs must be at least 1, got {self.validation_pairs}")


def fine_tuning(base: str) -> DiffusionSubgoalTrainingConfig:
    """Return a recipe for a large checkpoint on a GPU: the optimisation of SuSIE's released weights."""
    return DiffusionSubgoalTrainingConfig(
        base=base,
        fit=FitConfig(
            steps=40_000,
            batch_size=128,
            learning_rate=1e-4,
            warmup_steps=800,
            weight_decay=1e-2,
            beta2=0.999,
            ema=0.999,
            bf16=True,
            channels_last=True,
        ),
    )


def from_nothing() -> DiffusionSubgoalTrainingConfig:
    """Return a recipe for a small editor that a laptop can train."""
    fit_config = FitConfig(
        steps=10_000,
        batch_size=64,
        learning_rate=5e-4,
        warmup_steps=200,
        weight_decay=1e-2,
        beta2=0.99,
        ema=0.999,
        bf16=True,
        channels_last=True,
    )
    return DiffusionSubgoalTrainingConfig(
        fit=fit_config,
        autoencoder=dataclasses.replace(fit_config, steps=2_000, learning_rate=1e-3),
        sampling=DiffusionSamplingConfig(guidance=2.5, image_guidance=1.5, sampler="dpm", steps=10, image_size=64),
    )


class _Trainee(nn.Module):
    """What is trained, as one module."""

    def __init__(self, pipeline: Any, *, text: bool) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.text = pipeline.text_encoder if text else None


def train_diffusion_subgoals(
    config: DiffusionSubgoalTrainingConfig,
    store: Path,
    folder: Path,
    *,
    where: str = "",
    camera: str = MAIN,
    lineage: Mapping[str, Any] | None = None,
    on_step: Report | None = None,
    device: str = "cpu",
) -> dict[str, float]:
    """Train an editor, or resume training it.

    Args:
        config: The recipe.
        store: Folder of a store of episodes.
        folder: See the module.
        where: SQL that selects some of the episodes; a failed attempt shows what should not be imagined.
        camera: Whose pictures it learns to imagine.
        lineage: JSON values to keep with the model.
        on_step: Called with the phase (`autoencoder` or `editor`), the steps done and in all, and the last metrics.
        device: Where to train.

    Returns:
        The last metrics.

    Raises:
        StoreError: There is no such store, or too few episodes match.
        CheckpointError: The base cannot be loaded, or the folder holds a training of something else.
        ConfigError: The folder holds a training with another configuration.
        SoarError: Training diverged, or the disk is full.
    """
    check_parts(config.fit, cuttable=True)
    group, training, seed = current_group(), folder / "training", config.fit.seed
    if group.leads and not (training / "data.json").exists():
        # What is refused must not lay claim to the folder.
        split(EpisodeStore(store, camera=camera), where, config.held_out, seed)
    base = None if config.base is None else load_pipeline(config.base)
    pinned_store, data = pinned(store, where, training / "data.json", camera)
    learned, kept = split(pinned_store, where, config.held_out, seed)
    if group.leads:
        claim(training / "run.json", dataclasses.asdict(config), dataclasses.asdict(from_nothing()))
    group.wait()
    size = config.sampling.image_size
    pairs = StorePairs(pinned_store, learned, size, config.horizon, config.horizon_jitter)
    validation = StorePairs(pinned_store, kept, size, config.horizon, 0.0)
    held_out = validation.read(validation.draw(generator(seed, "subgoal-validation"), config.validation_pairs))

    def tell(phase: str) -> Callable[[int, int, dict[str, float]], None]:
        return lambda done, total, values: on_step(phase, done, total, values) if on_step is not None else None

    if base is None:
        pipeline = small_pipeline(config.network, [record.instruction for record in learned], size, seed).to(device)
        own = train_autoencoder(
            pipeline.vae,
            pairs,
            config.autoencoder,
            training / "autoencoder",
            augmentation=config.augmentation,
            held_out=held_out,
            on_step=tell("autoencoder"),
        )
    else:
        pipeline, own = base.to(device), {}
    pipeline.vae.requires_grad_(False)
    pipeline.text_encoder.requires_grad_(config.base is None)
    if config.gradient_checkpointing:
        pipeline.unet.enable_gradient_checkpointing()
    noises = _noise_levels(pipeline)
    picture = folder / "samples.png"
    metrics = fit(
        _Trainee(pipeline, text=config.base is None),
        lambda rng: pairs.draw(rng, config.fit.batch_size),
        lambda _model, batch: {"loss": _loss(pipeline, noises, batch, config.dropout, config.augmentation)},
        config.fit,
        training / "editor",
        part_fn=pairs.read,
        describe=pairs.describe,
        validate=lambda _model: _validate(pipeline, noises, held_out, config, picture),
        on_step=tell("editor"),
    )
    metrics = {**{f"autoencoder/{name}": value for name, value in own.items()}, **metrics}
    if group.leads and not (folder / PIPELINE).exists():
        recipe = {"base": config.base or "", "horizon": config.horizon, "seed": seed, "data": data}
        counts = {"episodes": len(learned), "held_out": len(kept)}
        write_json(folder / "lineage.json", {**recipe, **counts, "metrics": metrics, **(lineage or {})})
        sampling = _plain(config.sampling) | ({} if camera == MAIN else {"camera": camera})
        write_text(folder / SAMPLING, yaml.safe_dump(sampling, sort_keys=False))
        save_pipeline(pipeline, folder)
    group.wait()
    return metrics


def _noise_levels(pipeline: Any) -> Any:
    import diffusers  # slow to import

    scheduler = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
    known = ("epsilon", "v_prediction", "sample")
    if scheduler.config.prediction_type not in known:
        raise ConfigError(
            f"the checkpoint's scheduler predicts {scheduler.config.prediction_type!r}; known are {', '.join(known)}. "
            "Correct prediction_type in its scheduler/scheduler_config.json."
        )
    return scheduler


def _loss(pipeline: Any, noises: Any, batch: FramePairs, dropout: float, augmentation: AugmentationConfig) -> Tensor:
    """Return the squared error of the predicted noise at random times."""
    device = next(pipeline.unet.parameters()).device
    frames = [image.to(device) for image in batch.images]
    images = torch.cat(augment(frames[0], frames[1], augmentation))
    with torch.no_grad():
        image, goal = pipeline.vae.encode(images).latent_dist.mode().float().chunk(2)
    goal = goal * pipeline.vae.config.scaling_factor  # The condition is not scaled: InstructPix2Pix.
    count = len(goal)
    dropped_B = torch.rand(count)
    times_B = torch.randint(0, noises.config.num_train_timesteps, (count,)).to(device)
    noise = torch.randn(goal.shape).to(device)
    noisy = noises.add_noise(goal, noise, times_B)
    texts = ["" if gone else text for text, gone in zip(batch.instructions, (dropped_B < 2 * dropout).tolist(), strict=True)]
    distinct = list(dict.fromkeys(texts))
    embedded = embed(pipeline, distinct)[[distinct.index(text) for text in texts]]
    seen_B = ~((dropped_B >= dropout) & (dropped_B < 3 * dropout)).to(device)
    predicted = pipeline.unet(torch.cat([noisy, image * seen_B[:, None, None, None]], 1), times_B, embedded).sample
    kind = noises.config.prediction_type
    target = noise if kind == "epsilon" else goal if kind == "sample" else noises.get_velocity(goal, noise, times_B)
    error: Tensor = predicted.float() - target
    return error.square().mean()


def _validate(
    pipeline: Any, noises: Any, held_out: FramePairs, config: DiffusionSubgoalTrainingConfig, picture: Path
) -> dict[str, float]:
    editor = DiffusionSampler(pipeline, config.sampling)
    observation, goal = (to_float(images) for images in held_out.images)
    noise = torch.from_numpy(
        generator(config.fit.seed, "subgoal-validation-noise").standard_normal((len(goal), *editor.noise_shape), "float32")
    )
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(goal), _AT_ONCE)]
    sampled = torch.cat([editor.edit(observation[part], held_out.instructions[part], noise[part]) for part in parts])
    painted = torch.cat([editor.paint(editor.see(goal[part]) * pipeline.vae.config.scaling_factor).cpu() for part in parts])
    rows = [to_uint8(images[:PICTURED]).permute(1, 0, 2, 3).flatten(1, 2) for images in (observation, goal, sampled)]
    grid_HWC = torch.cat(rows).numpy()
    with replacing(picture) as path:
        path.write_bytes(cv2.imencode(".png", grid_HWC[:, :, ::-1])[1].tobytes())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.fit.seed, "subgoal-validation-loss"))
        loss = float(_loss(pipeline, noises, held_out, 0.0, NO_AUGMENTATION))
    errors = held_out_error(sampled, observation, goal)
    return {"loss": loss, **errors, "painted_error": held_out_error(painted, observation, goal)["changed_error"]}


def _plain(sampling: DiffusionSamplingConfig) -> dict[str, Any]:
    values = dataclasses.asdict(sampling)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
