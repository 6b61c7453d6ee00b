"""Single pictures of a world with true answers to questions about them, as the VQA model learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.instruction_grammar import presence_question
from soar.sim import catalogue
from soar.sim.ground_truth import answer
from soar.sim.scene import SceneConfig
from soar.sim.world import World
from soar.types import Episode, Image, Provenance


def questions_about(scene: SceneConfig, rng: np.random.Generator, *, cloths: bool = False) -> list[str]:
    """Return every question that the scene's tasks raise, and presence questions about things that are there and are not.

    Args:
        scene: What is asked about.
        rng: Chooses what is asked for.
        cloths: Whether cloths are among the things that may be missing.
    """
    asked = [task.question for task in scene.parsed_tasks()]
    for name in scene.objects:
        if catalogue.objects()[name].is_graspable:
            asked += [f"Is the {name} on the {side} side of the table?" for side in ("left", "right")]
    absent = [n for n, o in catalogue.objects().items() if n not in scene.objects and (cloths or not o.is_cloth)]
    asked += [presence_question(str(n)) for n in [*rng.choice(absent, 2), rng.choice(list(scene.objects))]]
    return list(dict.fromkeys(asked))


def ask(world: World, episode: str, step: int, rng: np.random.Generator, *, cloths: bool) -> list[dict[str, Any]]:
    """Return a row for every question about the present state: episode, step, question, answer."""
    return [
        {"episode": episode, "step": step, "question": question, "answer": answer(world, question)}
        for question in questions_about(world.config, rng, cloths=cloths)
    ]


class VQAFrames:
    """Single pictures with answers, kept as the frames of an episode without instruction, in which nothing is commanded."""

    def __init__(self, world: World, rng: np.random.Generator, *, cloths: bool) -> None:
        self._world, self._rng, self._cloths = world, rng, cloths
        self.images: list[Image] = []
        self._states: list[NDArray[np.float32]] = []
        self._rows: list[dict[str, Any]] = []

    def take(self) -> None:
        """Picture the present, and ask about it."""
        self._rows += ask(self._world, "", len(self.images), self._rng, cloths=self._cloths)
        self.images.append(self._world.render())
        self._states.append(self._world.proprioception())

    def episode(self, id: str, seed: int) -> tuple[Episode, list[dict[str, Any]]]:
        """Return the pictures as an episode, and the answers about them."""
        # An episode has one frame more than actions, and at least one action.
        images, states = [*self.images, self.images[-1]], [*self._states, self._states[-1]]
        name, hold = self._world.config.name, np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
        made = Episode(
            id=id,
            scene=name,
            instruction="",
            images_THWC=np.stack(images),
            states_TD=np.stack(states),
            actions_TD=np.tile(hold, (len(self.images), 1)),
            provenance=Provenance(policy="none", robot="widowx-sim", run=name, seed=seed),
        )
        return made, [{**row, "episode": id} for row in self._rows]
