"""Small episodes to test with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.datasets import StepArrays
from soar.types import Episode, Label, Provenance, Subgoal


def make_episode(id: str = "a", steps: int = 5, size: int = 16, seed: int = 0, **changes: Any) -> Episode:
    """An episode of smooth random images, so that JPEG keeps them nearly as they are."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 120, size)[:, None, None] + np.linspace(0, 60, size)[None, :, None]
    offsets = rng.uniform(0, 70, (steps + 1, 1, 1, 3))
    states_TD, actions_TD = rng.random((steps + 1, 7), np.float32), rng.random((steps, 7), np.float32)
    # Motions that an arm makes, and a gripper that closes when it is told.
    actions_TD[:, :6] /= 10
    actions_TD[:, 6] = np.arange(steps) < (steps + 1) // 2
    states_TD[1:, 6] = actions_TD[:, 6]
    episode = Episode(
        id=id,
        scene="1",
        instruction="put the green block in the wooden bowl",
        images_THWC=(ramp[None] + offsets).astype(np.uint8),
        states_TD=states_TD,
        actions_TD=actions_TD,
        provenance=Provenance(policy="base"),
    )
    return replace(episode, **changes)


def goal_images(episode: Episode) -> tuple[Subgoal, ...]:
    return tuple(Subgoal(step=step, image_HWC=episode.images_THWC[step + 1]) for step in (0, 2))


def judged(success: bool | None, source: str = "vqa-1", time_s: float = 0.0, probability: float | None = None) -> Label:
    return Label(success=success, probability=probability, source=source, question="is it in?", answer="yes", time_s=time_s)


def make_arrays(lengths: list[int], **changes: Any) -> StepArrays:
    """Arrays whose numbers say which row they are from."""
    lengths_E = np.array(lengths, np.int64)
    count = int((lengths_E + 1).sum())
    starts_E = np.cumsum(lengths_E + 1) - (lengths_E + 1)
    rows: NDArray[np.int64] = np.arange(count)
    actions_ND = np.repeat(rows[:, None], 7, 1).astype(np.float32)
    actions_ND[starts_E + lengths_E] = np.nan
    arrays = StepArrays(
        images_NHWC=np.broadcast_to((rows % 256).astype(np.uint8)[:, None, None, None], (count, 2, 2, 3)).copy(),
        states_ND=np.repeat(rows[:, None], 7, 1).astype(np.float32),
        actions_ND=actions_ND,
        starts_E=starts_E,
        lengths_E=lengths_E,
        ids=tuple(f"e{index}" for index in range(len(lengths))),
        instructions=tuple("put" for _ in lengths),
        probabilities_E=np.zeros(len(lengths)),
    )
    return replace(arrays, **changes)


GRASP_STEPS = 12


def grasping(places_E2: NDArray[np.floating], closes_at: Sequence[int] | int = 5, opening: float = 0.3) -> StepArrays:
    """Episodes that close the gripper at a place, around a thing that keeps it open so far."""
    arrays = make_arrays([GRASP_STEPS] * len(places_E2))
    arrays.actions_ND[:, 6] = np.where(np.isnan(arrays.actions_ND[:, 6]), np.nan, 1)
    arrays.states_ND[:] = 1
    for episode, (start, place) in enumerate(zip(arrays.starts_E, places_E2, strict=True)):
        close = closes_at if isinstance(closes_at, int) else closes_at[episode]
        arrays.states_ND[start + close, :2] = place
        arrays.states_ND[start + close + 2 : start + GRASP_STEPS + 1, 6] = opening
        arrays.actions_ND[start + close : start + GRASP_STEPS, 6] = 0
    return arrays
