"""What a policy does between two looks at the camera.

Time axis. A policy with chunks looks at a robot's camera every `execute` steps, and whenever the robot's goal changes; in
between it executes what it planned. A plan is a function of what is seen, the goal, and the number of plans since `reset`:
whoever makes it needs no memory of the robot, and may be another machine.

Shape suffixes: B batch (robots), H actions of a chunk, D action dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.types import ACTION_DIM, Goal, ImageAndInstruction, Observation

Plan = Callable[[Sequence[Observation], Sequence[Goal], Sequence[int]], NDArray[np.float32]]
"""From observations, goals and plan indices to chunks (B, H, 7) in physical units."""


@dataclass(slots=True, kw_only=True)
class _Robot:
    """What is meant to be done next with one robot.

    Attributes:
        goal: What was planned for.
        chunk_HD: In physical units; None before the first plan.
        plans: How often the robot was planned for.
        done: Actions of the chunk that were executed.
    """

    goal: Goal | None = None
    chunk_HD: NDArray[np.float32] | None = None
    plans: int = 0
    done: int = 0

    def is_over(self, goal: Goal, execute: int) -> bool:
        """Whether a new plan is needed before it acts towards this goal."""
        return self.chunk_HD is None or self.done >= execute or not _same(self.goal, goal)

    def next(self) -> NDArray[np.float32]:
        """Return the next action (7,)."""
        assert self.chunk_HD is not None
        self.done += 1
        return np.asarray(self.chunk_HD[self.done - 1])


class ActionChunker:
    """Executes plans, one a robot.

    Args:
        plan: Makes them; what it raises is passed on, and leaves all robots as they were.
        execute: Actions of a chunk that are executed before the next plan.
    """

    def __init__(self, plan: Plan, execute: int) -> None:
        self._plan, self._execute = plan, execute
        self._robots: list[_Robot] = []

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return the next actions (B, 7).

        Raises:
            ValueError: There are not as many goals as observations.
        """
        if len(observations) != len(goals):
            raise ValueError(f"each observation needs one goal, got {len(observations)} and {len(goals)}")
        self._robots = self._robots[: len(goals)] + [_Robot() for _ in range(len(goals) - len(self._robots))]
        due = [i for i, (robot, goal) in enumerate(zip(self._robots, goals, strict=True)) if robot.is_over(goal, self._execute)]
        if due:
            indices = [self._robots[i].plans for i in due]
            chunks = self._plan([observations[i] for i in due], [goals[i] for i in due], indices)
            for i, chunk_HD in zip(due, chunks, strict=True):
                self._robots[i] = _Robot(goal=goals[i], chunk_HD=chunk_HD, plans=self._robots[i].plans + 1)
        return np.stack([robot.next() for robot in self._robots]) if goals else np.zeros((0, ACTION_DIM), np.float32)

    def reset(self) -> None:
        """Forget what was planned."""
        self._robots = []


def _same(one: Goal | None, other: Goal) -> bool:
    if one is other:
        return True
    if isinstance(one, ImageAndInstruction) and isinstance(other, ImageAndInstruction):
        return one.instruction == other.instruction and np.array_equal(one.image_HWC, other.image_HWC)
    return (isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and np.array_equal(one, other)) or (
        isinstance(one, str) and one == other
    )
