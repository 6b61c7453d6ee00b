"""The smallest episodes and recipes with which the baselines run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soar.baselines.actor_critic import CriticConfig
from soar.baselines.calql import CalQLConfig
from soar.baselines.robofume import RoboFuMEConfig
from soar.episodes import EpisodeStore
from soar.training.augment import NO_AUGMENTATION
from soar.training.config import PolicyTrainingConfig
from soar.training.data import SourceConfig
from soar.training.loop import FitConfig
from soar.types import Episode, Label
from tests.baselines.test_actor_critic import NETWORK

TASKS = ("open the drawer", "close the drawer", "put the corn in the pot")
FIT = FitConfig(steps=4, batch_size=4, learning_rate=1e-3, warmup_steps=1, checkpoint_every=2, log_every=1)
RECIPE = RoboFuMEConfig(
    policy=PolicyTrainingConfig(
        fit=FIT, network=NETWORK, augmentation=NO_AUGMENTATION, autonomous=SourceConfig(), autonomous_share=0.5
    ),
    critic=CriticConfig(hidden=(8,)),
    calql=CalQLConfig(samples=2),
)


def store(
    folder: Path,
    *,
    verdicts: tuple[bool | None, ...] = (),
    scene: str = "s",
    reach: float = 0.01,
    tasks: tuple[str, ...] = TASKS,
    truth: bool | None = None,
) -> Path:
    """Six episodes of 8 steps in which each task ends in a picture of its own; with verdicts, judged in turn."""
    rng = np.random.default_rng(len(verdicts))
    episodes = EpisodeStore(folder, mode="create")
    for number in range(6):
        task = number % len(tasks)
        images = np.full((9, 64, 64, 3), 128, np.uint8)
        images[-1, :, :, TASKS.index(tasks[task]) if tasks[task] in TASKS else 0] = 255
        actions = rng.uniform(-reach, reach, (8, 7)).astype(np.float32)
        actions[:, 6] = rng.integers(0, 2, 8)
        labels = (Label(success=verdicts[number % len(verdicts)], probability=0.9, source="judge"),) if verdicts else ()
        if truth is not None:
            labels += (Label(success=truth, probability=None, source="simulator"),)
        episodes.append(
            Episode(
                id=f"{scene}-{number}",
                scene=scene,
                instruction=tasks[task],
                images_THWC=images,
                states_TD=rng.normal(0, 0.1, (9, 7)).astype(np.float32),
                actions_TD=actions,
                labels=labels,
            )
        )
    return folder
