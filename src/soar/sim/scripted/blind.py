"""A scripted actor that goes through the motions of a task without looking whether they work.

It comes down beside the object as often as on it, closes, rises, carries what may be nothing to where it belongs, lets go or
does not, and begins again. That is how a weak policy fails, and a model that is to say what comes next must have seen such
states: an empty closed hand over a bowl while the object lies where it was.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.instruction_grammar import Instruction, parse_instruction
from soar.sim.catalogue import LONG
from soar.sim.scene import BARRIER_HIGH, BARRIER_LOW
from soar.sim.world import World
from soar.types import Action

FloatArray = NDArray[np.float64]
ARRIVED_M = 0.006
PATIENCE_STEPS = 30
"""A place that is not reached in this many steps is given up."""


class BlindPolicy:
    """Goes through the motions of one instruction, again and again.

    Args:
        world: The world that it looks at once, when an attempt begins; it never changes it.
        instruction: What it seems to do.
        rng: Source of everything that it does badly.
    """

    def __init__(self, world: World, instruction: str, rng: np.random.Generator) -> None:
        self._world, self._rng = world, rng
        self._task: Instruction = parse_instruction(instruction)
        self._actions = self._attempts()

    def act(self) -> Action:
        """Return the next action (7,)."""
        return next(self._actions)

    def _attempts(self) -> Iterator[Action]:
        while True:
            self._pace_m = float(self._rng.uniform(0.005, 0.017))
            self._noise_m = float(self._rng.choice([0.0, 0.002, 0.004]))
            match self._task.kind:
                case "open" | "close":
                    yield from self._drawer()
                case "fold" | "unfold":
                    yield from self._cloth()
                case _:
                    yield from self._pick_and_place()

    def _pick_and_place(self) -> Iterator[Action]:
        rng, name = self._rng, self._task.object
        thing, spec = self._world.object_position(name), self._world.specs[name]
        spread_m = float(rng.choice([0.004, 0.010, 0.020]))
        aim = thing + np.array([*rng.normal(0, spread_m, 2), max(0.0, rng.normal(0, 0.008))])
        aim[2] = max(aim[2], 0.0125)
        turn = self._world.object_yaw(name) + rng.normal(0, 0.2) if spec.shape in LONG else 0.0
        yield from self._go(aim + np.array([0, 0, rng.uniform(0.03, 0.07)]), 1.0, turn)
        yield from self._go(aim, 1.0, turn)
        yield from self._stay(int(rng.integers(2, 6)), 0.0)
        height = float(rng.uniform(0.05, 0.11))
        yield from self._go(np.array([*aim[:2], aim[2] + height]), 0.0, turn)
        place = self._place()
        yield from self._go(np.array([*place, aim[2] + height]), 0.0, turn)
        if rng.random() < 0.5:
            yield from self._go(np.array([*place, float(rng.uniform(0.02, 0.06))]), 0.0, turn)
        yield from self._stay(int(rng.integers(0, 25)), 0.0)
        if rng.random() < 0.6:
            yield from self._stay(int(rng.integers(2, 8)), 1.0)
            yield from self._go(np.array([*place, 0.12]), 1.0, turn)
            yield from self._stay(int(rng.integers(0, 12)), 1.0)

    def _drawer(self) -> Iterator[Action]:
        rng, knob = self._rng, self._world.object_position("drawer")
        spread_m = float(rng.choice([0.004, 0.012]))
        aim = knob + np.array([*rng.normal(0, spread_m, 2), 0.008 + max(0.0, rng.normal(0, 0.006))])
        yield from self._go(aim + np.array([0, 0, rng.uniform(0.03, 0.06)]), 1.0, 0.0)
        yield from self._go(aim, 1.0, 0.0)
        yield from self._stay(int(rng.integers(1, 5)), 0.0)
        way = float(rng.uniform(0.02, 0.09)) * (1 if self._task.kind == "open" else -1)
        yield from self._go(aim + np.array([0, way, 0]), 0.0, 0.0)
        yield from self._stay(int(rng.integers(0, 15)), 0.0)
        yield from self._stay(int(rng.integers(1, 4)), 1.0)
        yield from self._go(aim + np.array([0, way, 0.06]), 1.0, 0.0)

    def _cloth(self) -> Iterator[Action]:
        rng, cloth = self._rng, self._world.cloth
        if cloth is None:
            raise ConfigError(f"there is no cloth to {self._task.kind} in scene {self._world.config.name!r}")
        left, _, right = (row.mean(0) for row in cloth.edges(self._world.data))
        axis = cloth.axis(self._world.data)
        turn = float(np.arctan2(-axis[0], axis[1])) + rng.normal(0, 0.15)
        spread_m = float(rng.choice([0.003, 0.010, 0.020]))
        aim = right + np.array([*rng.normal(0, spread_m, 2), 0.009 + max(0.0, rng.normal(0, 0.008))])
        to = left[:2] if self._task.kind == "fold" else right[:2] + rng.uniform(0.5, 1.1) * 2 * cloth.half_m[1] * axis
        to = to + rng.normal(0, 0.012, 2)
        yield from self._go(aim + np.array([0, 0, rng.uniform(0.02, 0.05)]), 1.0, turn)
        yield from self._go(aim, 1.0, turn)
        yield from self._stay(int(rng.integers(2, 5)), 0.0)
        height = float(rng.uniform(0.02, 0.06))
        yield from self._go(np.array([*aim[:2], aim[2] + height]), 0.0, turn)
        yield from self._go(np.array([*to, aim[2] + height]), 0.0, turn)
        yield from self._stay(int(rng.integers(0, 15)), 0.0)
        yield from self._stay(int(rng.integers(2, 6)), 1.0)
        yield from self._go(np.array([*to, 0.09]), 1.0, turn)
        yield from self._stay(int(rng.integers(0, 12)), 1.0)

    def _place(self) -> FloatArray:
        """Return where (x, y) what it may hold is carried."""
        rng = self._rng
        if self._task.kind == "put":
            return np.asarray(self._world.object_position(str(self._task.target))[:2] + rng.normal(0, 0.012, 2))
        low, high = np.array(BARRIER_LOW) + 0.03, np.array(BARRIER_HIGH) - 0.03
        low[0] = max(low[0], 0.205)
        if self._task.kind == "left":
            high[1] = -0.03
        elif self._task.kind == "right":
            low[1] = 0.03
        return np.asarray(rng.uniform(low, high))

    def _go(self, target: FloatArray, gripper: float, yaw: float) -> Iterator[Action]:
        for _ in range(PATIENCE_STEPS):
            away = target - self._world.grip_position
            distance = float(np.linalg.norm(away))
            if distance < ARRIVED_M:
                return
            turn = float(np.clip(yaw - self._world.grip_rpy[2], -0.2, 0.2))
            yield self._action(away * min(1.0, self._pace_m / distance), turn, gripper)

    def _stay(self, steps: int, gripper: float) -> Iterator[Action]:
        for _ in range(steps):
            yield self._action(np.zeros(3), 0.0, gripper)

    def _action(self, move: FloatArray, turn: float, gripper: float) -> Action:
        noise = self._rng.normal(0, self._noise_m, 3) if self._noise_m else np.zeros(3)
        return np.array([*(move + noise), 0, 0, turn, gripper], np.float32)
