"""Tuning a labeller on demonstrations: pairs of an episode and the instruction that it was shown for.

    folder/config.json, model.safetensors, lineage.json   the labeller, see `soar.baselines.labeller`
    folder/quality.json                                   how often it names the instruction of demonstrations held out of it
    folder/training/                                      checkpoints and metrics

Some demonstrations are held out. For each of them the labeller chooses among the instructions that were demonstrated in the
same world, all of which were possible there: chance is one over their number. So it is seen whether it works where it should.

Shape suffixes: B episodes of a batch, U draws of augmentation, H height, W width, C channels.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from soar.baselines.labeller import (
    KIND,
    TOKENIZER,
    ClipTowers,
    Labeller,
    LabellerConfig,
    LabellerNetwork,
    LabellerNetworkConfig,
    open_clip,
)
from soar.datasets import StepArrays, load_arrays, train_validation_split
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.evaluation.statistics import Rate
from soar.files import write_json
from soar.nn.model_files import save_model
from soar.policies.lineage import git_revision
from soar.seeding import derive_seed
from soar.training.augment import DRAWS, AugmentationConfig, augment_together
from soar.training.checkpoints import claim
from soar.training.data import with_instructions
from soar.training.learner import OnStep
from soar.training.loop import FitConfig, check_parts, fit
from soar.training.policy import fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class LabellerTrainingConfig:
    """Everything about tuning a labeller but the data.

    Attributes:
        fit: The optimisation.
        network: The architecture.
        augmentation: Of the frames; both frames of an episode get the same.
        held_out: Share of the demonstrations that it is measured on.
    """

    fit: FitConfig
    network: LabellerNetworkConfig = field(default_factory=LabellerNetworkConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    held_out: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise ConfigError(f"labeller.held_out must lie between 0 and 1, got {self.held_out}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    first_BHWC: NDArray[np.uint8]
    last_BHWC: NDArray[np.uint8]
    texts: tuple[str, ...]
    draw_BU: NDArray[np.float32]


def train_labeller(
    config: LabellerTrainingConfig,
    folder: Path,
    *,
    pretraining: str | Path,
    where: str | None = None,
    device: str = "cpu",
    on_step: OnStep | None = None,
) -> Path:
    """Tune a labeller and write it to a folder; resumes, and a finished folder is returned at once.

    Args:
        config: How.
        folder: Where it goes.
        pretraining: Store of demonstrations.
        where: SQL that selects some of them.
        device: Of torch.
        on_step: See `soar.training.loop.fit`.

    Raises:
        StoreError: There are fewer than two demonstrations with an instruction, or all have the same one.
        ConfigError: The folder holds another run.
        CheckpointError: The CLIP checkpoint cannot be read.
    """
    check_parts(config.fit, cuttable=False)
    newest = EpisodeStore(pretraining)
    store = EpisodeStore(pretraining, version=newest.version, camera=config.network.camera)
    arrays = with_instructions(load_arrays(store, where, fitter=config.network.fitter), store.uri)
    if len(set(arrays.instructions)) < 2:
        raise StoreError(
            f"{store.uri}: a labeller tells instructions apart, and these episodes have one: {arrays.instructions[0]!r}"
        )
    tuned, held_out = train_validation_split(arrays, config.held_out, config.fit.seed)
    run = dataclasses.asdict(config) | {"data": fingerprint(arrays)}
    claim(folder / "training" / "run.json", run, dataclasses.asdict(LabellerTrainingConfig(fit=FitConfig(steps=1))))
    if (folder / "config.json").exists():
        Labeller.load(folder)
        return folder
    network = _network(config, tuple(sorted(set(tuned.instructions))), folder)

    def draw(rng: np.random.Generator) -> _Pairs:
        chosen = rng.integers(len(tuned.lengths_E), size=config.fit.batch_size)
        draw_BU = rng.random((len(chosen), DRAWS), np.float32)
        return _Pairs(**ends(tuned, chosen), texts=tuple(tuned.instructions[index] for index in chosen), draw_BU=draw_BU)

    def loss(model: nn.Module, batch: _Pairs) -> dict[str, Tensor]:
        images = [torch.from_numpy(images).to(device) for images in (batch.first_BHWC, batch.last_BHWC)]
        first_BCHW, last_BCHW = augment_together(images, config.augmentation, torch.from_numpy(batch.draw_BU))
        return cast(LabellerNetwork, model).loss(first_BCHW, last_BCHW, batch.texts)

    metrics = fit(network.to(device), draw, loss, config.fit, folder / "training", on_step=on_step)
    quality = held_out_quality(Labeller(network, "tuned"), held_out, worlds_of(store, where))
    write_json(folder / "quality.json", quality)
    lineage = {"data": {"pretraining": store.version}, "revision": git_revision(), "metrics": metrics}
    save_model(folder, KIND, network.config, network, lineage)
    return folder


def ends(arrays: StepArrays, episodes: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
    """Return first and last frame of some episodes, `first_BHWC` and `last_BHWC`."""
    starts = arrays.starts_E[episodes]
    return {
        "first_BHWC": arrays.images_NHWC[starts],
        "last_BHWC": arrays.images_NHWC[starts + arrays.lengths_E[episodes]],
    }


def worlds_of(store: EpisodeStore, where: str | None) -> dict[str, str]:
    """Return the world, a scene of its own, of each demonstration."""
    return {record.id: record.scene for record in store.episodes(where)}


def held_out_quality(labeller: Labeller, held_out: StepArrays, worlds: Mapping[str, str]) -> dict[str, Any]:
    """Return how often it names the instruction of a demonstration, among those of its world and among all held-out ones."""
    possible: dict[str, set[str]] = defaultdict(set)
    for id_, instruction in zip(held_out.ids, held_out.instructions, strict=True):
        possible[worlds[id_]].add(instruction)
    texts = sorted(set(held_out.instructions))
    probability_BT = labeller.network.probabilities(**ends(held_out, np.arange(len(held_out.ids))), texts=texts)
    among_world = among_all = tried = 0
    chance = 0.0
    for id_, instruction, probability_T in zip(held_out.ids, held_out.instructions, probability_BT, strict=True):
        among_all += texts[int(probability_T.argmax())] == instruction
        choices = sorted(possible[worlds[id_]])
        if len(choices) < 2:
            continue
        tried += 1
        chance += 1 / len(choices)
        among_world += max(choices, key=lambda text: probability_T[texts.index(text)]) == instruction
    return {
        "episodes": len(held_out.ids),
        "texts": len(texts),
        "top1_among_all": str(Rate(successes=among_all, trials=len(held_out.ids))),
        "top1_in_world": str(Rate(successes=among_world, trials=tried)),
        "chance_in_world": round(chance / tried, 3) if tried else None,
    }


def _network(config: LabellerTrainingConfig, texts: Sequence[str], folder: Path) -> LabellerNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.fit.seed, "network"))
        if not config.network.clip:
            return LabellerNetwork(LabellerConfig(network=config.network, texts=tuple(texts)))
        clip_config, clip, tokenizer = open_clip(config.network.clip)
        size = clip.config.vision_config.image_size
        if size != config.network.image_size:
            raise CheckpointError(
                f"labeller.network.image_size is {config.network.image_size} px, and {config.network.clip} looks at {size}: "
                f"set it to {size}"
            )
        tokenizer.save_pretrained(str(folder / TOKENIZER))
        # Where it came from is a place on this machine; that it is CLIP's is what the reader needs.
        network_config = replace(config.network, clip=Path(config.network.clip).name)
        network = LabellerNetwork(
            LabellerConfig(network=network_config, texts=tuple(texts), clip_config=clip_config), folder / TOKENIZER
        )
        assert isinstance(network.towers, ClipTowers)
        network.towers.clip.load_state_dict(clip.state_dict())
        return network
