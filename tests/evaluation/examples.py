"""Small evaluations to compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soar.evaluation import Evaluation, Trial
from soar.types import Episode, Image, Label, Provenance, Subgoal

TASKS = ("put the lemon in the wooden bowl", "remove the lemon from inside the wooden bowl and put it on the table")


def evaluation(successes: Sequence[bool | int], variant: str = "pretrained", policy: str = "policy-000") -> Evaluation:
    """Return an evaluation whose trials alternate between two tasks; trial i has seed i."""
    trials = tuple(
        Trial(scene="scene1", task=TASKS[i % 2], seed=i, success=bool(success), steps=100)
        for i, success in enumerate(successes)
    )
    return Evaluation(variant=variant, policy=policy, subgoal_model="subgoals-small", trials=trials)


def episode(id: str = "e1", steps: int = 40, subgoals: int = 2, vlm: str = "judge", size: int = 32) -> Episode:
    """Return an episode in which a green block crosses a grey table towards its subgoals."""

    def frame(x: float) -> Image:
        image = np.full((size, size, 3), 150, np.uint8)
        left = round(x * (size - 8))
        image[size // 2 : size // 2 + 6, left : left + 6] = (30, 160, 60)
        return image

    return Episode(
        id=id,
        scene="scene1",
        instruction="put the green block in the wooden bowl",
        images_THWC=np.stack([frame(t / steps) for t in range(steps + 1)]),
        states_TD=np.zeros((steps + 1, 7), np.float32),
        actions_TD=np.zeros((steps, 7), np.float32),
        subgoals=tuple(Subgoal(step=i * steps // subgoals, image_HWC=frame((i + 1) / subgoals)) for i in range(subgoals)),
        labels=(Label(success=True, probability=0.91, source=vlm),),
        provenance=Provenance(policy="policy-000", vlm=vlm, subgoal_model="subgoals-small"),
    )
