"""A robot without a body and models without a mind: small, deterministic, and honest to their protocols."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from soar.policies.base import Conditioning
from soar.robots.base import Health
from soar.seeding import generator
from soar.types import ACTION_DIM, Action, Goal, Image, Observation, WorkspaceBox
from soar.vlm.base import Answer

FAKE_WORKSPACE = WorkspaceBox(low=(0.15, -0.2, 0.02), high=(0.4, 0.2, 0.2))
"""The box [m] in front of a `FakeRobot`."""
HOME_STATE = (0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0)


class FakeRobot:
    """A gripper that is a point and goes exactly where it is told, inside its box or not.

    Its picture shows the workspace from above: the gripper is a square dot, red when open and blue when closed.

    Args:
        size: Height and width of the image in pixels.
        cameras: Further ones; each shows the same, of another size and another colour.
    """

    def __init__(self, size: int = 64, cameras: Sequence[str] = ()) -> None:
        self._size, self._cameras = size, tuple(cameras)
        self._state = np.array(HOME_STATE, np.float64)

    def observe(self) -> Observation:
        """Draw the dot."""
        further = {
            name: self._drawn(self._size - 8 * number, 200 - 20 * number) for number, name in enumerate(self._cameras, 1)
        }
        return Observation(image_HWC=self._drawn(self._size, 200), state=self._state.astype(np.float32), extra_images=further)

    def _drawn(self, size: int, grey: int) -> Image:
        image = np.full((size, size, 3), grey, np.uint8)
        low, high = np.array(FAKE_WORKSPACE.low), np.array(FAKE_WORKSPACE.high)
        row, column = (np.clip(np.nan_to_num((self._state[:2] - low[:2]) / (high - low)[:2]), 0, 1) * (size - 5)).astype(int)
        # Height and the sub-pixel part of the position show as brightness, so that every motion changes the picture.
        shade = int(10_000 * np.nan_to_num(abs(self._state[:6] @ (1.0, 1.3, 1.7, 0.1, 0.13, 0.17)))) % 90
        opening = self._state[6]
        image[row : row + 5, column : column + 5] = (int(150 * opening) + shade, shade, int(150 * (1 - opening)) + shade)
        return image

    def act(self, action: Action) -> None:
        """Add the delta and set the gripper."""
        self._state[:6] += action[:6]
        self._state[6] = action[6]

    def home(self) -> None:
        """Go back to the start."""
        self._state = np.array(HOME_STATE, np.float64)

    def health(self) -> Health:
        """A point is always well."""
        return Health(ok=True)

    def recover(self) -> None:
        """Go home."""
        self.home()


class FakeVLM:
    """A vision-language model with a script.

    Args:
        script: From (image, question) to yes, no or undecided (None).
    """

    id = "fake-vlm"

    def __init__(self, script: Callable[[Image, str], bool | None] = lambda image, question: False) -> None:
        self._script = script

    def check(self) -> None:
        """Nothing can be wrong once it is there."""

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer by the script; p_yes is 0.9 or 0.1, or None when undecided."""
        verdicts = [self._script(image, question) for image, question in zip(images, questions, strict=True)]
        words = {True: Answer(text="yes", p_yes=0.9), False: Answer(text="no", p_yes=0.1), None: Answer(text="I cannot tell")}
        return [words[verdict] for verdict in verdicts]


class FakeFilmVLM(FakeVLM):
    """The same, that looks at several pictures in one question: its script sees the last of them.

    Args:
        script: From (image, question) to yes, no or undecided (None).
    """

    id = "fake-film-vlm"

    def answer_films(
        self, films: Sequence[Sequence[Image]], questions: Sequence[str], *, true_false: bool = False
    ) -> list[Answer]:
        """Answer by the script."""
        return self.answer([film[-1] for film in films], questions)


class FakeSubgoals:
    """A subgoal model that paints a square of a random colour, by seed, into a random place of the image."""

    id = "fake-subgoals"

    def reset(self) -> None:
        """Nothing is kept."""

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one painted copy an image."""
        goals = []
        for image, instruction, seed in zip(images, instructions, seeds, strict=True):
            rng = generator(seed, instruction)
            goal = image.copy()
            row, column = rng.integers(0, image.shape[0] - 7), rng.integers(0, image.shape[1] - 7)
            goal[row : row + 8, column : column + 8] = rng.integers(0, 256, 3)
            goals.append(goal)
        return goals


class FakePolicy:
    """A policy that knows one action.

    Args:
        action: (7,), see `soar.types.Action`.
    """

    id = "fake-policy"
    conditioning: Conditioning = "goal"
    image_size: int | None = None

    def __init__(self, action: Sequence[float] = (0.002, 0.001, 0.0, 0.0, 0.0, 0.0, 1.0)) -> None:
        self._action = np.array(action, np.float32)
        self.action_std = np.full(ACTION_DIM, 0.01, np.float32)

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return the action once an observation."""
        return np.stack([self._action for _ in zip(observations, goals, strict=True)])

    def reset(self) -> None:
        """Nothing to forget."""
