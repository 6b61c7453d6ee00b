"""A scripted expert: it looks at the simulator's state and does what a person with a joystick would do.

It is reactive (the next action depends on the state alone, not on a plan), so it recovers from a slipped grasp and can be
started in the middle of an attempt. Its pace is BridgeData's (10 to 17 mm a step), so that 20 steps are about one phase:
approach, grasp and lift, carry, release. A faster one would put subgoals past the grasp, where the policy cannot see how to get
there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.instruction_grammar import Instruction, parse_instruction
from soar.sim.catalogue import LONG
from soar.sim.ground_truth import SIDE_MARGIN_M, is_contained, succeeded
from soar.sim.scene import BARRIER_HIGH, BARRIER_LOW, BOWL_FLOOR_M
from soar.sim.scripted.cloth import handle_cloth
from soar.sim.scripted.style import Style
from soar.sim.world import HOME_POSITION, World
from soar.types import SUBGOAL_STEPS, Action, Image

FloatArray = NDArray[np.float64]
FINGER_M = 0.036
"""From the middle of the open gripper to the middle of a finger."""
FINGER_HALF_M = 0.009
"""Room that a finger needs to either side."""


def imagine(world: World, instruction: str, seed: int) -> tuple[Image, NDArray[np.float32]]:
    """Return picture and proprioception (7,) after the expert worked for one subgoal's time; the world stays as it is."""
    before = world.snapshot()
    kind = parse_instruction(instruction).kind
    expert = ScriptedExpert(world, instruction, Style(), np.random.default_rng(seed))
    for _ in range(SUBGOAL_STEPS):
        if kind in ("open", "close") or not succeeded(world, instruction) or world.grip_position[2] < 0.11:
            world.step(expert.act())
    image, state = world.render(), world.proprioception()
    world.restore(before)
    return image, state


