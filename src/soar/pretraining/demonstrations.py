"""Demonstrations in simulation: what stands in for BridgeData v2 and for the Internet.

A *world* is one table with one appearance and a few objects; several demonstrations are recorded in each. Two kinds are made:

- `demonstrations`: successful ones, on tables, with cameras and objects of the pre-training set only. The policy learns from
  these.
- `pictures`: any object, any table, many cameras, with true answers to questions about some frames. The subgoal model and the
  VQA model learn from these; their actions are never used. They stand in for Internet-scale pre-training. These demonstrations
  are plain and without mistakes, so that what comes 20 steps later is always a step towards the goal. Besides, pairs of
  pictures show what should come next where an attempt went astray (`soar.pretraining.expert_corrections`), and
  single ones things anywhere.

Half of the demonstrations begin after a prelude that brings the world into a state that a weak policy gets into: so recovering
is learned too.

Which worlds there are, and what is recorded in them, is said by `soar.pretraining.worlds`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.configuration import load
from soar.episodes.store import EpisodeStore
from soar.files import replacing
from soar.instruction_grammar import task_from_instruction
from soar.policies.base import Policy
from soar.policies.loading import load_policy
from soar.pretraining.execution_noise import ExecutionNoise
from soar.pretraining.expert_corrections import clumsy_actor, record_corrections
from soar.pretraining.vqa_frames import VQAFrames, ask
from soar.pretraining.worlds import DemonstrationConfig, draw_world, named_world
from soar.seeding import derive_seed, generator
from soar.sim.appearance import Appearance
from soar.sim.ground_truth import reset_for, succeeded
from soar.sim.scene import SceneConfig
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.world import HOME_POSITION, World
from soar.subgoals.base import SubgoalModel
from soar.subgoals.loading import load_subgoal_model
from soar.types import Episode, Label, Provenance

MAX_STEPS = 100
ASKED_SHARE = 0.12
"""Share of the frames about which questions are answered."""


def finished_file(folder: Path, seed: int, index: int) -> Path:
    """Return the file of a finished world, with its answers if it has any."""
    return folder / "worlds" / f"{seed}-{index:06d}.parquet"


def record_world(item: dict[str, Any], report: Any) -> dict[str, Any]:
    """Record all demonstrations of one world (worker entry point); what is in the store already is not done again.

    Args:
        item: `config` (name), `folder`, `seed`, `index`, `scene` to record there instead of in a random world, and `student`,
            the names of a policy and a subgoal model whose attempts the corrections are.
        report: Called with `episodes=1` after each attempt.
    """
    config = load(DemonstrationConfig, "demonstrations", item["config"])
    folder, seed, index = Path(item["folder"]), int(item["seed"]), int(item["index"])
    store = EpisodeStore(folder / "episodes", mode="open_or_create")
    done_file = finished_file(folder, seed, index)
    if done_file.exists():
        return {"kept": 0, "resumed": True}
    in_scene = str(item.get("scene", ""))
    scene = named_world(in_scene, seed, index) if in_scene else draw_world(config, seed, index)
    names = item.get("student")
    student = (load_policy(names[0]), load_subgoal_model(names[1])) if names else None
    world = World(scene, image_size=config.image_size)
    present = {record.id for record in store.episodes(f"scene = '{scene.name}'")}
    kept: list[Episode] = []
    answers: list[dict[str, Any]] = []
    try:
        for number in range(config.per_world):
            for episode, rows in _record(config, world, derive_seed(seed, scene.name, number), number):
                answers += rows
                if episode.id not in present:
                    kept.append(episode)
            report(episodes=1)
        if config.arrangements:
            for episode, rows in _arrangements(config, world, generator(seed, scene.name, config.per_world)):
                answers += rows
                if episode.id not in present:
                    kept.append(episode)
        for number in range(config.corrections):
            for episode, rows in _corrections(config, world, seed, number, student):
                answers += rows
                if episode.id not in present:
                    kept.append(episode)
            report(episodes=1)
    finally:
        world.close()
    if kept:
        store.append(kept)
    # Written last: its presence says that the world is finished.
    schema = pa.schema([("episode", pa.string()), ("step", pa.int32()), ("question", pa.string()), ("answer", pa.bool_())])
    with replacing(done_file) as temporary:
        pq.write_table(pa.Table.from_pylist(answers, schema), temporary)
    return {"kept": len(kept), "resumed": False}


def _record(
    config: DemonstrationConfig, world: World, seed: int, number: int
) -> Iterator[tuple[Episode, list[dict[str, Any]]]]:
    rng = np.random.default_rng(seed)
    scene = world.config
    world.apply_appearance(_episode_appearance(config, scene, rng))
    instruction = str(rng.choice(scene.tasks))
    reset_for(world, instruction, seed % 2**31, used=bool(config.used_share and rng.random() < config.used_share))
    _wander(world, rng)
    episode_id = f"{scene.name}-{number}"
    if config.prelude_steps and rng.random() < 0.5:
        frames = _prelude(config, world, instruction, rng)
        if frames.images:
            yield frames.episode(f"{episode_id}-prelude", seed)
        open_tasks = [task for task in scene.tasks if not succeeded(world, task)]
        if succeeded(world, instruction) and open_tasks:
            instruction = str(rng.choice(open_tasks))
    expert = ScriptedExpert(world, instruction, Style.draw(rng) if config.varied else Style(), rng)
    noise = ExecutionNoise(config.disturbance_m, config.bump_probability, rng)
    images, states, actions = [world.render()], [world.proprioception()], []
    rows = ask(world, episode_id, 0, rng, cloths=config.cloth_share > 0) if config.answers else []
    rest, needed_rest = 0, int(rng.integers(4, 12))
    for _ in range(MAX_STEPS):
        action = expert.act()
        # The arm does not do quite what it is told; what is recorded is what it was told.
        world.step(noise.applied_to(action))
        actions.append(action)
        images.append(world.render())
        states.append(world.proprioception())
        if config.answers and rng.random() < ASKED_SHARE:
            rows += ask(world, episode_id, len(actions), rng, cloths=config.cloth_share > 0)
        rest = rest + 1 if succeeded(world, instruction) else 0
        if rest >= needed_rest:
            break
    success = succeeded(world, instruction)
    if not success and not config.answers:
        return
    if config.answers:
        rows += ask(world, episode_id, len(actions), rng, cloths=config.cloth_share > 0)
    yield (
        Episode(
            id=episode_id,
            scene=scene.name,
            instruction=task_from_instruction(instruction).instruction,
            images_THWC=np.stack(images),
            states_TD=np.stack(states),
            actions_TD=np.stack(actions).astype(np.float32),
            labels=(Label(success=success, probability=None, source="simulator"),),
            provenance=Provenance(policy="demonstrator", robot="widowx-sim", run=scene.name, seed=seed),
        ),
        rows,
    )
    if config.answers and rng.random() < 0.5:
        # What a proposer sees between episodes: the arm at home, the table as the last attempt left it.
        world.home()
        frames = _vqa_frames(config, world, rng)
        frames.take()
        yield frames.episode(f"{episode_id}-home", seed)


def _corrections(
    config: DemonstrationConfig, world: World, seed: int, number: int, student: tuple[Policy, SubgoalModel] | None
) -> Iterator[tuple[Episode, list[dict[str, Any]]]]:
    """Yield the pairs of one attempt that goes astray, and what a judge sees of it."""
    name = f"{world.config.name}-correction-{number}"
    own_seed = derive_seed(seed, name, number)
    rng = np.random.default_rng(own_seed)
    world.apply_appearance(_episode_appearance(config, world.config, rng))
    looks = _vqa_frames(config, world, rng) if config.every_task and config.answers else None
    yield from record_corrections(
        world,
        name,
        own_seed,
        rng,
        ask=functools.partial(_ask_now, config, world, rng) if config.answers else None,
        student=student,
        used=bool(config.used_share and rng.random() < config.used_share),
        every_task=config.every_task,
        looks=looks,
    )
    if looks is not None:
        yield looks.episode(f"{name}-looks", own_seed)


def _arrangements(
    config: DemonstrationConfig, world: World, rng: np.random.Generator
) -> Iterator[tuple[Episode, list[dict[str, Any]]]]:
    """Yield pictures of things where no demonstration leaves them: against a wall, several in a bowl, under the arm."""
    scene, frames = world.config, _vqa_frames(config, world, rng)
    free = [name for name in world.graspable if world.containers]
    for _ in range(config.arrangements):
        world.apply_appearance(_episode_appearance(config, scene, rng))
        inside = {name: world.containers[0] for name in free if rng.random() < 0.45}
        at_home = rng.random() < 0.4
        low, high = np.array([0.2, -0.13, 0.05]), np.array([0.36, 0.13, 0.16])
        world.reset(
            int(rng.integers(2**31)),
            inside=inside,
            drawer_open=float(rng.random()),
            gap_m=float(rng.choice([0.001, 0.014])),
            arm=HOME_POSITION if at_home else rng.uniform(low, high),
        )
        if not at_home and rng.random() < 0.5:
            world.step(np.array([0, 0, 0, 0, 0, 0, 0], np.float32))
            world.step(np.array([0, 0, 0, 0, 0, 0, 0], np.float32))
        frames.take()
    yield frames.episode(f"{scene.name}-arrangements", int(rng.integers(2**31)))


def _prelude(config: DemonstrationConfig, world: World, instruction: str, rng: np.random.Generator) -> VQAFrames:
    """Bring the world into a state that a weak policy gets into, and return some pictures of the way there."""
    actor, frames = clumsy_actor(world, instruction, rng), _vqa_frames(config, world, rng)
    noise = ExecutionNoise(config.disturbance_m, config.bump_probability, rng)
    for _ in range(int(rng.integers(1, config.prelude_steps + 1))):
        world.step(noise.applied_to(actor.act()))
        if config.answers and rng.random() < ASKED_SHARE:
            frames.take()
    return frames


def _vqa_frames(config: DemonstrationConfig, world: World, rng: np.random.Generator) -> VQAFrames:
    return VQAFrames(world, rng, cloths=config.cloth_share > 0)


def _episode_appearance(config: DemonstrationConfig, scene: SceneConfig, rng: np.random.Generator) -> Appearance:
    """Return an appearance near the world's: camera and light vary, the things keep their colours."""
    appearance = config.episode_jitter.draw(scene.appearance, rng)
    return replace(appearance, seed=scene.appearance.seed, object_tint=scene.appearance.object_tint)


def _ask_now(config: DemonstrationConfig, world: World, rng: np.random.Generator, episode: str) -> list[dict[str, Any]]:
    return ask(world, episode, 0, rng, cloths=config.cloth_share > 0)


def _wander(world: World, rng: np.random.Generator) -> None:
    """Start from somewhere near home, as people do."""
    for _ in range(int(rng.integers(0, 7))):
        move = rng.normal(0, 0.012, 3)
        world.step(np.array([*move, 0, 0, rng.normal(0, 0.03), 1], np.float32))
