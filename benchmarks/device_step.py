"""The rows of a GPU: `python benchmarks/train_step.py --device cuda` writes them to results/train_step_gpu.json.

The paper's policy at 256 px, batch 256, bfloat16, compiled, all in one run on one card:

    steps/s       `soar.training.cotraining.cotrain` on a store of JPEGs, against the same loop on a batch that is on the device
    TFLOP/s       of that loop (forward and backward by torch's counter), against a large bfloat16 matrix product
    steps/s       of that loop, against flax and optax jitted by XLA, bfloat16 (peers/flax_policy.py)
    ms            of the augmentation of a batch, against the whole step

The peer needs JAX for CUDA in its environment: benchmarks/peers/flax-cuda.txt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from peer import Peer
from timing import Enough, timed
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from soar.episodes import EpisodeStore
from soar.improve.preset import load_preset
from soar.policies.network import PolicyNetwork
from soar.training.augment import augment
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import cotrain
from soar.training.loop import fit
from soar.types import Episode, Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is measured; smaller numbers only try the code.

    Attributes:
        size: Of the images [px].
        batch: Samples an update.
        steps: Timed updates of each kind.
        episodes: Of the store, 50 actions each.
        matrix: Rows and columns of the matrices.
        encoder: Of the network.
        compile: Whether the encoder is compiled.
        peer: Environment of the peer; empty for none.
    """

    size: int = 256
    batch: int = 256
    steps: int = 50
    episodes: int = 200
    matrix: int = 8192
    encoder: str = "resnet34"
    compile: bool = True
    peer: str = "flax-cuda"


def device_rows(device: str, load: Load | None = None) -> list[dict[str, Any]]:
    """Return the rows of a device."""
    load = load or Load()
    config = _config(load)
    with tempfile.TemporaryDirectory() as folder:
        store = _store(Path(folder) / "episodes", load)
        from_store = _rate(
            lambda on_step: cotrain(config, Path(folder) / "a", pretraining=store, device=device, on_step=on_step), load, device
        )
        update = _on_device(config, load, device)
        synthetic = _rate(lambda on_step: update(Path(folder) / "b", on_step), load, device)
    achieved, product = _flops(config, load, device) * synthetic / 1e12, _product_flops(load, device) / 1e12
    augmentation_ms = _augmentation_ms(config, load, device)
    what = f"{load.encoder}, {load.size} px, batch {load.batch}, bfloat16"
    rows = [
        _row(f"steps/s from the store, {what}", from_store, "a batch on the device", synthetic, 0.9),
        _row(f"TFLOP/s of an update, {what}", achieved, "large matrix product", product, 0.45),
        _row("ms of the augmentation of a batch", augmentation_ms, "the whole step", 1000 / synthetic, 0.1),
    ]
    if load.peer:
        arguments = ["--size", load.size, "--batch", load.batch, "--dtype", "bfloat16"]
        with Peer(load.peer, "flax_policy.py", arguments) as peer:
            theirs = 1 / peer.ask(f"train {load.steps}")["wall_s"]
            name = f"{peer.versions('flax', 'optax', 'jax')}, {peer.greeting['device']}"
        rows.append(_row(f"steps/s, {what}", synthetic, name, theirs, 1.5))
    return rows


def _config(load: Load) -> PolicyTrainingConfig:
    config = load_preset("paper").pretraining.policy
    encoder = dataclasses.replace(config.network.encoder, name=load.encoder)
    fit_config = dataclasses.replace(
        config.fit, batch_size=load.batch, bf16=True, channels_last=True, checkpoint_every=10_000, log_every=10_000
    )
    network = dataclasses.replace(config.network, encoder=encoder, image_size=load.size)
    return dataclasses.replace(config, fit=fit_config, network=network, compile=load.compile)


