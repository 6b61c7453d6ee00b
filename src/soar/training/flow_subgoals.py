"""Train the subgoal model: an observation, an instruction, and the frame 20 steps later in the same episode (paper §B.4).

The goal of a frame closer to the end than the horizon is the last frame, and the goal of the last frame is itself: a finished
task is left alone. An episode of one action is a pair (see `soar.pretraining.expert_corrections`): its last frame is the
goal of its first, and nothing else. Such pairs make up a share of each batch, however few they are.

Text is dropped in some samples, and the image with it in fewer, so that the network also learns the two predictions that
guidance extrapolates from. Most pixels never change; those that do weigh more in the loss, or a small network would learn to
copy.

Autoencoder and flow are trained together. A code that costs nothing carries everything, and the flow then has to guess all of
it; one that costs much is empty, and pictures blur. `validation/flow` and `validation/divergence` tell which it is.

Whole worlds are held out. The metric is the mean absolute error of sampled goals on the pixels that change, in units of the
error of copying the observation: 0 is perfect, 1 is no better than a copy.

Shape suffixes: B batch, N frames, E episodes, K pairs, L tokens, C channels, H height, W width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from soar.datasets.arrays import StepArrays
from soar.errors import ConfigError
from soar.files import replacing
from soar.nn.model_files import continued_config, read_weights, save_model
from soar.nn.text_encoder import collect_vocabulary, empty_texts, tokenize
from soar.seeding import derive_seed, generator
from soar.subgoals.flow import KIND, FlowConfig, FlowNetwork, SamplingConfig, sample, to_float, to_uint8
from soar.training.augment import NO_AUGMENTATION, AugmentationConfig, augment
from soar.training.frame_pairs import Pairs, PairSampler
from soar.training.loop import FitConfig, fit
from soar.training.subgoal_metrics import changed_pixels, held_out_error
from soar.types import SUBGOAL_STEPS

VALIDATION_PAIRS = 256
PICTURED = 8
FLOW_DRAWS = 8
"""Points of the flow that are learned from each pair."""


def _fit_config() -> FitConfig:
    return FitConfig(
        steps=8000,
        batch_size=64,
        learning_rate=5e-4,
        warmup_steps=300,
        weight_decay=1e-2,
        beta2=0.99,
        ema=0.999,
        bf16=True,
        channels_last=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubgoalTrainingConfig:
    """How the subgoal model is trained.

    Attributes:
        network: The network; its vocabulary is filled in from the instructions.
        fit: The optimisation.
        horizon: Steps from the observation to the goal (paper §B.4: 20).
        horizon_jitter: Largest relative change of the horizon of a sample.
        pair_share: Share of samples that come from episodes of one action, if there are any.
        text_dropout: Share of samples without the instruction.
        image_dropout: Share of samples without the image either; at most `text_dropout`.
        changed_weight: Weight that a changed pixel has in the loss, on top of 1.
        code_weight: Of the divergence of codes from a standard normal, in the loss.
        flow_weight: Of the flow's error, in the loss.
        augmentation: Of both images alike.
        held_out: Share of the worlds that is kept for the metric; at least one.
        sampling: How the metric samples.
    """

    network: FlowConfig = field(default_factory=FlowConfig)
    fit: FitConfig = field(default_factory=_fit_config)
    horizon: int = SUBGOAL_STEPS
    horizon_jitter: float = 0.0
    pair_share: float = 0.4
    text_dropout: float = 0.1
    image_dropout: float = 0.02
    changed_weight: float = 4.0
    code_weight: float = 1e-4
    flow_weight: float = 0.03
    augmentation: AugmentationConfig = NO_AUGMENTATION
    held_out: float = 0.05
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(f"horizon must be at least 1 step, got {self.horizon}")
        if not 0 <= self.horizon_jitter < 1:
            raise ConfigError(f"horizon_jitter must be in 0..1, 1 excluded; got {self.horizon_jitter}")
        if not 0 <= self.pair_share <= 1:
            raise ConfigError(f"pair_share must be in 0..1, got {self.pair_share}")
        if not 0 <= self.image_dropout <= self.text_dropout < 1:
            raise ConfigError(
                f"0 <= image_dropout <= text_dropout < 1 must hold, got {self.image_dropout} and {self.text_dropout}"
            )
        if self.changed_weight < 0:
            raise ConfigError(f"changed_weight must not be negative, got {self.changed_weight}")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out must be between 0 and 1, both excluded; got {self.held_out}")


def train_subgoal_model(
    config: SubgoalTrainingConfig,
    arrays: StepArrays,
    folder: Path,
    *,
    groups_E: NDArray[np.int64] | None = None,
    initial: Path | None = None,
    lineage: Mapping[str, Any] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
    device: str = "cpu",
) -> dict[str, float]:
    """Train a subgoal model, or resume training it.

    Args:
        config: The recipe.
        arrays: At least two episodes, whose images have the network's size.
        folder: Gets config.json, model.safetensors and lineage.json (`FlowSubgoalModel.load`), samples.png (observation, true
            goal and sample of held-out frames, one a column) and training/ (checkpoints and curves).
        groups_E: The world of each episode: whole worlds are held out. Every episode is one of its own by default.
        initial: Folder of a model of the same shape to continue from; it learns new words.
        lineage: JSON values to keep with the model, such as the store's version.
        on_step: See `soar.training.loop.fit`.
        device: Where to train.

    Returns:
        The last metrics of `fit`, with `validation/flow`, `validation/reconstruction` and `validation/divergence` (as in
            training), `validation/changed_error` (see the module) and `validation/unchanged_error` (mean absolute error, in
            grey levels, on the other pixels).

    Raises:
        ConfigError: The data do not fit the configuration, or the initial model.
        CheckpointError: There is no such initial model.
    """
    size = config.network.image_size
    if arrays.images_NHWC.shape[1:] != (size, size, 3):
        raise ConfigError(f"image_size is {size}, but the images are {arrays.images_NHWC.shape[1:]}: change either.")
    count = len(arrays.lengths_E)
    if count < 2:
        raise ConfigError(f"training a subgoal model takes at least 2 episodes, got {count}")
    seed = config.fit.seed
    groups_E = np.arange(count) if groups_E is None else groups_E
    groups = np.unique(groups_E)
    if len(groups) < 2:
        raise ConfigError(f"training a subgoal model takes episodes of at least 2 worlds, got {len(groups)}")
    held_out = max(1, min(len(groups) - 1, round(config.held_out * len(groups))))
    held_out_E = np.isin(groups_E, generator(seed, "subgoal-held-out").permutation(groups)[:held_out])

    torch.manual_seed(derive_seed(seed, "subgoal-network"))
    text = dataclasses.replace(config.network.text, vocabulary=collect_vocabulary(arrays.instructions))
    network_config = dataclasses.replace(config.network, text=text)
    if initial is not None:
        network_config = continued_config(initial, KIND, network_config, text)
    network = FlowNetwork(network_config)
    if initial is not None:
        read_weights(initial, network, growing="text.embedding.weight")
    network = network.to(device)
    tokens_EL = tokenize(network_config.text, arrays.instructions)
    share = config.pair_share
    training = PairSampler(
        arrays,
        np.flatnonzero(~held_out_E),
        tokens_EL,
        horizon=config.horizon,
        horizon_jitter=config.horizon_jitter,
        pair_share=share,
    )
    validation = PairSampler(arrays, np.flatnonzero(held_out_E), tokens_EL, horizon=config.horizon, pair_share=share)
    pairs_K = validation.draw(generator(seed, "subgoal-validation"), VALIDATION_PAIRS)

    metrics = fit(
        network,
        lambda rng: training.draw(rng, config.fit.batch_size),
        lambda model, batch: _loss(model, batch, config),
        config.fit,
        folder / "training",
        validate=lambda model: _validate(model, pairs_K, config, folder / "samples.png"),
        on_step=on_step,
    )
    own = {"episodes": count, "held_out_worlds": held_out, "frames": len(arrays.images_NHWC), "seed": seed, "metrics": metrics}
    save_model(folder, KIND, network_config, network, {**own, **(lineage or {})})
    return metrics


def _loss(model: nn.Module, batch: Pairs, config: SubgoalTrainingConfig) -> dict[str, Tensor]:
    """Reconstruction of the goal and size of the code (autoencoder), and squared error of the predicted code (flow)."""
    network = _flow_network(model)
    device = next(network.parameters()).device
    observation, goal = augment(batch.observation_BHWC.to(device), batch.goal_BHWC.to(device), config.augmentation)
    seen = network.see(observation)
    mean_BZ, log_variance_BZ = network.encode(observation, goal)
    code_BZ = mean_BZ + torch.randn(mean_BZ.shape).to(device) * (0.5 * log_variance_BZ).exp()
    dropped_B = torch.rand(len(code_BZ)).to(device)
    tokens_BL = batch.tokens_BL.to(device)
    tokens_BL = torch.where((dropped_B < config.text_dropout)[:, None], empty_texts(tokens_BL), tokens_BL)
    reading = network.read_scene(seen, network.text(tokens_BL), (dropped_B >= config.image_dropout).float())
    changed_B1HW = changed_pixels(observation, goal)
    weight_B1HW = 1 + config.changed_weight * changed_B1HW
    error = (network.decode(seen, reading, code_BZ) - goal).square()
    reconstruction = (weight_B1HW * error).mean() / weight_B1HW.mean()
    divergence = 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1 - log_variance_BZ).sum(1).mean()
    flow = _flow_error(network, reading.whole_BF, code_BZ.detach())
    return {
        "loss": reconstruction + config.code_weight * divergence + config.flow_weight * flow,
        "changed_loss": (changed_B1HW * error).sum() / (3 * changed_B1HW.sum()).clamp(min=1),
        "divergence": divergence,
        "flow": flow,
    }


def _flow_error(network: FlowNetwork, condition_BF: Tensor, code_BZ: Tensor) -> Tensor:
    """Squared error of the predicted code at random times; the flow does not bend the codes to make that easier."""
    device = code_BZ.device
    # The flow is tiny beside the rest, so several times and noises are drawn for each code.
    condition_BF, code_BZ = condition_BF.repeat(FLOW_DRAWS, 1), code_BZ.repeat(FLOW_DRAWS, 1)
    time_B = torch.rand(len(code_BZ)).to(device)
    noisy_BZ = (1 - time_B[:, None]) * torch.randn(code_BZ.shape).to(device) + time_B[:, None] * code_BZ
    return (network.flow(noisy_BZ, time_B, condition_BF) - code_BZ).square().mean()


def _flow_network(model: nn.Module) -> FlowNetwork:
    if not isinstance(model, FlowNetwork):
        raise TypeError(f"expected a FlowNetwork, got {type(model).__name__}")
    return model


def _validate(model: nn.Module, pairs: Pairs, config: SubgoalTrainingConfig, picture: Path) -> dict[str, float]:
    device = next(model.parameters()).device
    observation, goal = to_float(pairs.observation_BHWC), to_float(pairs.goal_BHWC)
    network = _flow_network(model)
    codes = (len(goal), network.config.latent)
    noise = generator(config.fit.seed, "subgoal-validation-noise").standard_normal(codes, np.float32)
    loader = DataLoader(TensorDataset(observation, pairs.tokens_BL, torch.from_numpy(noise)), batch_size=16)
    sampled = torch.cat(
        [sample(network, x.to(device), t.to(device), n.to(device), config.sampling).cpu() for x, t, n in loader]
    )
    rows = [to_uint8(images[:PICTURED]).permute(1, 0, 2, 3).flatten(1, 2) for images in (observation, goal, sampled)]
    grid_HWC = torch.cat(rows).numpy()
    with replacing(picture) as path:
        path.write_bytes(cv2.imencode(".png", grid_HWC[:, :, ::-1])[1].tobytes())
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.fit.seed, "subgoal-validation-flow"))
        learned = _loss(network, pairs, config)
    return {
        "flow": float(learned["flow"]),
        "reconstruction": float(learned["changed_loss"]),
        "divergence": float(learned["divergence"]),
        **held_out_error(sampled, observation, goal),
    }
