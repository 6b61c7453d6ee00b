"""Bodies for the tests: the expert and the random walk, in a world."""

from __future__ import annotations

import numpy as np

from soar.sim.ground_truth import succeeded
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.world import World

HOLD = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


def perform(world: World, task: str, steps: int, seed: int = 0, style: Style | None = None) -> bool:
    """Let the expert work until the task has been done for six steps; says whether it is done in the end."""
    expert = ScriptedExpert(world, task, style or Style(), np.random.default_rng(seed))
    rest = 0
    for _ in range(steps):
        world.step(expert.act())
        rest = rest + 1 if succeeded(world, task) else 0
        if rest == 6:
            break
    return succeeded(world, task)


def walk(world: World, steps: int, rng: np.random.Generator, gripper: bool = True) -> None:
    """Move at random."""
    velocity, target = np.zeros(3), 1.0
    for _ in range(steps):
        velocity = 0.8 * velocity + rng.normal(0, 0.008, 3)
        if gripper and rng.random() < 0.07:
            target = 1.0 - target
        world.step(np.array([*velocity, 0, 0, rng.normal(0, 0.05), target], np.float32))


def grasp(world: World, task: str, name: str, height_m: float = 0.06) -> None:
    """Let the expert grasp an object and lift it."""
    expert = ScriptedExpert(world, task, Style(), np.random.default_rng(0))
    for _ in range(60):
        world.step(expert.act())
        if world.is_grasped(name) and world.object_position(name)[2] > height_m:
            return
    raise AssertionError(f"the expert did not grasp the {name}")
