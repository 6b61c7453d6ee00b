"""Training of policies: from nothing, or improving one with the data that it collected (paper §B.2.2, §B.3.2).

    folder/model.safetensors, config.json, lineage.json   the policy, see `soar.policies.learned`
    folder/training/                                      checkpoints and metrics, see `soar.training.loop`; each checkpoint
                                                          is a policy, too, that `LearnedPolicy.load` reads
    folder/training/run.json                              the configuration; another one in the same folder is refused

Running it again resumes; a folder that already holds its policy is returned at once. With torchrun every process takes a part
of each batch, see `soar.training.distributed`.

Shape suffixes: B batch, H height, W width, C channels, D dimensions.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from soar.datasets.arrays import StepArrays
from soar.datasets.mixture import Mixture
from soar.errors import CheckpointError, ConfigError
from soar.normalization import ActionStatistics
from soar.policies.chunked import Both
from soar.policies.instructions import InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.seeding import derive_seed, generator
from soar.training.augment import NO_AUGMENTATION, AugmentationConfig, augment, augment_together
from soar.training.checkpoints import claim
from soar.training.config import PolicyTrainingConfig
from soar.training.distributed import current_group
from soar.training.loop import FitConfig, check_parts, fit
from soar.training.samples import Batch, Samples

VALIDATION_SAMPLES = 1024
_STATE_SAMPLES = 1024
_OF_AUTONOMOUS = ("autonomous", "upsampling", "autonomous_cap", "autonomous_share")
"""Fields of the configuration that play no role without autonomous data."""


def train_policy(
    config: PolicyTrainingConfig,
    mixture: Mixture,
    statistics: ActionStatistics,
    folder: Path,
    *,
    validation: Mixture | None = None,
    initial: Path | None = None,
    lineage: Lineage | None = None,
    track: Callable[[int, dict[str, float]], None] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
    device: str = "cpu",
) -> Path:
    """Train a policy and write it to a folder.

    Args:
        config: How.
        mixture: The data, see `soar.training.data.co_training_mixture`.
        statistics: How actions are normalised. A policy that is continued keeps its own instead.
        folder: Where the policy goes.
        validation: Held-out data; losses are reported as `validation/SOURCE/…`.
        initial: Folder of a policy to continue from; None to begin with a fresh network.
        lineage: What to record; `parent` and `metrics` are filled in here.
        track: Called with the step and the values of every line of metrics.
        on_step: Called after each step with (steps done, steps in all, last logged metrics).
        device: Of torch.

    Returns:
        `folder`.

    Raises:
        ConfigError: The folder holds a run with another configuration or other data (the message names the fields), or the
            images of the episodes are not of the network's size.
        CheckpointError: `initial` is no policy, or its network is another one than the configuration's.
        SoarError: Training diverged, or the disk is full.
    """
    sizes = mixture.samplers[0].arrays.images_NHWC.shape[1:3]
    if sizes != (config.network.image_size, config.network.image_size):
        raise ConfigError(
            f"network.image_size is {config.network.image_size} px, but the mixture has images of {sizes[0]} x {sizes[1]}: "
            "load its episodes with fitter=network.fitter, which brings them to that size"
        )
    parent = None if initial is None else load_parent(initial, config.network)
    if parent is not None:
        statistics = parent.statistics
    lineage = dataclasses.replace(lineage or Lineage(), parent="" if parent is None else parent.id)
    # What can be wrong with the data shows before anything is written.
    check_parts(config.fit, cuttable=True)
    samples = None
    if not (folder / "config.json").exists():
        instructions = InstructionEncoder(config.network.instruction) if parent is None else parent.instructions
        samples = Samples(config, mixture, instructions)
    group = current_group()
    if group.leads:
        sources = dict(zip(mixture.names, mixture.weights.tolist(), strict=True))
        # By its episodes, not by the version of its store, which grows when others are appended.
        data = {name: fingerprint(sampler.arrays) for name, sampler in zip(mixture.names, mixture.samplers, strict=True)}
        run = dataclasses.asdict(config) | {"parent": lineage.parent, "sources": sources, "data": data}
        defaults = dataclasses.asdict(PolicyTrainingConfig(fit=FitConfig(steps=1)))
        claim(folder / "training" / "run.json", run, defaults, ignoring=() if "autonomous" in sources else _OF_AUTONOMOUS)
    group.wait()
    if samples is None:
        LearnedPolicy.load(folder)  # A damaged policy is an error, not a finished run.
        return folder

    network = _network(config, mixture, parent).to(device)
    if config.compile:
        network.encoder.compile()
    mean_D, std_D = (torch.as_tensor(value, device=device) for value in (statistics.mean, statistics.std))

    def losses(model: nn.Module, batch: Batch, augmentation: AugmentationConfig) -> dict[str, Tensor]:
        hindsight = batch.hindsight
        assert hindsight is not None
        observation = torch.from_numpy(hindsight.observation_BHWC).to(device)
        draw_BU = torch.from_numpy(batch.augmentation_BU)
        goal: Tensor | Both[Tensor]
        if batch.embeddings_BE is not None and batch.given_B2 is None:
            (images_BCHW,) = augment_together([observation], augmentation, draw_BU)
            goal = torch.from_numpy(batch.embeddings_BE).to(device)
        else:
            images_BCHW, goal = augment(observation, torch.from_numpy(hindsight.goal_BHWC).to(device), augmentation, draw_BU)
            if batch.embeddings_BE is not None and batch.given_B2 is not None:
                embedding, given_B2 = (torch.from_numpy(part).to(device) for part in (batch.embeddings_BE, batch.given_B2))
                goal = Both(image=goal, embedding=embedding, given_B2=given_B2)
        actions = hindsight.actions_BD if batch.chunks_BHD is None else batch.chunks_BHD
        return cast(PolicyNetwork, model).losses(
            images_BCHW,
            goal,
            (torch.from_numpy(actions).to(device) - mean_D) / std_D,
            observation_state_BD=torch.from_numpy(hindsight.observation_states_BD).to(device),
            goal_state_BD=torch.from_numpy(hindsight.goal_states_BD).to(device),
        )

    held_out = None if validation is None else Samples(config, validation, samples.instructions)

    def validation_losses(model: nn.Module) -> dict[str, float]:
        if held_out is None:
            return {}
        return _by_source(held_out, config.fit, lambda batch: losses(model, batch, NO_AUGMENTATION))

    def export(model: nn.Module, checkpoint: Path) -> None:
        LearnedPolicy.write(checkpoint, cast(PolicyNetwork, model), statistics, lineage, samples.instructions)

    metrics = fit(
        network,
        samples.draw,
        lambda model, batch: losses(model, batch, config.augmentation),
        config.fit,
        folder / "training",
        part_fn=samples.gather,
        describe=samples.describe,
        validate=validation_losses,
        export=export,
        track=track,
        on_step=on_step,
    )
    if group.leads:
        LearnedPolicy.save(folder, network, statistics, dataclasses.replace(lineage, metrics=metrics), samples.instructions)
    group.wait()
    return folder


def fingerprint(arrays: StepArrays) -> dict[str, int | str]:
    """Return what tells the episodes of a source from others: their ids, instructions and actions, in any order."""
    episodes = []
    for id_, instruction, start, length in zip(arrays.ids, arrays.instructions, arrays.starts_E, arrays.lengths_E, strict=True):
        actions = np.ascontiguousarray(arrays.actions_ND[start : start + length], np.float32)
        episodes.append(hashlib.sha256(f"{id_}\n{instruction}\n".encode() + actions.tobytes()).digest())
    return {"episodes": len(episodes), "digest": hashlib.sha256(b"".join(sorted(episodes))).hexdigest()[:12]}


def load_parent(folder: Path, network: NetworkConfig) -> LearnedPolicy:
    """Load the policy to continue from and check that its weights fit the configured network.

    Raises:
        CheckpointError: It is no policy, or its network is another one.
    """
    parent = LearnedPolicy.load(folder)
    theirs, mine = dataclasses.asdict(parent.network.config), dataclasses.asdict(network)
    if network.conditioning == "goal":  # has no use for one
        theirs["instruction"] = mine["instruction"]
    # Dropout, the deviations and the auxiliary weight change the loss, not the shapes: they may differ.
    for config in (theirs, mine):
        config["auxiliary_weight"] = "positive" if config["auxiliary_weight"] else "zero"
        config["head"] = {name: config["head"][name] for name in ("name", "hidden", "chunk")}
    different = [
        f"network.{name} ({theirs[name]} there, {mine[name]} now)"
        for name in ("conditioning", "encoder", "head", "instruction", "image_size", "fit", "camera", "auxiliary_weight")
        if theirs[name] != mine[name]
    ]
    if different:
        raise CheckpointError(
            f"cannot continue from {folder}: it has another network: {', '.join(different)}. Configure the network of the "
            "policy that you continue from, or train from the start without one."
        )
    return parent


def _network(config: PolicyTrainingConfig, mixture: Mixture, parent: LearnedPolicy | None) -> PolicyNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.fit.seed, "network"))
        network = PolicyNetwork(config.network)
    if parent is not None:
        network.load_state_dict(parent.network.state_dict())
        return network
    if config.network.auxiliary_weight:
        batch = mixture.sample(generator(config.fit.seed, "state statistics"), _STATE_SAMPLES)
        states_BD = np.concatenate([batch.observation_states_BD, batch.goal_states_BD]).astype(np.float64)
        network.set_state_statistics(states_BD.mean(0), np.maximum(states_BD.std(0), 1e-3))
    return network


def _by_source(samples: Samples, fit_config: FitConfig, losses: Callable[[Batch], dict[str, Tensor]]) -> dict[str, float]:
    """Return mean losses by source, on the same samples each time."""
    values: dict[str, float] = {}
    torch.manual_seed(derive_seed(fit_config.seed, "validation"))
    drawn = samples.draw(generator(fit_config.seed, "validation"), VALIDATION_SAMPLES)
    for source, name in enumerate(samples.mixture.names):
        rows = np.flatnonzero(drawn.draw.source_B == source)
        sums: dict[str, float] = {}
        for chunk in np.array_split(rows, max(1, -(-len(rows) // fit_config.batch_size))):
            if len(chunk):
                for key, value in losses(samples.gather(drawn, chunk)).items():
                    sums[key] = sums.get(key, 0.0) + float(value) * len(chunk) / len(rows)
        values |= {f"{name}/{key}": value for key, value in sums.items()}
    return values
