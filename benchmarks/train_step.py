"""How much of a training step of the small policy is network, and how much is data and augmentation.

Prints one JSON line: images per CPU-second of the bare network (forward, backward and optimiser on a fixed batch) and of the
whole trainer (hindsight sampling, gathering of images, augmentation), both on one thread, and the ratio of the two.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np
import torch

from soar.episodes import HindsightSampler, Mixture, StepArrays
from soar.policies.encoders import EncoderConfig
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.training.augment import NO_AUGMENTATION, AugmentationConfig, augment

BATCH = 256
STEPS = 8
EPISODES, LENGTH, SIZE = 20, 60, 64


def arrays() -> StepArrays:
    """Return random episodes."""
    rng = np.random.default_rng(0)
    rows = EPISODES * (LENGTH + 1)
    return StepArrays(
        images_NHWC=rng.integers(0, 256, (rows, SIZE, SIZE, 3), np.uint8),
        states_ND=rng.standard_normal((rows, 7), np.float32),
        actions_ND=rng.standard_normal((rows, 7), np.float32),
        starts_E=np.arange(EPISODES) * (LENGTH + 1),
        lengths_E=np.full(EPISODES, LENGTH),
        ids=tuple(map(str, range(EPISODES))),
        instructions=("",) * EPISODES,
        successes_E=np.zeros(EPISODES, bool),
    )


def images_per_cpu_s(step: Callable[[], None]) -> float:
    """Return the best rate of a few steps; the best, because whatever else the machine does only slows a step down."""
    times_s = []
    for _ in range(STEPS):
        start_s = time.process_time()
        step()
        times_s.append(time.process_time() - start_s)
    return BATCH / min(times_s)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = NetworkConfig(encoder=EncoderConfig(name="small", width=32), image_size=SIZE, auxiliary_weight=0.1)
    network = PolicyNetwork(config)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    mixture = Mixture([("random", HindsightSampler(arrays()), 1.0)])
    laptop = AugmentationConfig(crop_scale=(1, 1), crop_ratio=(1, 1), shift=2, hue=0.0)
    rng = np.random.default_rng(0)
    batch = mixture.sample(rng, BATCH)

    def train(images: tuple[torch.Tensor, torch.Tensor]) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            losses = network.losses(
                *images,
                torch.from_numpy(batch.actions_BD),
                observation_state_BD=torch.from_numpy(batch.observation_states_BD),
                goal_state_BD=torch.from_numpy(batch.goal_states_BD),
            )
        optimizer.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def pair() -> tuple[torch.Tensor, torch.Tensor]:
        drawn = mixture.sample(rng, BATCH)
        return torch.from_numpy(drawn.observation_BHWC), torch.from_numpy(drawn.goal_BHWC)

    def whole(augmentation: AugmentationConfig) -> Callable[[], None]:
        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                images = augment(*pair(), augmentation)
            train(images)

        return step

    fixed = augment(*pair(), NO_AUGMENTATION)
    bare = images_per_cpu_s(lambda: train(fixed))
    laptop_rate, paper_rate = images_per_cpu_s(whole(laptop)), images_per_cpu_s(whole(AugmentationConfig()))
    result = {
        "metric": "training images per CPU-second, small encoder",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "network": round(bare),
        "trainer_shift": round(laptop_rate),
        "trainer_crop_hue": round(paper_rate),
        "ratio_shift": round(laptop_rate / bare, 3),
        "ratio_crop_hue": round(paper_rate / bare, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
