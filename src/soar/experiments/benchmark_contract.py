"""Does a method keep the contract? It is tried on a few small episodes, in a second, before it is given hours."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from soar.episodes import EpisodeStore
from soar.experiments.benchmark import opened, policy_in
from soar.policies.loading import load_policy
from soar.seeding import generator
from soar.testing import check_learner, check_policy
from soar.training.cotraining import AutonomousData
from soar.training.learner import Learner, LearningData
from soar.types import Episode, Label

_SIZE, _STEPS, _EPISODES = 64, 10, 6
_TASKS = (
    "put the green block in the wooden bowl",
    "remove the green block from inside the wooden bowl and put it on the table",
)


def check_method(name: str) -> str:
    """Try a learner or a policy, and return which of them it is.

    Raises:
        ContractError: A promise is broken; the message names it.
        ConfigError: It is neither.
    """
    method = opened(name)
    if not isinstance(method, Learner):
        check_policy(method)
        return "policy"
    with tempfile.TemporaryDirectory() as place:
        data = LearningData(
            pretraining=small_store(Path(place) / "demonstrations"),
            autonomous=AutonomousData(store=small_store(Path(place) / "shared", judged=True), success_only=False),
        )
        check_learner(method, data, Path(place) / "candidate", lambda folder: load_policy(policy_in(folder)))
    return "learner"


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
