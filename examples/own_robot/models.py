"""Models of one's own, by name in any command: `--policy models:Play --vlm models:Eye --subgoals models:Imagination`.

They know one thing, that the block is red, so that trying the commands takes no GPU and no download. Leave the flags out for
the models that come with SOAR, or name others (docs/how-to/foundation-models.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soar.types import Goal, Image, Observation
from soar.vlm.base import Answer


def find_block(image: Image) -> tuple[int, int] | None:
    """Return row and column of the middle of what is red, None when nothing is."""
    red = (image[..., 0] > 150) & (image[..., 1] < 90) & (image[..., 2] < 90)
    if not red.any():
        return None
    rows, columns = np.nonzero(red)
    return int(rows.mean()), int(columns.mean())


class Eye:
    """A vision-language model that understands two questions: is the block on the left, is it on the right?"""

    id = "eye-1"

    def check(self) -> None:
        """Raise what is wrong before a robot moves: a server that does not answer, for example."""

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i."""
        return [self._answer(image, question) for image, question in zip(images, questions, strict=True)]

    def _answer(self, image: Image, question: str) -> Answer:
        place = find_block(image)
        if place is None or ("left" in question) == ("right" in question):
            return Answer(text="I cannot tell")  # counts as undecidable, never as a success
        yes = ("left" in question) == (place[1] < image.shape[1] // 2)
        return Answer(text="yes" if yes else "no", p_yes=0.95 if yes else 0.05)


class Imagination:
    """A subgoal model: the same picture with the block on the side that the instruction names."""

    id = "imagination-1"

    def reset(self) -> None:
        """Forget the last episode."""

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal an image, of its size."""
        return [self._generate(image, text) for image, text in zip(images, instructions, strict=True)]

    def _generate(self, image: Image, instruction: str) -> Image:
        place, goal = find_block(image), image.copy()
        if place is None:
            return goal
        row, column = (max(6, coordinate) for coordinate in place)
        block = image[row - 6 : row + 6, column - 6 : column + 6].copy()
        goal[row - 6 : row + 6, column - 6 : column + 6] = 190
        aim = image.shape[1] // 4 if "left" in instruction else 3 * image.shape[1] // 4
        height, width = block.shape[:2]
        goal[row - 6 : row - 6 + height, aim - 6 : aim - 6 + width] = block
        return goal


class Play:
    """A policy that plays: it goes to random places at random heights, and opens and closes its hand there.

    What it does is data to begin with where there are no demonstrations: whatever came about was a goal that could be reached.
    """

    id = "play-1"
    conditioning: Literal["goal", "language"] = "language"
    image_size: int | None = None
    action_std: NDArray[np.float32] = np.array([0.01, 0.01, 0.01, 0.02, 0.02, 0.02, 0.5], np.float32)

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._aim, self._grip, self._left = np.zeros(3), 1.0, 0

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7)."""
        return np.stack([self._act(observation) for observation in observations])

    def _act(self, observation: Observation) -> NDArray[np.float32]:
        if self._left == 0:
            self._aim = self._rng.uniform([0.2, -0.15, 0.02], [0.35, 0.15, 0.08])
            place = find_block(observation.image_HWC)
            if self._grip > 0.5 and place is not None:  # on average every other aim is the block
                height, width = observation.image_HWC.shape[:2]
                self._aim = np.array([0.15 + 0.25 * place[0] / height, 0.2 - 0.4 * place[1] / width, 0.02])
            self._left = 15
        self._left -= 1
        if self._left == 2:
            self._grip = 1.0 - self._grip
        delta = np.clip(self._aim - observation.state[:3], -0.02, 0.02)
        return np.array([*delta, 0, 0, 0, self._grip], np.float32)
