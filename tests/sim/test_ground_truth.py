from __future__ import annotations

import mujoco
import numpy as np
import pytest

from soar.errors import ConfigError
from soar.sim.ground_truth import answer, is_contained, is_on_table, reset_for, succeeded
from soar.sim.scene import DRAWER_TRAVEL_M, load_scene
from soar.sim.world import World
from tests.sim.acting import HOLD, grasp

PUT = "put the green block in the wooden bowl"
REMOVE = "remove the green block from inside the wooden bowl and put it on the table"


@pytest.fixture(scope="module")
def kitchen() -> World:
    return World(load_scene("scene1"))


@pytest.fixture(scope="module")
def drawer() -> World:
    return World(load_scene("scene5"))


def place(world: World, name: str, x: float, y: float, z: float) -> None:
    world.reset(0)
    world.set_container("wooden bowl", 0.3, 0.08, 0.0)
    world.set_object("red fruit", (0.36, -0.13, 0.018), 0.0)
    world.set_object(name, (x, y, z), 0.0)
    mujoco.mj_forward(world.model, world.data)


@pytest.mark.parametrize(
    ("x", "y", "z", "contained", "on_table"),
    [
        (0.30, 0.08, 0.022, True, False),  # on the bowl's floor
        (0.33, 0.08, 0.022, True, False),
        (0.30, 0.08, 0.10, False, False),  # above the bowl
        (0.30, -0.05, 0.0161, False, True),
        (0.30, -0.05, 0.06, False, False),  # in the air
    ],
)
def test_an_object_is_in_a_bowl_on_the_table_or_in_the_air(
    kitchen: World, x: float, y: float, z: float, contained: bool, on_table: bool
) -> None:
    place(kitchen, "green block", x, y, z)
    assert is_contained(kitchen, "green block", "wooden bowl") is contained
    assert is_on_table(kitchen, "green block") is on_table
    assert answer(kitchen, "Is the green block in the wooden bowl?") is contained
    assert succeeded(kitchen, PUT) is contained
    assert succeeded(kitchen, REMOVE) is on_table


def test_an_object_that_is_still_held_does_not_count(kitchen: World) -> None:
    reset_for(kitchen, REMOVE, 4)
    grasp(kitchen, REMOVE, "green block", height_m=0.022)
    assert answer(kitchen, "Is the green block in the wooden bowl?")
    assert not succeeded(kitchen, PUT)
    for _ in range(4):
        kitchen.step(HOLD)
    assert succeeded(kitchen, PUT)


def test_left_and_right_are_the_cameras() -> None:
    world = World(load_scene("scene3"), image_size=64)
    world.set_object("green marker", (0.25, -0.12, 0.01), 0.0)
    for name, x in (("blue block", 0.22), ("lemon", 0.37)):
        world.set_object(name, (x, 0.0, 0.017), 0.0)
    mujoco.mj_forward(world.model, world.data)
    assert answer(world, "Is the green marker on the left side of the table?")
    assert not answer(world, "Is the green marker on the right side of the table?")
    assert succeeded(world, "move the green marker to the left side")
    left = world.render()
    world.set_object("green marker", (0.25, 0.12, 0.01), 0.0)
    mujoco.mj_forward(world.model, world.data)
    assert succeeded(world, "move the green marker to the right side")
    changed = np.abs(left.astype(int) - world.render()).sum(axis=(0, 2))
    assert changed[:32].sum() > 0.25 * changed.sum()
    columns = np.arange(64)
    middle = float((changed * columns).sum() / changed.sum())
    assert 24 < middle < 40  # what left the left half came to the right half
    world.set_object("green marker", (0.25, 0.0, 0.01), 0.0)
    mujoco.mj_forward(world.model, world.data)
    for side in ("left", "right"):
        assert not answer(world, f"Is the green marker on the {side} side of the table?")


@pytest.mark.parametrize(
    ("opening", "is_open", "opened", "closed"),
    [(0.05, False, False, True), (0.4, False, False, False), (0.9, True, True, False)],
)
def test_a_drawer_must_be_clearly_open_or_clearly_closed(
    drawer: World, opening: float, is_open: bool, opened: bool, closed: bool
) -> None:
    drawer.reset(0)
    drawer.data.joint("drawer").qpos[0] = opening * DRAWER_TRAVEL_M
    assert answer(drawer, "Is the drawer open?") is is_open
    assert succeeded(drawer, "open the drawer") is opened
    assert succeeded(drawer, "close the drawer") is closed


def test_what_is_on_the_table_is_known(kitchen: World) -> None:
    assert answer(kitchen, "Is there a red fruit on the table?")
    assert not answer(kitchen, "Is there a pink spoon on the table?")


def test_a_question_about_a_missing_object_names_those_that_are_there(kitchen: World) -> None:
    with pytest.raises(ConfigError, match=r"'scene1' has no 'pink spoon'; it has wooden bowl, green block, red fruit"):
        answer(kitchen, "Is the pink spoon in the wooden bowl?")


@pytest.mark.parametrize("number", range(1, 10))
def test_starts_are_feasible_and_not_done(number: int) -> None:
    world = World(load_scene(f"scene{number}"))
    for task in world.config.parsed_tasks():
        for seed in range(3):
            reset_for(world, task.instruction, seed)
            assert answer(world, task.question) is task.feasible_answer, task.instruction
            assert not succeeded(world, task.instruction)