class ScriptedExpert:
    """Performs one instruction in one world.

    Args:
        world: The world that it looks at; it never changes it.
        instruction: What to do.
        style: How to move.
        rng: Source of its noise and of where removed objects go.
    """

    def __init__(self, world: World, instruction: str, style: Style, rng: np.random.Generator) -> None:
        self._world = world
        self._task: Instruction = parse_instruction(instruction)
        self._instruction = instruction
        self._style = style
        self._rng = rng
        self._spot: FloatArray | None = None
        self._mistake: tuple[int, FloatArray, float] = (0, np.zeros(3), 1.0)

    def act(self) -> Action:
        """Return the next action (7,)."""
        left, push, gripper = self._mistake
        if left > 0:
            self._mistake = (left - 1, push, gripper)
            return np.array([*push, 0, 0, 0, gripper], np.float32)
        move, turn, gripper = self._skill()
        if self._style.mistake_probability and self._rng.random() < self._style.mistake_probability:
            steps = int(self._rng.integers(2, 6))
            push = self._rng.normal(0, 0.011, 3)
            keeps = gripper if self._rng.random() < 0.7 else 1.0 - gripper
            self._mistake = (steps, push, keeps)
        if self._style.keeps_hold and self._world.is_grasped(self._task.object):
            gripper = 0.0
        noise = self._rng.normal(0, self._style.noise_m, 3) if self._style.noise_m else np.zeros(3)
        return np.array([*(move + noise), 0, 0, turn, gripper], np.float32)

    # --- skills: each returns (move (3,) [m], turn [rad], gripper target) --------------------------------------------------

    def _skill(self) -> tuple[FloatArray, float, float]:
        if self._task.kind in ("open", "close"):
            return self._drawer()
        if self._task.kind in ("fold", "unfold"):
            return self._cloth()
        return self._pick_and_place()

    def _cloth(self) -> tuple[FloatArray, float, float]:
        world, cloth = self._world, self._world.cloth
        if cloth is None or succeeded(world, self._instruction):
            return self._retreat()
        move, turn, gripper = handle_cloth(world, cloth, self._style, fold=self._task.kind == "fold")
        return self._pace(move), turn, gripper

    def _pick_and_place(self) -> tuple[FloatArray, float, float]:  # noqa: PLR0911, PLR0912 (one case after another, by urgency)
        world, style, name = self._world, self._style, self._task.object
        grip, thing = world.grip_position, world.object_position(name)
        spec = world.specs[name]
        if world.is_grasped(name):
            if world.opening > 0.95:
                return np.zeros(3), 0.0, 0.0
            spot = self._destination()
            if self._task.kind == "put":
                holder = world.specs[str(self._task.target)]
                drop = BOWL_FLOOR_M + (0.014 if holder.shape == "bowl" else 0.008)
            else:
                drop = 0.004
            height = thing[2] - spec.half_height_m
            if np.hypot(*(spot - thing[:2])) > 0.012:
                carry = style.carry_height_m - 0.02
                move = np.array([*(spot - thing[:2]), carry - height])
                if height < carry - 0.025:
                    # Rise before going sideways, or the object scrapes over walls.
                    move[:2] *= max(0.0, (height - 0.02) / max(carry - 0.045, 0.01)) if height > 0.02 else 0.0
                return self._pace(move), 0.0, 0.0
            slipped = thing[2] > grip[2] + 0.012 or grip[2] < world.config.workspace.low[2] + 0.002
            blocked = slipped or world.commanded_position[2] < grip[2] - 0.02
            if height > drop + 0.004 and not blocked:
                return self._pace(np.array([*(0.5 * (spot - thing[:2])), drop - height])), 0.0, 0.0
            return np.zeros(3), 0.0, 1.0
        if succeeded(world, self._instruction):
            return self._retreat()
        place, heading = self._grasp(name)
        thing = np.array([*place, thing[2]])
        if world.opening < 0.9 and not self._closing_on(thing, grip):
            # Rise a little with an open gripper after a missed grasp.
            return self._pace(np.array([0, 0, 0.02 if grip[2] < 0.05 else 0.0])), 0.0, 1.0
        self._spot = None
        floor = BOWL_FLOOR_M if any(is_contained(world, name, holder) for holder in world.containers) else 0.0
        target = np.array([*(thing[:2] + style.aim_m), max(0.0125 + floor, thing[2])])
        target[:2] = self._clear_of_walls(target[:2], thing)
        turn = self._turn_to(heading)
        error = target - grip
        across = float(np.hypot(*error[:2]))
        if across > style.tolerance_m * 1.6 or (across > style.tolerance_m and error[2] < -0.02) or abs(turn) > 0.12:
            hover = target[2] + style.hover_m
            up = hover - grip[2]
            if across < 0.05 and grip[2] > target[2] + 0.02 and abs(turn) <= 0.12:
                up = min(0.0, target[2] + 0.02 + 0.8 * across - grip[2])
            elif grip[2] < target[2] + 0.02 and across > 0.02:
                error = error * 0.3
            return self._pace(np.array([error[0], error[1], up])), turn, 1.0
        if error[2] < -0.005:
            return self._pace(np.array([error[0], error[1], error[2]])), turn, 1.0
        return np.array([*(0.3 * error[:2]), 0.0]), 0.0, 0.0

    def _drawer(self) -> tuple[FloatArray, float, float]:  # noqa: PLR0911 (likewise)
        world, style = self._world, self._style
        grip, knob = world.grip_position, world.object_position("drawer")
        done = world.drawer_opening() > 0.9 if self._task.kind == "open" else world.drawer_opening() < 0.06
        turn = float(np.clip(-world.grip_rpy[2], -0.15, 0.15))
        if done:
            return self._retreat()
        if world.is_grasped("drawer") and world.opening < 0.95:
            pull = 1.0 if self._task.kind == "open" else -1.0
            return np.array([0.2 * (knob[0] - grip[0]), pull * style.pace_m, 0.0]), 0.0, 0.0
        target = np.array([knob[0] + style.aim_m[0], knob[1] + style.aim_m[1], knob[2] + 0.008])
        error = target - grip
        across = float(np.hypot(*error[:2]))
        if world.opening < 0.9 and not (across < 0.02 and error[2] > -0.012):
            return self._pace(np.array([0, 0, 0.02])), turn, 1.0
        if across > style.tolerance_m * 1.3 and error[2] > -0.03 and across > 0.012:
            return self._pace(np.array([0.3 * error[0], 0.3 * error[1], 0.03])), turn, 1.0
        if across > style.tolerance_m:
            return self._pace(np.array([error[0], error[1], target[2] + 0.03 - grip[2]])), turn, 1.0
        if error[2] < -0.005:
            return self._pace(error), turn, 1.0
        return np.zeros(3), 0.0, 0.0

    def _retreat(self) -> tuple[FloatArray, float, float]:
        grip = self._world.grip_position
        up = HOME_POSITION[2] - 0.02 - grip[2]
        back = 0.35 * (HOME_POSITION[:2] - grip[:2]) if up < 0.05 else np.zeros(2)
        return self._pace(np.array([*back, max(0.0, up)])), 0.0, 1.0

    # --- helpers ---------------------------------------------------------------------------------------------------------

    def _pace(self, move: FloatArray) -> FloatArray:
        distance = float(np.linalg.norm(move))
        slowed = min(self._style.pace_m, 0.004 + 0.6 * distance)
        return move * (slowed / distance) if distance > slowed else move

    def _clear_of_walls(self, target: FloatArray, thing: FloatArray) -> FloatArray:
        """Shift the aim so that the open fingers fit into the bowl that the object lies in."""
        for name in self._world.containers:
            if self._world.specs[name].shape != "bowl" or not is_contained(self._world, self._task.object, name):
                continue
            holder, radius = self._world.object_position(name)[:2], self._world.specs[name].size[0]
            yaw = self._world.grip_rpy[2]
            across = np.array([-np.sin(yaw), np.cos(yaw)])
            offset = float((target - holder) @ across)
            room = max(0.0, radius - 0.043)
            return target + (float(np.clip(offset, -room, room)) - offset) * across
        return target

    def _closing_on(self, thing: FloatArray, grip: FloatArray) -> bool:
        across = np.hypot(*(thing - grip)[:2])
        return bool(across < 0.02 and grip[2] < max(0.012, thing[2]) + 0.012 and self._world.opening > 0.05)

    def _grasp(self, name: str) -> tuple[FloatArray, float]:
        """Return where (2,) the fingers should close, and across which heading [rad], so that both find room."""
        world, spec, place = self._world, self._world.specs[name], self._world.object_position(name)[:2]
        if spec.shape in LONG:
            heading = world.object_yaw(name)
            along = spec.size[0] * np.array([np.cos(heading), np.sin(heading)])
            options = [(place + share * along, heading) for share in (0.0, 0.35, -0.35, 0.6, -0.6)]
        else:
            options = [(place, heading) for heading in (0.0, np.pi / 4, -np.pi / 4, np.pi / 2)]
        rooms = [self._finger_room(name, *option) for option in options]
        return options[0 if rooms[0] >= 0 else int(np.argmax(rooms))]

    def _finger_room(self, name: str, place: FloatArray, heading: float) -> float:
        """Return how far [m] the open fingers stay from everything else; negative if they would come down on something."""
        world, across = self._world, FINGER_M * np.array([-np.sin(heading), np.cos(heading)])
        others = [o for o, spec in world.specs.items() if (spec.is_graspable or spec.is_container) and o != name]
        others = [o for o in others if not (world.specs[o].is_container and is_contained(world, name, o))]
        gaps = [
            float(np.hypot(*(place + side * across - world.object_position(o)[:2]))) - world.specs[o].radius_m - FINGER_HALF_M
            for o in others
            for side in (-1, 1)
        ]
        return min(gaps, default=1.0)

    def _turn_to(self, wanted: float) -> float:
        """Turn so that the fingers close across a heading [rad]: at yaw 0 they close along y, so equal headings match."""
        period = np.pi
        error = (wanted - self._world.grip_rpy[2] + period / 2) % period - period / 2
        nearest = self._world.grip_rpy[2] + error
        if abs(nearest) > 1.65:
            error -= np.sign(nearest) * period
        return float(np.clip(error, -0.15, 0.15))

    def _destination(self) -> FloatArray:
        world, name = self._world, self._task.object
        if self._task.kind == "put":
            holder = world.object_position(str(self._task.target))[:2]
            if self._spot is None:
                self._spot = self._rng.normal(0, 0.008, 2)
            return holder + self._spot
        if self._spot is None:
            self._spot = self._free_spot(name)
        return self._spot

    def _free_spot(self, name: str) -> FloatArray:
        world = self._world
        radius = world.specs[name].radius_m
        low, high = np.array(BARRIER_LOW) + radius + 0.012, np.array(BARRIER_HIGH) - radius - 0.012
        low[0] = max(low[0], 0.205)
        if self._task.kind == "left":
            high[1] = -SIDE_MARGIN_M - 0.02
        elif self._task.kind == "right":
            low[1] = SIDE_MARGIN_M + 0.02
        others = [(world.object_position(o)[:2], world.specs[o].radius_m) for o in world.specs if o != name]
        start = world.object_position(name)[:2]
        best, best_score = (low + high) / 2, -np.inf
        for _ in range(60):
            spot = self._rng.uniform(low, high)
            gap = min((float(np.hypot(*(spot - p))) - radius - r for p, r in others), default=0.1)
            # People put things down nearby, but clear of everything else.
            score = min(gap, 0.012) * 20 - 0.35 * float(np.hypot(*(spot - start))) + (0.0 if gap > 0.004 else -1.0)
            if score > best_score:
                best, best_score = spot, score
        return best
