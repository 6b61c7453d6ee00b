"""Pictures of attempts that go astray, and of what should come next.

```
attempt    ──●────●──────●───●─────►   a blind or clumsy actor, or a policy, 100 steps, started once
             ╲    ╲      ╲   ╲
expert        20   20     20  20       from some of the states: the picture 20 steps later, then back
```

Each pair of pictures is kept as an episode of one action (which nobody takes): its first frame is the state, its last one what
the expert makes of it. So a subgoal model learns what to imagine where a weak policy ends up, not only along the way of
those who do it right. With a policy and a subgoal model that are already there, it learns that of the very states that they
bring about (DAgger, Ross et al. 2011).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from soar.instruction_grammar import task_from_instruction
from soar.policies.base import Policy
from soar.pretraining.vqa_frames import VQAFrames
from soar.seeding import derive_seed
from soar.sim.ground_truth import reset_for, succeeded
from soar.sim.scripted.blind import BlindPolicy
from soar.sim.scripted.expert import ScriptedExpert, imagine
from soar.sim.scripted.style import Style
from soar.sim.world import World
from soar.subgoals.base import SubgoalModel
from soar.types import SUBGOAL_STEPS, Action, Episode, Goal, Observation, Provenance

ATTEMPT_STEPS = 100
BRANCH_PROBABILITY = 0.15
FEWER_BRANCHES = 0.05
"""Where each state is shown with every task."""
LOOK_STEPS = 5
IMAGINED = "imagined"
"""Policy of the episodes of pairs."""
Answers = list[dict[str, Any]]


class Actor(Protocol):
    """Whoever acts in a world."""

    def act(self) -> Action:
        """Return the next action (7,)."""
        ...


class Follower:
    """A policy that follows what a subgoal model imagines, as they are deployed.

    Args:
        world: What it sees.
        instruction: What it is told.
        policy: Reaches the subgoals; it is reset.
        subgoal_model: Imagines them.
        seed: Of the subgoals.
    """

    def __init__(self, world: World, instruction: str, policy: Policy, subgoal_model: SubgoalModel, seed: int) -> None:
        policy.reset()
        self._world, self._instruction, self._seed = world, task_from_instruction(instruction).instruction, seed
        self._policy, self._subgoal_model = policy, subgoal_model
        self._goal: Goal = instruction
        self._step = 0

    def act(self) -> Action:
        """Return the next action (7,)."""
        seen = Observation(image_HWC=self._world.render(), state=self._world.proprioception())
        if self._step % SUBGOAL_STEPS == 0:
            seed = derive_seed(self._seed, "subgoal", self._step)
            self._goal = self._subgoal_model.generate([seen.image_HWC], [self._instruction], [seed])[0]
        self._step += 1
        return np.asarray(self._policy.act([seen], [self._goal])[0])


def clumsy_actor(world: World, instruction: str, rng: np.random.Generator) -> Actor:
    """Return someone who does badly: mostly one who does not look, else one who looks and is clumsy."""
    if rng.random() < 0.75:
        return BlindPolicy(world, instruction, rng)
    return ScriptedExpert(world, instruction, Style.clumsy(rng), rng)


def record_corrections(
    world: World,
    name: str,
    seed: int,
    rng: np.random.Generator,
    *,
    ask: Callable[[str], Answers] | None,
    student: tuple[Policy, SubgoalModel] | None = None,
    used: bool = False,
    every_task: bool = False,
    looks: VQAFrames | None = None,
) -> Iterator[tuple[Episode, Answers]]:
    """Yield the pairs of one attempt.

    Args:
        world: Where; it is reset.
        name: The pairs' ids begin with it.
        seed: Of the start, and recorded with the pairs.
        rng: Of all else.
        ask: Answers questions about the present state for an episode id; None to leave that out.
        student: Whose attempts they are; scripted ones by default.
        used: Whether they begin on a table as practice leaves it.
        every_task: Whether each of the states, the start among them, is shown with what should come next for every task that is
            not done (and some that are); there are fewer states then.
        looks: Gets a frame every few steps, as a judge looks that waits for success.
    """
    scene = world.config
    instruction = str(rng.choice(scene.tasks))
    reset_for(world, instruction, seed % 2**31, used=used)
    actor = clumsy_actor(world, instruction, rng) if student is None else Follower(world, instruction, *student, seed)
    for step in range(ATTEMPT_STEPS):
        if looks is not None and step % LOOK_STEPS == 0:
            looks.take()
        branches = rng.random() < (FEWER_BRANCHES if every_task else BRANCH_PROBABILITY)
        if branches or (every_task and step == 0):
            before, state = world.render(), world.proprioception()
            for number, asked in enumerate(_asked(world, instruction, rng, every_task)):
                id = f"{name}-{step}-{number}" if every_task else f"{name}-{step}"
                after, state_after = imagine(world, asked, int(rng.integers(2**31)))
                made = Episode(
                    id=id,
                    scene=scene.name,
                    instruction=task_from_instruction(asked).instruction,
                    images_THWC=np.stack([before, after]),
                    states_TD=np.stack([state, state_after]),
                    actions_TD=np.array([[0, 0, 0, 0, 0, 0, 1]], np.float32),
                    provenance=Provenance(policy=IMAGINED, robot="widowx-sim", run=scene.name, seed=seed),
                )
                yield made, [] if ask is None or number else ask(id)
        world.step(actor.act())


def _asked(world: World, instruction: str, rng: np.random.Generator, every_task: bool) -> list[str]:
    """Return the tasks whose next moment is shown. A finished task is left alone; that is learned too, of some."""
    tasks = world.config.tasks
    if every_task:
        return [task for task in tasks if not succeeded(world, task) or rng.random() < 0.3]
    asked = instruction if rng.random() < 0.6 else str(rng.choice(tasks))
    if succeeded(world, asked) and rng.random() < 0.6:
        asked = str(rng.choice([task for task in tasks if not succeeded(world, task)] or [asked]))
    return [asked]
