"""What an update costs: the paper's policy against flax and optax, and the trainer against its network.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py                 writes results/train_step.json
    OMP_NUM_THREADS=1 python benchmarks/train_step.py --device cuda   writes results/train_step_gpu.json, see device_step.py

On the CPU, all on one thread and interleaved: CPU-seconds of one update of ResNet-34 (128 px, batch 16) from uint8 images to
new weights, ours by `soar.training.loop.fit` in float32 and in bfloat16 autocast, the peer's jitted by XLA (see
peers/flax_policy.py; its `--dtype bfloat16` is no faster on a CPU). Then images per CPU-second of the laptop preset's whole
trainer, with hindsight sampling, gathering and augmentation, against its network alone. The best of the rounds counts: what
else the machine does only slows a step down.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer import Peer
from timing import Enough, timed
from torch import Tensor, nn

from soar.datasets import HindsightSampler, Mixture, StepArrays, action_statistics
from soar.evaluation.results import write_results
from soar.improve.preset import load_preset
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.training.loop import FitConfig, fit
from soar.training.policy import train_policy

SIZE, BATCH = 128, 16
LIMIT = 0.8
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
EPISODES, LENGTH = 20, 60


VARIANTS = {
    "float32": {},
    "float32, channels last": {"channels_last": True},
    "bfloat16": {"bf16": True},
}


def update_cpu_s(network: PolicyNetwork, options: dict[str, bool], steps: int = 2) -> float:
    """Return the CPU-seconds of an update on a fixed batch of uint8 images, in the trainer's own loop."""
    generator = torch.Generator().manual_seed(0)
    size = network.config.image_size
    images = torch.randint(0, 256, (2, BATCH, size, size, 3), dtype=torch.uint8, generator=generator)
    action = torch.randn(BATCH, 7, generator=generator)

    def loss(model: nn.Module, _batch: None) -> dict[str, Tensor]:
        observation, goal = (image.permute(0, 3, 1, 2).float() / 127.5 - 1 for image in images)
        assert isinstance(model, PolicyNetwork)
        return model.losses(observation, goal, action, observation_state_BD=action, goal_state_BD=action)

    on_step, durations = timed(steps, time.process_time)
    config = FitConfig(steps=10_000, batch_size=BATCH, checkpoint_every=10_000, log_every=10_000, **options)
    network.to(memory_format=torch.contiguous_format)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        fit(network, lambda _: None, loss, config, Path(folder), on_step=on_step)
    return min(durations)


def against_flax(rounds: int) -> list[dict[str, Any]]:
    """Return the rows of the paper's network: float32 in either memory order, and bfloat16."""
    torch.manual_seed(0)
    network = PolicyNetwork(NetworkConfig(image_size=SIZE))
    ours: dict[str, list[float]] = {kind: [] for kind in VARIANTS}
    theirs: list[float] = []
    with Peer("flax", "flax_policy.py", ["--size", SIZE, "--batch", BATCH], ONE_THREAD) as peer:
        assert peer.greeting["parameters"] == sum(parameter.numel() for parameter in network.parameters())
        name = f"{peer.versions('flax', 'optax', 'jax')}, float32"
        for _ in range(rounds):
            theirs.append(peer.ask("train 2")["cpu_s"])
            for kind, values in ours.items():
                values.append(update_cpu_s(network, VARIANTS[kind]))
            print({"peer": round(theirs[-1], 3)} | {kind: round(values[-1], 3) for kind, values in ours.items()}, flush=True)
    return [
        {
            "metric": f"CPU-s an update, ResNet-34, {SIZE} px, batch {BATCH}, {kind}",
            "ours": round(min(values), 3),
            "peer": name,
            "theirs": round(min(theirs), 3),
            "ratio": round(min(values) / min(theirs), 3),
            "limit": LIMIT,
        }
        for kind, values in ours.items()
    ]


def arrays(size: int) -> StepArrays:
    """Return random episodes."""
    rng = np.random.default_rng(0)
    rows = EPISODES * (LENGTH + 1)
    return StepArrays(
        images_NHWC=rng.integers(0, 256, (rows, size, size, 3), np.uint8),
        states_ND=rng.standard_normal((rows, 7), np.float32),
        actions_ND=rng.standard_normal((rows, 7), np.float32),
        starts_E=np.arange(EPISODES) * (LENGTH + 1),
        lengths_E=np.full(EPISODES, LENGTH),
        ids=tuple(map(str, range(EPISODES))),
        instructions=("",) * EPISODES,
        probabilities_E=np.zeros(EPISODES),
    )


def laptop_trainer() -> dict[str, Any]:
    """Return the row of the laptop preset: its trainer against its network alone."""
    config = load_preset("laptop").pretraining.policy
    fit_config = dataclasses.replace(config.fit, checkpoint_every=10_000, log_every=10_000)
    data = arrays(config.network.image_size)
    mixture = Mixture([("random", HindsightSampler(data), 1.0)])
    batch = mixture.sample(np.random.default_rng(0), fit_config.batch_size)
    network = PolicyNetwork(config.network)
    fixed = [
        torch.from_numpy(image).permute(0, 3, 1, 2).float() / 127.5 - 1 for image in (batch.observation_BHWC, batch.goal_BHWC)
    ]
    action, state, goal_state = map(torch.from_numpy, (batch.actions_BD, batch.observation_states_BD, batch.goal_states_BD))

    def loss(model: nn.Module, _batch: None) -> dict[str, Tensor]:
        assert isinstance(model, PolicyNetwork)
        return model.losses(fixed[0], fixed[1], action, observation_state_BD=state, goal_state_BD=goal_state)

    rates = {}
    for name in ("trainer", "network"):
        on_step, durations = timed(8, time.process_time)
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
            if name == "trainer":
                whole = dataclasses.replace(config, fit=fit_config)
                train_policy(whole, mixture, action_statistics(data), Path(folder), on_step=on_step)
            else:
                fit(network, lambda _: None, loss, fit_config, Path(folder), on_step=on_step)
        rates[name] = fit_config.batch_size / min(durations)
    return {
        "metric": "images a CPU-s, preset laptop: sampling, gathering, augmentation, update",
        "ours": round(rates["trainer"]),
        "peer": "its update alone, on a fixed batch",
        "theirs": round(rates["network"]),
        "ratio": round(rates["trainer"] / rates["network"], 3),
        "limit": None,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="`cuda`: the rows of a GPU")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.device != "cpu":
        from device_step import device_rows

        out = options.out or Path("results/train_step_gpu.json")
        write_results(out, f"python benchmarks/train_step.py --device {options.device}", device_rows(options.device))
        return
    rows = [*against_flax(options.rounds), laptop_trainer()]
    write_results(options.out or Path("results/train_step.json"), "OMP_NUM_THREADS=1 python benchmarks/train_step.py", rows)


if __name__ == "__main__":
    main()
