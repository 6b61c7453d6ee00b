"""Demonstrations in simulation: what stands in for BridgeData v2 and for the Internet.

A *world* is one table with one look and a few objects; several demonstrations are recorded in each. Two kinds are made:

- `demonstrations`: successful ones, on tables, with cameras and objects of the pre-training set only. The policy learns from
  these.
- `pictures`: any object, any table, many cameras, with true answers to questions about some frames. The subgoal model and the
  VQA model learn from these; their actions are never used. They stand in for Internet-scale pre-training. These demonstrations
  are plain and without mistakes, so that what comes 20 steps later is always a step towards the goal. Besides, pairs of
  pictures show what should come next where an attempt went astray (`soar.pretraining.expert_corrections`), and
  single ones things anywhere.

Half of the demonstrations begin after a prelude that brings the world into a state that a weak policy gets into: so recovering
is learned too.

The scenes of the paper's Table 5 and their seeds are in neither: worlds are drawn from a stream of seeds of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.configuration import load
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.files import replacing
from soar.instruction_grammar import task_from_instruction
from soar.policies.loading import load_policy
from soar.pretraining.execution_noise import ExecutionNoise
from soar.pretraining.expert_corrections import record_strays, stray_actor
from soar.pretraining.vqa_frames import VQAFrames, ask
from soar.seeding import derive_seed, generator
from soar.sim import catalogue
from soar.sim.appearance import Look, LookJitter
from soar.sim.ground_truth import reset_for, succeeded
from soar.sim.scene import SceneConfig, load_scene
from soar.sim.scripted.expert import ScriptedExpert
from soar.sim.scripted.style import Style
from soar.sim.world import HOME_POSITION, World
from soar.subgoals.loading import load_subgoal_model
from soar.types import Episode, Label, Provenance

MAX_STEPS = 100
ASKED_SHARE = 0.12
"""Share of the frames about which questions are answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationConfig:
    """What to record, see `configs/demonstrations/*.yaml`.

    Attributes:
        pretraining_only: Draw tables and objects from those marked `pretraining` only.
        jitter: Of camera, light and colours around `look`, drawn for each world.
        episode_jitter: Drawn for each episode in a world.
        per_world: Episodes in one world.
        varied: Whether experts vary in pace, path and grasp.
        prelude_steps: Longest prelude, in steps; half of the demonstrations begin after one. 0 leaves them out.
        used_share: Share of the demonstrations that begin on a table as practice leaves it, see `soar.sim.placement`.
        answers: Record true answers to questions about some of the frames, of preludes too, and keep failed demonstrations.
        arrangements: Pictures in each world, with answers, of things in random places and the arm anywhere.
        strays: Attempts in each world that go astray, see `soar.pretraining.expert_corrections`.
        drawer_share: Share of worlds with a drawer, of those without a cloth.
        cloth_share: Share of worlds with a cloth, whose steps take twenty times as long. The other worlds do not depend on it.
        image_size: Pixels.
        disturbance_m: Largest standard deviation of the arm's execution error, per step.
        bump_probability: Chance at each step that the arm is knocked off its way for a few steps.
    """

    pretraining_only: bool
    look: Look = field(default_factory=Look)
    episode_jitter: LookJitter = field(
        default_factory=lambda: LookJitter(light=0.08, light_direction=0.2, camera_position_m=0.004, camera_target_m=0.003)
    )
    jitter: LookJitter = field(default_factory=LookJitter)
    per_world: int = 8
    varied: bool = True
    prelude_steps: int = 0
    used_share: float = 0.0
    answers: bool = False
    arrangements: int = 0
    strays: int = 0
    drawer_share: float = 0.08
    cloth_share: float = 0.0
    image_size: int = 64
    disturbance_m: float = 0.004
    bump_probability: float = 0.01

    def __post_init__(self) -> None:
        if self.per_world < 0 or not self.per_world + self.strays:
            raise ConfigError(f"per_world is {self.per_world}; a world needs at least 1 episode, or strays")


