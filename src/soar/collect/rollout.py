"""The inner loop that collection and evaluation share (§3, §B.4): imagine a subgoal, act towards it, imagine the next one.

subgoal:   0 ─────────────► 1 ─────────────► …          generated from the frame that the robot sees at that moment
action:    0 1 2 … 19       20 21 … 39       …  99
frame:     0 1 2 … 19       20 21 … 39       …  99 100   the last frame is the one that is judged

A language-conditioned policy needs no subgoals: without a subgoal model the instruction itself is the goal, all the time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.collect.listeners import Listeners
from soar.errors import ConfigError
from soar.policies.base import Policy
from soar.robots.safety import SafeRobot
from soar.seeding import derive_seed
from soar.subgoals.base import SubgoalModel
from soar.types import SUBGOAL_STEPS, SUBGOALS_PER_EPISODE, Action, Goal, Observation, Subgoal


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    """How long an episode is.

    Attributes:
        subgoals: Subgoals an episode.
        steps_per_subgoal: Actions towards each.
    """

    subgoals: int = SUBGOALS_PER_EPISODE
    steps_per_subgoal: int = SUBGOAL_STEPS

    def __post_init__(self) -> None:
        if self.subgoals < 1 or self.steps_per_subgoal < 1:
            raise ConfigError(f"rollout: subgoals and steps_per_subgoal must be at least 1, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What was seen and done, shapes as in `soar.types.Episode`.

    Attributes:
        images_THWC: (T + 1, H, W, 3) uint8 RGB.
        states_TD: (T + 1, 7) float32.
        actions_TD: (T, 7) float32, as the driver executed them: after the safety limits.
        subgoals: In the order in which they were commanded.
    """

    images_THWC: NDArray[np.uint8]
    states_TD: NDArray[np.float32]
    actions_TD: NDArray[np.float32]
    subgoals: tuple[Subgoal, ...]


def rollout(
    robot: SafeRobot,
    instruction: str,
    subgoal_model: SubgoalModel | None,
    policy: Policy,
    *,
    seed: int,
    config: RolloutConfig,
    listeners: Listeners | None = None,
) -> Rollout:
    """Pursue an instruction from wherever the robot is now.

    Args:
        robot: Already at home.
        instruction: The language command.
        subgoal_model: Imagines the subgoals; None for a policy that follows the instruction itself.
        policy: Reaches them; it is reset first.
        seed: Of the subgoals, each of which gets its own.
        config: How long.
        listeners: Told of each subgoal and step.

    Raises:
        RobotFault: The robot failed; what was seen so far is lost, as it must be (§G).
        SafetyError: The policy's action was refused.
        ConfigError: The policy wants an image and there is no subgoal model, or the other way round.
    """
    tell = (listeners or Listeners()).tell
    policy.reset()
    if subgoal_model is not None:
        subgoal_model.reset()
    observations: list[Observation] = [robot.observe()]
    actions: list[Action] = []
    subgoals: list[Subgoal] = []
    for number in range(config.subgoals):
        image = observations[-1].image_HWC
        goal: Goal = instruction
        if subgoal_model is not None:
            imagined = subgoal_model.generate([image], [instruction], [derive_seed(seed, "subgoal", number)])[0]
            subgoals.append(Subgoal(step=len(actions), image_HWC=imagined))
            goal = imagined
            tell("subgoal", step=len(actions), image_HWC=image, subgoal_HWC=imagined)
        for _ in range(config.steps_per_subgoal):
            robot.act(policy.act([observations[-1]], [goal])[0])
            actions.append(robot.last_action)
            observations.append(robot.observe())
            tell("step", step=len(actions), observation=observations[-1], action=actions[-1])
    return Rollout(
        images_THWC=np.stack([observation.image_HWC for observation in observations]),
        states_TD=np.stack([observation.state for observation in observations]),
        actions_TD=np.stack(actions),
        subgoals=tuple(subgoals),
    )
