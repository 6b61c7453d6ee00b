"""What an attempt takes at most, counted from the configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from soar.collect.config import CollectionConfig
from soar.tasks.views import read_views
from soar.types import STEP_S, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCost:
    """At most so much.

    Attributes:
        steps: Actions.
        asked: Questions about what is feasible, and whether all objects are there.
        looks: Questions on the way.
        judged: Questions at the end.
    """

    steps: int
    asked: int
    looks: int
    judged: int = 1

    @property
    def hours(self) -> float:
        """Of the robot's motion."""
        return self.steps * STEP_S / 3600

    @property
    def questions(self) -> int:
        """To the vision-language model, that at the end included."""
        return self.asked + self.looks + self.judged


def attempt_cost(collection: CollectionConfig, scene: Scene) -> AttemptCost:
    """Return what an attempt in a scene takes at most; it may end early."""
    rollout, early = collection.rollout, collection.rollout.early_success
    steps = rollout.steps
    judged = sum(view.cost(steps)[0] for view in read_views(collection.sees))
    if isinstance(early.every, str):  # a reflex cuts a subgoal short, and its end is looked at, too
        boundaries = range(rollout.steps_per_subgoal, steps, rollout.steps_per_subgoal)
        looks = 1 + sum(step >= early.first for step in boundaries) + rollout.reflex.times
    else:
        looks = math.ceil(max(0, steps - early.first) / early.every) + 1 if early.every else 0
    asked = len({task.question for task in scene.tasks}) + collection.proposal.reproposals
    return AttemptCost(
        steps=steps,
        asked=asked + (len(scene.objects) if collection.watch_objects else 0),
        looks=looks * judged,
        judged=judged,
    )
