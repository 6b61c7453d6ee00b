"""A few small episodes, on which a test tries whether a learner keeps its contract (`soar.testing.check_learner`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soar.episodes import EpisodeStore
from soar.seeding import generator
from soar.training.cotraining import AutonomousData
from soar.training.learner import LearningData
from soar.types import Episode, Label

_SIZE, _STEPS, _EPISODES = 64, 10, 6
_TASKS = (
    "put the green block in the wooden bowl",
    "remove the green block from inside the wooden bowl and put it on the table",
)


def small_data(folder: Path) -> LearningData:
    """Write demonstrations and judged attempts of noise into a folder, and return them as a learner gets them."""
    own = AutonomousData(store=small_store(folder / "shared", judged=True), success_only=False)
    return LearningData(pretraining=small_store(folder / "demonstrations"), autonomous=own)


def small_store(folder: Path, *, judged: bool = False) -> Path:
    """Write a few episodes of noise, with verdicts if they were judged, and return the folder."""
    store = EpisodeStore(folder, mode="create")
    rng = generator(0, f"small store/{judged}")
    for number in range(_EPISODES):
        actions = rng.uniform(-0.01, 0.01, (_STEPS, 7)).astype(np.float32)
        actions[:, 6] = np.arange(_STEPS) % 2
        verdict = Label(success=number % 2 == 0, probability=0.9 if number % 2 == 0 else 0.1, source="judge")
        store.append(
            Episode(
                id=f"small-{number:05d}",
                scene="scene1",
                instruction=_TASKS[number % len(_TASKS)],
                images_THWC=rng.integers(0, 256, (_STEPS + 1, _SIZE, _SIZE, 3)).astype(np.uint8),
                states_TD=rng.uniform(0.1, 0.3, (_STEPS + 1, 7)).astype(np.float32),
                actions_TD=actions,
                labels=(verdict,) if judged else (),
            )
        )
    return folder
