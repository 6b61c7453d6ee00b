"""A critic chooses among the actions of another policy (V-GPS, arXiv 2410.13816): reach goals or follow instructions as before,
but of several actions do the one that the critic thinks most of.

    base policy ─► its action, and candidates - 1 draws around it ─► the critic's range ─► Q of each ─► the greatest

A YAML file makes it a policy like any other, wherever a command asks for one:

    backend: soar.baselines.reranking:reranked
    base: policies/mine            # what acts
    critic: policies/robofume      # what chooses: a folder that `soar train robofume` wrote
    choice: critic                 # or `random`, or `first` (the base itself, within the critic's range): what to compare with

The critic is told the instruction, also where the base reaches images of goals: whoever runs an episode says it
(`soar.policies.base.Instructed`). Draws are functions of how often a robot was looked at, like those of a flow.

Shape suffixes: B batch (robots), K candidates, H actions of a chunk, D action dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from soar.baselines.actor_critic import ActorCritic
from soar.baselines.robofume import load_actor_critic
from soar.baselines.transitions import statistics_of
from soar.configuration import validate
from soar.errors import ConfigError
from soar.nn.model_files import digest_of
from soar.policies.chunked import PlanningPolicy, Told
from soar.policies.instructions import InstructionEncoder
from soar.policies.learned import LearnedPolicy
from soar.policies.network import images_to_tensor
from soar.seeding import generator
from soar.types import ACTION_DIM, Goal, ImageAndInstruction, Observation

Choice = Literal["critic", "random", "first"]
_GRIPPER = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankingConfig:
    """How candidates are drawn, and who chooses.

    Attributes:
        candidates: How many, the base's own action included.
        sigma: Deviation of the draws around a Gaussian base's action, in units of its network's deviations (the action's
            standard deviation, and `gripper_std` for the gripper). A flow draws from itself.
        choice: The critic, chance, or nobody: the base's own action.
    """

    candidates: int = 10
    sigma: float = 0.3
    choice: Choice = "critic"

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ConfigError(f"reranking: candidates must be at least 1, got {self.candidates}")
        if not 0 <= self.sigma < np.inf:
            raise ConfigError(f"reranking: sigma must not be negative, got {self.sigma}")
        if self.choice not in ("critic", "random", "first"):
            raise ConfigError(f"reranking: unknown choice {self.choice!r}. Valid choices: critic, random, first.")


class RerankedPolicy(PlanningPolicy):
    """A policy whose actions a critic chooses.

    Args:
        base: What acts.
        critic: What chooses.
        config: How.
        name: What tells this critic from others.
        instructions: Embeds instructions for the critic.

    Raises:
        ConfigError: The base does not move within the critic's range.
    """

    def __init__(
        self, base: LearnedPolicy, critic: ActorCritic, config: RerankingConfig, name: str, instructions: InstructionEncoder
    ) -> None:
        network = base.network.config
        super().__init__(
            id=f"{base.id}+{config.choice}{config.candidates}x{config.sigma:g}-{name}",
            conditioning=base.conditioning,
            fitter=network.fitter,
            chunk=network.head.chunk,
            execute=base.execute,
            action_std=base.action_std,
            instructions=base.instructions,
            camera=network.camera,
        )
        self._base, self._critic, self._config, self._told = base, critic, config, instructions
        self._low_D, self._high_D = (np.array(side, np.float32) for side in (critic.config.low, critic.config.high))
        middle_D, std_D = base.statistics.mean[:_GRIPPER], base.statistics.std[:_GRIPPER]
        outside = (middle_D < self._low_D[:_GRIPPER]) | (middle_D > self._high_D[:_GRIPPER])
        narrow = self._high_D[:_GRIPPER] - self._low_D[:_GRIPPER] < std_D
        if (outside | narrow).any():
            worst = int(np.argmax(outside | narrow))
            raise ConfigError(
                f"the critic knows actions from {self._low_D[worst]:.4g} to {self._high_D[worst]:.4g} in dimension {worst}, "
                f"and policy {base.id} does {middle_D[worst]:.4g} with a deviation of {std_D[worst]:.4g}: most of what it "
                "does is outside. Use a critic that was trained on data like the policy's."
            )
        self.cameras = tuple(dict.fromkeys((network.camera, critic.config.network.camera)))
        self._instruction: str | None = None

    def instruct(self, instruction: str) -> None:
        """Be told what the coming episode is about."""
        self._instruction = instruction

    def predict(
        self,
        observation_BHWC: NDArray[np.uint8],
        goal: Told,
        noise_BHD: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Return the base's own chunks."""
        return self._base.predict(observation_BHWC, goal, noise_BHD)

    def plan(self, observations: Sequence[Observation], goals: Sequence[Goal], looks: Sequence[int]) -> NDArray[np.float32]:
        """Return the chunks (B, H, 7) that were chosen, see `PlanningPolicy.plan`.

        Raises:
            ConfigError: A goal is of the wrong kind, or nobody said what the episode is about.
        """
        texts = [self._text(goal) for goal in goals]
        candidates_BKHD = self._candidates(observations, goals, looks)
        if self._config.choice == "first" or self._config.candidates == 1:
            chosen_B = np.zeros(len(looks), np.int64)
        elif self._config.choice == "random":
            chosen_B = np.array([generator(0, "reranking", look).integers(self._config.candidates) for look in looks])
        else:
            chosen_B = self.values(observations, texts, candidates_BKHD[:, :, 0]).argmax(-1)
        return np.asarray(candidates_BKHD[np.arange(len(looks)), chosen_B])

    def values(
        self, observations: Sequence[Observation], texts: Sequence[str], action_BKD: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return what the critic thinks (B, K) of actions in physical units, which must lie in its range."""
        network = self._critic.config.network
        images_BHWC = np.stack([network.fitter(observation.picture(network.camera)) for observation in observations])
        statistics = statistics_of(self._critic.config)
        normalized = torch.from_numpy(((action_BKD - statistics.mean) / statistics.std).astype(np.float32))
        with torch.inference_mode():
            value_BK = self._critic.value(images_to_tensor(images_BHWC), torch.from_numpy(self._told(texts)), normalized)
        return np.asarray(value_BK.numpy())

    def _candidates(
        self, observations: Sequence[Observation], goals: Sequence[Goal], looks: Sequence[int]
    ) -> NDArray[np.float32]:
        """Return candidates (B, K, H, 7), the base's own chunk first, within the critic's range."""
        count, head = self._config.candidates, self._base.network.config.head
        shape = (count, head.chunk, ACTION_DIM)
        noise_BKHD = np.stack([generator(0, "candidates", look).standard_normal(shape, np.float32) for look in looks])
        # The first is what the base would have done.
        noise_BKHD[:, 0] = [generator(0, "flow", look).standard_normal(shape[1:], np.float32) for look in looks]
        images_BHWC = self._seen(observations)
        goal = self._goals(goals)
        if head.name == "flow":
            every = np.repeat(np.arange(len(looks)), count)
            drawn = self.predict(images_BHWC[every], goal[every], noise_BKHD.reshape(-1, *shape[1:]))
            found_BKHD = np.asarray(drawn).reshape(noise_BKHD.shape)
        else:
            own_BHD = self.predict(images_BHWC, goal, np.zeros_like(noise_BKHD[:, 0]))
            network = self._base.network.config
            deviation_D = np.array([network.motion_std] * _GRIPPER + [network.gripper_std]) * self._base.statistics.std
            noise_BKHD[:, 0] = 0
            found_BKHD = own_BHD[:, None] + self._config.sigma * deviation_D.astype(np.float32) * noise_BKHD
        found_BKHD = found_BKHD.clip(self._low_D, self._high_D)
        found_BKHD[..., _GRIPPER] = found_BKHD[..., _GRIPPER] >= 0.5
        return np.asarray(found_BKHD, np.float32)

    def _text(self, goal: Goal) -> str:
        if isinstance(goal, str | ImageAndInstruction):
            return goal if isinstance(goal, str) else goal.instruction
        if self._instruction is None:
            raise ConfigError(
                f"policy {self.id} reaches images of goals, and its critic is asked about an instruction that nobody told it: "
                "whoever runs an episode calls `instruct(instruction)` first, as `soar.collect.rollout` does"
            )
        return self._instruction


def reranked(base: str, critic: str, candidates: int = 10, sigma: float = 0.3, choice: Choice = "critic") -> RerankedPolicy:
    """Return a policy whose actions a critic chooses.

    Args:
        base: Folder of a policy.
        critic: Folder that `soar train robofume` wrote.
        candidates: See `RerankingConfig`.
        sigma: See there.
        choice: See there.

    Raises:
        CheckpointError: One of them is missing, or something else.
        ConfigError: They do not fit together.
    """
    config = validate(RerankingConfig, {"candidates": candidates, "sigma": sigma, "choice": choice}, "reranking")
    judge = LearnedPolicy.load(critic)
    return RerankedPolicy(
        LearnedPolicy.load(base),
        load_actor_critic(Path(critic)),
        config,
        digest_of(Path(critic) / "critic"),
        judge.instructions,
    )
