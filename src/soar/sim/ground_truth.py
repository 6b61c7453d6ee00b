"""What is really the case on the simulated table. Privileged: only evaluation, experts and `oracle` models may ask.

`answer` is geometry, as a person would answer from a good look. `succeeded` is stricter, so that luck does not count: the
gripper must have let go, and a removed object must lie on the table.
"""

from __future__ import annotations

import numpy as np

from soar.errors import ConfigError
from soar.instruction_grammar import Instruction, parse_instruction, parse_question
from soar.sim.world import World

SIDE_MARGIN_M = 0.045
"""An object is on a side when it is at least this far from the middle line."""
DRAWER_OPEN = 0.65
DRAWER_CLOSED = 0.12
LYING_MARGIN_M = 0.012
FOLDED_SPAN = 0.3
"""A cloth is folded when its right edge is this close to its left one, in units of its width."""
FOLDED_DEPTH = 0.3
"""And the fold is this far right of both: less is a crumpled heap, or folded the other way."""
FLAT_SPAN = 0.75


def is_contained(world: World, name: str, container: str) -> bool:
    """Whether the centre of an object is over the floor of a container and no higher than an object that lies in it."""
    thing, holder = world.object_position(name), world.object_position(container)
    spec, holder_spec = world.specs[name], world.specs[container]
    reach = holder_spec.size[0] - (0.0 if holder_spec.shape == "bowl" else 0.004)
    above = thing[2] - spec.half_height_m
    return bool(np.hypot(*(thing - holder)[:2]) < reach and above < 0.045)


def is_on_table(world: World, name: str) -> bool:
    """Whether an object lies on the table itself."""
    return bool(world.object_position(name)[2] < world.specs[name].half_height_m + LYING_MARGIN_M) and not any(
        is_contained(world, name, container) for container in world.containers
    )


def is_folded(world: World) -> bool:
    """Whether the right half of the cloth lies on its left half."""
    cloth = world.cloth
    return cloth is not None and abs(cloth.span(world.data)) < FOLDED_SPAN and cloth.depth(world.data) > FOLDED_DEPTH


def answer(world: World, question: str) -> bool:
    """Return the true answer to a question in the canonical wording.

    Raises:
        ConfigError: The question is not understood, or names an object that the scene lacks.
    """
    asked = parse_question(question)
    if asked.kind == "present":
        return asked.object in world.specs
    for name in (asked.object, asked.target if asked.kind in ("in", "on") else None):
        if name is not None and name not in world.specs:
            raise ConfigError(f"{question!r}: scene {world.config.name!r} has no {name!r}; it has {', '.join(world.specs)}")
    if asked.kind in ("in", "on"):
        return is_contained(world, asked.object, str(asked.target))
    if asked.kind == "side":
        y = world.object_position(asked.object)[1]
        # The camera faces the robot: the left of the image is the robot's right.
        return bool(y < -SIDE_MARGIN_M) if asked.target == "left" else bool(y > SIDE_MARGIN_M)
    if asked.kind == "drawer":
        return world.drawer_opening() > DRAWER_OPEN
    if asked.kind == "cloth":
        return is_folded(world)
    raise ConfigError(
        f"{question!r} cannot be answered in scene {world.config.name!r}: it is about what stands on another table"
    )


def succeeded(world: World, instruction: str) -> bool:
    """Whether the task is done, judged from the state at the end of an episode."""
    task = parse_instruction(instruction)
    if task.kind in ("open", "close"):
        opening = world.drawer_opening()
        return opening > DRAWER_OPEN if task.kind == "open" else opening < DRAWER_CLOSED
    return not world.is_grasped(task.object) and _is_done(world, task)


def _is_done(world: World, task: Instruction) -> bool:
    match task.kind:
        case "fold":
            return is_folded(world)
        case "unfold":
            return world.cloth is not None and world.cloth.span(world.data) > FLAT_SPAN
        case "put":
            return is_contained(world, task.object, str(task.target))
        case "remove":
            return is_on_table(world, task.object)
        case _:
            return answer(world, f"Is the {task.object} on the {task.kind} side of the table?")


def reset_for(world: World, instruction: str, seed: int, *, used: bool = False) -> None:
    """Reset the world to a random start from which the task is feasible and clearly not done, on a used table if need be."""
    task: Instruction = parse_instruction(instruction)
    for attempt in range(200):
        placement = seed + 7_919 * attempt
        if task.kind in ("open", "close"):
            world.reset(placement, drawer_open=0.0 if task.kind == "open" else 0.9)
        elif task.kind in ("fold", "unfold"):
            world.reset(placement, folded=task.kind == "unfold")
        elif task.kind == "remove":
            world.reset(placement, inside={task.object: str(task.target)}, used=used)
        else:
            world.reset(placement, used=used)
        if task.kind in ("left", "right"):
            y = world.object_position(task.object)[1]
            if y < 0.02 if task.kind == "left" else y > -0.02:
                continue
        if task.kind == "remove" and not is_contained(world, task.object, str(task.target)):
            continue
        if not succeeded(world, instruction):
            return
    raise ConfigError(
        f"no start was found from which {instruction!r} is feasible in scene {world.config.name!r}: leave the task out, "
        "or give its objects more room"
    )
