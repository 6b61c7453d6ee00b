"""How a policy that predicts chunks of actions acts, whatever computes its network: no torch here.

When it looks and when it executes what it planned is in `soar.policies.action_chunking`. A flow's noise is a function of
how often the robot was planned for since `reset`, so that a policy is deterministic and equal robots act alike.

Shape suffixes: B batch (robots), H height or actions of a chunk, W width, C channels, D action dimensions, E embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.images import ImageFitter
from soar.policies.action_chunking import ActionChunker
from soar.policies.instructions import InstructionEncoder
from soar.seeding import generator
from soar.types import ACTION_DIM, Goal, Observation

Conditioning = Literal["goal", "language"]


class PlanningPolicy(ABC):
    """Turns observations and goals into actions, by chunks that a subclass predicts.

    Args:
        id: See `id`.
        conditioning: What its goals are: `goal` images, or instructions in `language`.
        fitter: Brings pictures to the size of those that it sees.
        chunk: Actions that are predicted at once.
        execute: How many of them are executed before it looks again.
        action_std: (7,) standard deviation of the actions that it learned from.
        instructions: Embeds instructions; needed by a language-conditioned policy.
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
    ) -> None:
        self.conditioning: Conditioning = conditioning
        self.action_std = action_std
        self.instructions = instructions
        self.execute = execute
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
            ConfigError: A goal is an instruction and the policy wants an image, or the other way round.
        """
        return self._planner.act(observations, goals)

    def reset(self) -> None:
        """Forget what was planned."""
        self._planner.reset()

    @abstractmethod
    def predict(
        self,
        observation_BHWC: NDArray[np.uint8],
        goal: NDArray[np.uint8] | NDArray[np.float32],
        noise_BHD: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return chunks of actions (B, H, 7) in physical units, with a gripper's target between 0 and 1, or near.

        Args:
            observation_BHWC: RGB images of the policy's size.
            goal: Such images, or the embeddings (B, E) of instructions.
            noise_BHD: Standard normal; what a flow begins with.
        """

    def plan(self, observations: Sequence[Observation], goals: Sequence[Goal], indices: Sequence[int]) -> NDArray[np.float32]:
        """Return chunks (B, H, 7) in physical units; remembers nothing, so that any number of robots may share it.

        Args:
            observations: What the robots see.
            goals: What each is to reach.
            indices: How often each robot was planned for before in this episode, which says what noise it gets.

        Raises:
            ConfigError: A goal is of the wrong kind.
        """
        shape = self._chunk, ACTION_DIM
        noise_BHD = np.stack([generator(0, "flow", index).standard_normal(shape, np.float32) for index in indices])
        images_BHWC = np.stack([self._fitter(observation.image_HWC) for observation in observations])
        chunks_BHD = np.array(self.predict(images_BHWC, self._goals(goals), noise_BHD), np.float32)
        chunks_BHD[..., -1] = chunks_BHD[..., -1] >= 0.5
        return chunks_BHD

    def _goals(self, goals: Sequence[Goal]) -> NDArray[np.uint8] | NDArray[np.float32]:
        texts = [goal for goal in goals if isinstance(goal, str)]
        pictures = [goal for goal in goals if not isinstance(goal, str)]
        wanted, given = (texts, pictures) if self.conditioning == "language" else (pictures, texts)
        if given or not wanted:
            raise ConfigError(
                f"policy {self.id} follows {'instructions' if self.conditioning == 'language' else 'goal images'}, and got "
                f"{'images' if pictures else 'instructions'}. A language-conditioned policy acts without subgoals."
            )
        if self.conditioning == "language":
            return self.instructions(texts)
        return np.stack([self._fitter(goal) for goal in pictures])
