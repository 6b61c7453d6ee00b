"""The cloth: on a small one with few threads, which is the cheap variant; scene 10's own is tried over many starts in
`benchmarks/solvability.py`."""

from __future__ import annotations

import numpy as np
import pytest

from soar.sim.cloth import RADIUS_M
from soar.sim.ground_truth import answer, reset_for, succeeded
from soar.sim.scene import BARRIER_HIGH, BARRIER_LOW, SceneConfig
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.workcell import SimRobot
from soar.sim.world import World
from tests.sim.acting import HOLD, grasp, perform, walk

FOLD, UNFOLD = "fold the white napkin from right to left", "unfold the white napkin from left to right"
QUESTION = "Is the white napkin folded?"


@pytest.fixture(scope="module")
def world() -> World:
    return World(SceneConfig(name="small cloth", objects=("white napkin",), tasks=(FOLD, UNFOLD)), image_size=48)


def measured(world: World) -> tuple[float, float]:
    assert world.cloth is not None
    return world.cloth.span(world.data), world.cloth.depth(world.data)


@pytest.mark.parametrize("seed", range(3))
def test_a_cloth_starts_flat_or_folded_from_right_to_left(world: World, seed: int) -> None:
    world.reset(seed, folded=False)
    assert measured(world) == (pytest.approx(1, abs=0.02), pytest.approx(0, abs=0.02))
    assert not answer(world, QUESTION)
    world.reset(seed, folded=True)
    span, depth = measured(world)
    assert abs(span) < 0.15
    assert depth > 0.4
    assert answer(world, QUESTION)
    left, middle, right = (row.mean(0) for row in world.cloth.edges(world.data))  # type: ignore[union-attr]
    assert middle[1] > max(left[1], right[1])  # the fold is at the robot's left, the image's right
    for x, y in world.cloth.vertices(world.data)[..., :2].reshape(-1, 2):  # type: ignore[union-attr]
        assert BARRIER_LOW[0] < x < BARRIER_HIGH[0]
        assert BARRIER_LOW[1] < y < BARRIER_HIGH[1]


def test_the_upper_layer_rests_on_the_lower_one(world: World) -> None:
    world.reset(2, folded=True)
    for _ in range(10):
        world.step(HOLD)
    left, _, right = (row.mean(0) for row in world.cloth.edges(world.data))  # type: ignore[union-attr]
    assert right[2] - left[2] > 1.5 * RADIUS_M


@pytest.mark.parametrize("task", [FOLD, UNFOLD])
def test_the_expert_folds_and_unfolds(world: World, task: str) -> None:
    reset_for(world, task, 1)
    assert not succeeded(world, task)
    assert perform(world, task, 60)
    other = UNFOLD if task == FOLD else FOLD
    assert not succeeded(world, other)
    assert answer(world, QUESTION) is (task == FOLD)


def test_neither_luck_nor_doing_nothing_folds_or_unfolds(world: World) -> None:
    for task in (FOLD, UNFOLD):
        reset_for(world, task, 3)
        for _ in range(5):
            world.step(HOLD)
        assert not succeeded(world, task)
        walk(world, 30, np.random.default_rng(4))
        assert not succeeded(world, task)


def test_a_folded_cloth_that_is_held_is_not_done(world: World) -> None:
    reset_for(world, FOLD, 1)
    expert = ScriptedExpert(world, FOLD, Style(keeps_hold=True), np.random.default_rng(0))
    for _ in range(40):
        world.step(expert.act())
    assert answer(world, QUESTION)
    assert world.is_grasped("white napkin")
    assert not succeeded(world, FOLD)


def test_a_restored_cloth_repeats_the_future_bit_by_bit(world: World) -> None:
    reset_for(world, FOLD, 3)
    grasp(world, FOLD, "white napkin", height_m=0.006)
    snapshot = world.snapshot()
    futures = []
    for _ in range(2):
        walk(world, 8, np.random.default_rng(2))
        futures.append((world.data.qpos.copy(), world.data.qvel.copy(), world.render()))
        world.restore(snapshot)
    for first, second in zip(*futures, strict=True):
        assert np.array_equal(first, second)


def test_imagining_a_subgoal_leaves_the_cloth_as_it_is(world: World) -> None:
    robot = SimRobot(world)
    robot.reset_for(UNFOLD, 2)
    before, positions = world.render(), world.data.qpos.copy()
    goal = robot.imagine(UNFOLD, 0)
    assert np.abs(goal.astype(int) - before).max() > 50
    assert np.array_equal(world.data.qpos, positions)
    assert np.array_equal(world.render(), before)


def test_appearances_tint_the_cloth(world: World) -> None:
    world.reset(0, folded=False)
    before = world.render()
    appearance = SceneConfig(name="", objects=(), tasks=()).appearance
    world.apply_appearance(type(appearance)(object_tint=0.3, seed=4))
    assert np.abs(world.render().astype(int) - before).max() > 5
    world.apply_appearance(world.config.appearance)
    assert np.array_equal(world.render(), before)