def draw_world(config: DemonstrationConfig, seed: int, index: int) -> SceneConfig:
    """Return the scene of world `index`: a container and one to three objects, or a drawer, or a cloth."""
    rng = generator(seed, "world", index)
    tables = [n for n, t in catalogue.tables().items() if t.pretraining or not config.pretraining_only]
    things = {n: o for n, o in catalogue.objects().items() if o.pretraining or not config.pretraining_only}
    # A stream of its own, so that worlds without a cloth do not depend on how many have one.
    with_cloth = generator(seed, "cloth", index).random() < config.cloth_share
    if with_cloth:
        cloth = str(rng.choice([n for n, o in things.items() if o.is_cloth]))
        objects, tasks = [cloth], [f"fold the {cloth} from right to left", f"unfold the {cloth} from left to right"]
    elif rng.random() < config.drawer_share:
        objects, tasks = ["drawer"], ["open the drawer", "close the drawer"]
    else:
        container = str(rng.choice([n for n, o in things.items() if o.is_container]))
        graspable = [n for n, o in things.items() if o.is_graspable]
        short = [n for n in graspable if things[n].shape not in catalogue.LONG]
        first = str(rng.choice(short if rng.random() < 0.6 else graspable))
        count = int(rng.integers(1, 4)) - (things[first].shape in catalogue.LONG)
        others = [str(n) for n in rng.permutation([n for n in short if n != first])[: max(0, count - 1)]]
        objects = [container, first, *others]
        word = "in" if things[container].shape == "bowl" else "on"
        tasks = []
        for name in objects[1:]:
            tasks.append(f"put the {name} {word} the {container}")
            where = "from inside" if word == "in" else rng.choice(["from", "out of"])
            verb = "remove" if where != "out of" else "take"
            tasks.append(f"{verb} the {name} {where} the {container} and put it on the table")
        if rng.random() < (0.7 if things[first].shape in catalogue.LONG else 0.15):
            ending = rng.choice(["", " side"])
            tasks += [f"move the {first} to the left{ending}", f"move the {first} to the right{ending}"]
    table = str(rng.choice(tables))
    look = config.jitter.draw(config.look, rng)
    return SceneConfig(
        name=f"world-{seed}-{index}", objects=tuple(objects), tasks=tuple(tasks), look=replace(look, table=table)
    )


def named_world(scene: str, seed: int, index: int) -> SceneConfig:
    """Return a scene under the name of world `index`, so that its episodes have ids of their own."""
    return replace(load_scene(scene), name=f"world-{seed}-{index}")


def finished_file(folder: Path, seed: int, index: int) -> Path:
    """Return the file of a finished world, with its answers if it has any."""
    return folder / "worlds" / f"{seed}-{index:06d}.parquet"


def record_world(item: dict[str, Any], report: Any) -> dict[str, Any]:
    """Record all demonstrations of one world (worker entry point); what is in the store already is not done again.

    Args:
        item: `config` (name), `folder`, `seed`, `index`, `scene` to record there instead of in a random world, and `student`,
            the names of a policy and a subgoal model whose attempts the strays are.
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
        for number in range(config.strays):
            attempt = f"{scene.name}-stray-{number}"
            own_seed = derive_seed(seed, attempt, number)
            rng = np.random.default_rng(own_seed)
            world.apply_look(_episode_look(config, scene, rng))
            asked = functools.partial(_ask_now, config, world, rng) if config.answers else None
            for episode, rows in record_strays(world, attempt, own_seed, rng, ask=asked, student=student):
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
    world.apply_look(_episode_look(config, scene, rng))
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


def _arrangements(
    config: DemonstrationConfig, world: World, rng: np.random.Generator
) -> Iterator[tuple[Episode, list[dict[str, Any]]]]:
    """Yield pictures of things where no demonstration leaves them: against a wall, several in a bowl, under the arm."""
    scene, frames = world.config, _vqa_frames(config, world, rng)
    free = [name for name in world.graspable if world.containers]
    for _ in range(config.arrangements):
        world.apply_look(_episode_look(config, scene, rng))
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
    actor, frames = stray_actor(world, instruction, rng), _vqa_frames(config, world, rng)
    noise = ExecutionNoise(config.disturbance_m, config.bump_probability, rng)
    for _ in range(int(rng.integers(1, config.prelude_steps + 1))):
        world.step(noise.applied_to(actor.act()))
        if config.answers and rng.random() < ASKED_SHARE:
            frames.take()
    return frames


def _vqa_frames(config: DemonstrationConfig, world: World, rng: np.random.Generator) -> VQAFrames:
    return VQAFrames(world, rng, cloths=config.cloth_share > 0)


def _episode_look(config: DemonstrationConfig, scene: SceneConfig, rng: np.random.Generator) -> Look:
    """Return a look near the world's: camera and light vary, the things keep their colours."""
    look = config.episode_jitter.draw(scene.look, rng)
    return replace(look, seed=scene.look.seed, object_tint=scene.look.object_tint)


def _ask_now(config: DemonstrationConfig, world: World, rng: np.random.Generator, episode: str) -> list[dict[str, Any]]:
    return ask(world, episode, 0, rng, cloths=config.cloth_share > 0)


def _wander(world: World, rng: np.random.Generator) -> None:
    """Start from somewhere near home, as people do."""
    for _ in range(int(rng.integers(0, 7))):
        move = rng.normal(0, 0.012, 3)
        world.step(np.array([*move, 0, 0, rng.normal(0, 0.03), 1], np.float32))
