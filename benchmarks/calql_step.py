"""What a step of RoboFuME (Cal-QL) costs beside a step of behaviour cloning, with the laptop's network.

    OMP_NUM_THREADS=1 python benchmarks/calql_step.py                 writes results/calql_step.json

CPU-seconds of whole trainers on one thread, interleaved in one run: gathering, augmentation and update. Cloning follows
instructions, with the same encoder, batch and augmentation. The best of the rounds counts: what else the machine does only
slows a step down.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Enough, timed

from soar.baselines.config import load_recipe
from soar.baselines.robofume import RoboFuMEConfig, train_robofume
from soar.episodes import EpisodeStore
from soar.evaluation.results import write_results
from soar.improve.preset import load_preset
from soar.training.config import conditioned
from soar.training.cotraining import cotrain
from soar.types import Episode

LIMITS = {"shared": 1.6, "separate": 2.8}
EPISODES, LENGTH, STEPS = 20, 60, 6


def store(folder: Path) -> Path:
    """Write demonstrations of noise."""
    rng = np.random.default_rng(0)
    episodes = EpisodeStore(folder, mode="create")
    for number in range(EPISODES):
        actions = rng.uniform(-0.01, 0.01, (LENGTH, 7)).astype(np.float32)
        actions[:, 6] = rng.integers(0, 2, LENGTH)
        episodes.append(
            Episode(
                id=str(number),
                scene="noise",
                instruction=("open the drawer", "close the drawer")[number % 2],
                images_THWC=rng.integers(0, 256, (LENGTH + 1, 64, 64, 3), np.uint8),
                states_TD=0.1 * rng.standard_normal((LENGTH + 1, 7), np.float32),
                actions_TD=actions,
            )
        )
    return folder


def cpu_s(train: Callable[[Path, Callable[..., None]], object]) -> float:
    """Return the CPU-seconds of a step of a trainer."""
    on_step, durations = timed(STEPS, time.process_time)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Enough):
        train(Path(folder) / "out", on_step)
    return min(durations)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("results/calql_step.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe("laptop").robofume
    fit = dataclasses.replace(recipe.policy.fit, checkpoint_every=10_000, log_every=10_000)
    policy = dataclasses.replace(recipe.policy, fit=fit)
    cloning = dataclasses.replace(
        conditioned(load_preset("laptop").pretraining.policy, "language", "hashed-words"),
        fit=dataclasses.replace(fit, ema=None),
        augmentation=policy.augmentation,
    )

    def calql(shared: bool) -> RoboFuMEConfig:
        critic = dataclasses.replace(recipe.critic, shared=shared)
        return dataclasses.replace(recipe, policy=policy, critic=critic)

    with tempfile.TemporaryDirectory() as place:
        data = store(Path(place) / "demonstrations")
        found: dict[str, list[float]] = {"cloning": [], "shared": [], "separate": []}
        for _ in range(options.rounds):
            found["cloning"].append(cpu_s(lambda out, on_step: cotrain(cloning, out, pretraining=data, on_step=on_step)))
            for name in LIMITS:
                config = calql(name == "shared")
                found[name].append(
                    cpu_s(lambda out, on_step, c=config: train_robofume(c, out, pretraining=data, on_step=on_step))
                )
            print({name: round(values[-1], 3) for name, values in found.items()}, flush=True)
    rows: list[dict[str, Any]] = [
        {
            "metric": f"CPU-s a Cal-QL step, batch {fit.batch_size}, {name} encoder(s)",
            "ours": round(min(found[name]), 3),
            "peer": "behaviour cloning on instructions, same encoder and batch",
            "theirs": round(min(found["cloning"]), 3),
            "ratio": round(min(found[name]) / min(found["cloning"]), 2),
            "limit": limit,
        }
        for name, limit in LIMITS.items()
    ]
    write_results(options.out, "OMP_NUM_THREADS=1 python benchmarks/calql_step.py", rows)


if __name__ == "__main__":
    main()