def _store(folder: Path, load: Load) -> Path:
    """Write episodes of smooth noise, which JPEG compresses about as it does photographs."""
    rng = np.random.default_rng(0)
    store = EpisodeStore(folder, mode="create")
    for index in range(load.episodes):
        coarse = rng.integers(0, 256, (51, 16, 16, 3), np.uint8)
        images = np.stack([cv2.resize(image, (load.size, load.size), interpolation=cv2.INTER_CUBIC) for image in coarse])
        states = rng.standard_normal((51, 7)).astype(np.float32)
        actions = rng.standard_normal((50, 7)).astype(np.float32)
        store.append(
            Episode(
                id=f"{index}",
                scene="noise",
                instruction="move",
                images_THWC=images,
                states_TD=states,
                actions_TD=actions,
                provenance=Provenance(policy="noise"),
            )
        )
    return folder


def _clock(device: str) -> Callable[[], float]:
    def now() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    return now


def _rate(train: Callable[[Callable[..., None]], object], load: Load, device: str) -> float:
    """Return the median steps per second; the first updates, which compile, are left out."""
    warm_up = max(2, load.steps // 5)
    on_step, durations = timed(load.steps + warm_up, _clock(device))
    with contextlib.suppress(Enough):
        train(on_step)
    return 1 / statistics.median(durations[warm_up:])


def _images(load: Load, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, load.batch, load.size, load.size, 3), dtype=torch.uint8, generator=generator)
    return images[0].to(device), images[1].to(device)


def _on_device(config: PolicyTrainingConfig, load: Load, device: str) -> Callable[[Path, Callable[..., None]], object]:
    """Return the same training on a batch that stays on the device, augmentation included."""
    observation, goal = _images(load, device)
    action = torch.randn(load.batch, 7, device=device)
    network = PolicyNetwork(config.network).to(device)
    if load.compile:
        network.encoder.compile()

    def loss(model: nn.Module, _batch: None) -> dict[str, Tensor]:
        assert isinstance(model, PolicyNetwork)
        images = augment(observation, goal, config.augmentation)
        return model.losses(*images, action, observation_state_BD=action, goal_state_BD=action)

    return lambda folder, on_step: fit(network, lambda _: None, loss, config.fit, folder, on_step=on_step)


def _flops(config: PolicyTrainingConfig, load: Load, device: str) -> float:
    """Return the floating-point operations of an update's forward and backward pass."""
    images = [image.permute(0, 3, 1, 2).float() for image in _images(load, device)]
    action = torch.zeros(load.batch, 7, device=device)
    network = PolicyNetwork(config.network).to(device)
    with FlopCounterMode(display=False) as counter:
        losses = network.losses(*images, action, observation_state_BD=action, goal_state_BD=action)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops())


def _product_flops(load: Load, device: str) -> float:
    """Return the floating-point operations per second of a large bfloat16 matrix product."""
    a, b = torch.randn(2, load.matrix, load.matrix, device=device, dtype=torch.bfloat16)
    now = _clock(device)
    durations = []
    for _ in range(20):
        start_s = now()
        a @ b
        durations.append(now() - start_s)
    return 2.0 * load.matrix**3 / min(durations)


def _augmentation_ms(config: PolicyTrainingConfig, load: Load, device: str) -> float:
    observation, goal = _images(load, device)
    now = _clock(device)
    durations = []
    for _ in range(20):
        start_s = now()
        with torch.autocast(device.partition(":")[0], torch.bfloat16):
            augment(observation, goal, config.augmentation)
        durations.append(now() - start_s)
    return 1000 * statistics.median(durations[5:])


def _row(metric: str, ours: float, peer: str, theirs: float, limit: float) -> dict[str, Any]:
    figures = {"ours": float(f"{ours:.4g}"), "peer": peer, "theirs": float(f"{theirs:.4g}"), "ratio": round(ours / theirs, 3)}
    row = {"metric": metric, **figures, "limit": limit}
    print(row, flush=True)
    return row
