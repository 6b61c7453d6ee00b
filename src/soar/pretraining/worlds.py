"""Which worlds there are for pre-training, and what is recorded in each.

A world is one table with one appearance and a few objects. The scenes of the paper's Table 5 and their seeds are not among
them: worlds are drawn from a stream of seeds of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soar.errors import ConfigError
from soar.seeding import generator
from soar.sim import catalogue
from soar.sim.appearance import Appearance, AppearanceJitter
from soar.sim.scene import SceneConfig, load_scene


@dataclass(frozen=True, slots=True, kw_only=True)
class DemonstrationConfig:
    """What to record, see `configs/demonstrations/*.yaml`.

    Attributes:
        pretraining_only: Draw tables and objects from those marked `pretraining` only.
        jitter: Of camera, light and colours around `appearance`, drawn for each world.
        episode_jitter: Drawn for each episode in a world.
        per_world: Episodes in one world.
        varied: Whether experts vary in pace, path and grasp.
        prelude_steps: Longest prelude, in steps; half of the demonstrations begin after one. 0 leaves them out.
        used_share: Share of the demonstrations that begin on a table as practice leaves it, see `soar.sim.placement`.
        answers: Record true answers to questions about some of the frames, of preludes too, and keep failed demonstrations.
        arrangements: Pictures in each world, with answers, of things in random places and the arm anywhere.
        corrections: Attempts in each world that go astray, see `soar.pretraining.expert_corrections`.
        every_task: Whether a state of those is shown with what should come next for every task, from the start on, so that the
            same picture with other words is another goal; and looked at every few steps, as a judge does.
        alike_share: Share of the worlds with several things in which the others are of the first one's colour or shape, and as
            many as there is room for. The other worlds do not depend on it.
        drawer_share: Share of worlds with a drawer, of those without a cloth.
        cloth_share: Share of worlds with a cloth, whose steps take twenty times as long. The other worlds do not depend on it.
        image_size: Pixels.
        disturbance_m: Largest standard deviation of the arm's execution error, per step.
        bump_probability: Chance at each step that the arm is knocked off its way for a few steps.
    """

    pretraining_only: bool
    appearance: Appearance = field(default_factory=Appearance)
    episode_jitter: AppearanceJitter = field(
        default_factory=lambda: AppearanceJitter(
            light=0.08, light_direction=0.2, camera_position_m=0.004, camera_target_m=0.003
        )
    )
    jitter: AppearanceJitter = field(default_factory=AppearanceJitter)
    per_world: int = 8
    varied: bool = True
    prelude_steps: int = 0
    used_share: float = 0.0
    answers: bool = False
    arrangements: int = 0
    corrections: int = 0
    every_task: bool = False
    alike_share: float = 0.0
    drawer_share: float = 0.08
    cloth_share: float = 0.0
    image_size: int = 64
    disturbance_m: float = 0.004
    bump_probability: float = 0.01

    def __post_init__(self) -> None:
        if self.per_world < 0 or not self.per_world + self.corrections:
            raise ConfigError(f"per_world is {self.per_world}; a world needs at least 1 episode, or corrections")


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
        own = generator(seed, "alike", index)
        if own.random() < config.alike_share:
            others = _alike(first, [n for n in short if n != first], own)
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
    appearance = config.jitter.draw(config.appearance, rng)
    return SceneConfig(
        name=f"world-{seed}-{index}", objects=tuple(objects), tasks=tuple(tasks), appearance=replace(appearance, table=table)
    )


def _alike(first: str, names: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return things that are easily taken for `first`: two of its colour or shape, one beside something long."""
    things = catalogue.objects()
    away = {n: float(np.linalg.norm(np.subtract(things[n].rgb, things[first].rgb))) for n in names}
    candidates = sorted(names, key=lambda n: away[n])[:4]
    if rng.random() < 0.3:
        candidates = [n for n in names if things[n].shape == things[first].shape] or candidates
    chosen = [str(n) for n in rng.permutation(candidates)]
    return chosen[: 1 if things[first].shape in catalogue.LONG else 2]


def named_world(scene: str, seed: int, index: int) -> SceneConfig:
    """Return a scene under the name of world `index`, so that its episodes have ids of their own."""
    return replace(load_scene(scene), name=f"world-{seed}-{index}")
