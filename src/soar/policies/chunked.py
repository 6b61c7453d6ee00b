"""How a policy that predicts chunks of actions acts, whatever computes its network: no torch here.

When it looks and when it executes what it planned is in `soar.policies.action_chunking`. A flow's noise is a function of
how often the robot was planned for since `reset`, so that a policy is deterministic and equal robots act alike.

Shape suffixes: B batch (robots), H height or actions of a chunk, W width, C channels, D action dimensions, E embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.errors import ConfigError
from soar.images import ImageFitter
from soar.policies.action_chunking import ActionChunker
from soar.policies.base import CONDITIONINGS, Conditioning, takes
from soar.policies.instructions import InstructionEncoder
from soar.seeding import generator
from soar.types import ACTION_DIM, Goal, Image, ImageAndInstruction, Observation

Array = TypeVar("Array")


@dataclass(frozen=True, slots=True, kw_only=True)
class Both(Generic[Array]):
    """What policies are told that take goal images and instructions: NumPy's arrays, or torch's tensors.

    Attributes:
        image: Of the goals, as networks take it; nothing counts where none is given.
        embedding: (B, E) of the instructions; nothing counts where none is given.
        given_B2: Whether there is a goal image, and whether there is an instruction: 0 or 1.
    """

    image: Array
    embedding: Array
    given_B2: Array

    def __getitem__(self, rows: NDArray[np.int64]) -> Both[Array]:
        """Return some of the robots'."""
        image, embedding, given_B2 = (part[rows] for part in (self.image, self.embedding, self.given_B2))  # type: ignore[index]
        return Both(image=image, embedding=embedding, given_B2=given_B2)


Told: TypeAlias = NDArray[np.uint8] | NDArray[np.float32] | Both[NDArray[Any]]
"""Goal images (B, H, W, 3), embeddings (B, E) of instructions, or both, as a policy's conditioning says."""


class PlanningPolicy(ABC):
    """Turns observations and goals into actions, by chunks that a subclass predicts.

    Args:
        id: See `id`.
        conditioning: What its goals are: `goal` images, instructions in `language`, or `both`.
        fitter: Brings pictures to the size of those that it sees.
        chunk: Actions that are predicted at once.
        execute: How many of them are executed before it looks again.
        action_std: (7,) standard deviation of the actions that it learned from.
        instructions: Embeds instructions; needed by a policy that takes them.
        camera: The one that it looks at.
    """

    def __init__(
        self,
        *,
        id: str,
        conditioning: Conditioning,
        fitter: ImageFitter,
        chunk: int,
        execute: int,
        action_std: NDArray[np.float32],
        instructions: InstructionEncoder,
        camera: str = MAIN,
    ) -> None:
        self.conditioning: Conditioning = conditioning
        self.action_std = action_std
        self.instructions = instructions
        self.execute = execute
        self.cameras: tuple[str, ...] = (camera,)
        self._id, self._fitter, self._chunk = id, fitter, chunk
        self._planner = ActionChunker(self.plan, execute)

    @property
    def image_size(self) -> int:
        """Height and width of the images that it sees [px]."""
        return self._fitter.size

    @property
    def id(self) -> str:
        """Kind and hash of configuration and weights: equal ids mean equal policies."""
        return self._id

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7) in physical units; the gripper's target is exactly 0 or 1.

        Raises:
            ValueError: There are not as many goals as observations.
            ConfigError: The policy does not take a goal of that kind.
        """
        return self._planner.act(observations, goals)

    def reset(self) -> None:
        """Forget what was planned."""
        self._planner.reset()

    def unknown_words(self, text: str) -> list[str] | None:
        """Return the words of an instruction that it was never trained on; None when it cannot say (see `soar.words`)."""
        return self.instructions.unknown_words(text)

    @abstractmethod
    def predict(
        self,
        observation_BHWC: NDArray[np.uint8],
        goal: Told,
        noise_BHD: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return chunks of actions (B, H, 7) in physical units, with a gripper's target between 0 and 1, or near.

        Args:
            observation_BHWC: RGB images of the policy's size.
            goal: Such images, the embeddings (B, E) of instructions, or both.
            noise_BHD: Standard normal; what a flow begins with.
        """

    def plan(self, observations: Sequence[Observation], goals: Sequence[Goal], indices: Sequence[int]) -> NDArray[np.float32]:
        """Return chunks (B, H, 7) in physical units; remembers nothing, so that any number of robots may share it.

        Args:
            observations: What the robots see.
            goals: What each is to reach.
            indices: How often each robot was planned for before in this episode, which says what noise it gets.

        Raises:
            ConfigError: A goal is of the wrong kind, or there is no such camera.
        """
        shape = self._chunk, ACTION_DIM
        noise_BHD = np.stack([generator(0, "flow", index).standard_normal(shape, np.float32) for index in indices])
        images_BHWC = self._seen(observations)
        chunks_BHD = np.array(self.predict(images_BHWC, self._goals(goals), noise_BHD), np.float32)
        chunks_BHD[..., -1] = chunks_BHD[..., -1] >= 0.5
        return chunks_BHD

    def _seen(self, observations: Sequence[Observation]) -> NDArray[np.uint8]:
        return np.stack([self._fitter(observation.picture(self.cameras[0])) for observation in observations])

    def _goals(self, goals: Sequence[Goal]) -> Told:
        if not all(takes(self.conditioning, goal) for goal in goals):
            got = sorted({_kind(goal) for goal in goals if not takes(self.conditioning, goal)})
            raise ConfigError(
                f"policy {self.id} follows {CONDITIONINGS[self.conditioning]}, and got {' and '.join(got)}. A "
                "language-conditioned policy acts without subgoals."
            )
        if self.conditioning == "language":
            return self.instructions([goal for goal in goals if isinstance(goal, str)])
        if self.conditioning == "goal":
            return np.stack([self._fitter(goal) for goal in goals if isinstance(goal, np.ndarray)])
        pairs = [_pair(goal) for goal in goals]
        blank_HWC = np.zeros((self.image_size, self.image_size, 3), np.uint8)
        nothing_E = np.zeros(self.instructions.config.features, np.float32)
        return Both(
            image=np.stack([blank_HWC if image is None else self._fitter(image) for image, _ in pairs]),
            embedding=np.stack([nothing_E if text is None else self.instructions([text])[0] for _, text in pairs]),
            given_B2=np.array([[image is not None, text is not None] for image, text in pairs], np.float32),
        )


def _pair(goal: Goal) -> tuple[Image | None, str | None]:
    """Return the image and the instruction of a goal, None for what there is not."""
    if isinstance(goal, ImageAndInstruction):
        return goal.image_HWC, goal.instruction
    return (None, goal) if isinstance(goal, str) else (goal, None)


def _kind(goal: object) -> str:
    if isinstance(goal, str):
        return "instructions"
    return "images" if isinstance(goal, np.ndarray) else "images with instructions"
