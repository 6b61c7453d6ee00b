"""What an attempt takes at most, counted from the configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from soar.collect.config import CollectionConfig
from soar.types import STEP_S, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCost:
    """At most so much.

    Attributes:
        steps: Actions.
        asked: Questions about what is feasible, and whether all objects are there.
        looks: Questions on the way.
    """

    steps: int
    asked: int
    looks: int

    @property
    def hours(self) -> float:
        """Of the robot's motion."""
        return self.steps * STEP_S / 3600

    @property
    def questions(self) -> int:
        """To the vision-language model, that at the end included."""
        return self.asked + self.looks + 1


def attempt_cost(collection: CollectionConfig, scene: Scene) -> AttemptCost:
    """Return what an attempt in a scene takes at most; it may end early."""
    rollout, early = collection.rollout, collection.rollout.early_success
    steps = rollout.subgoals * rollout.steps_per_subgoal
    asked = len({task.question for task in scene.tasks}) + collection.proposal.reproposals
    return AttemptCost(
        steps=steps,
        asked=asked + (len(scene.objects) if collection.watch_objects else 0),
        looks=math.ceil(max(0, steps - early.first) / early.every) + 1 if early.every else 0,
    )
