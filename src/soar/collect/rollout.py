"""The inner loop that collection and evaluation share (§3, §B.4): imagine a subgoal, act towards it, imagine the next one.

subgoal:   0 ─────────────► 1 ─────────────► …          generated from the frame that the robot sees at that moment
action:    0 1 2 … 19       20 21 … 39       …  99
frame:     0 1 2 … 19       20 21 … 39       …  99 100   the last frame is the one that is judged

A language-conditioned policy needs no subgoals: without a subgoal model the instruction itself is the goal, all the time.

Two things can happen in between, if the configuration says so: a robot that stands still backs off, and the next subgoal is
imagined (`soar.collect.reflex`); an attempt that a judge has seen succeed is ended (`soar.collect.early_success`). Their
actions are part of the episode, and marked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soar.collect.early_success import EarlySuccessConfig
from soar.collect.listeners import Listeners
from soar.collect.reflex import ReflexConfig, WayBack, stands_still
from soar.errors import ConfigError
from soar.policies.base import Instructed, Policy
from soar.robots.safety import SafeRobot
from soar.seeding import derive_seed
from soar.subgoals.base import SubgoalModel
from soar.types import SUBGOAL_STEPS, SUBGOALS_PER_EPISODE, Action, Goal, Observation, Subgoal


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutConfig:
    """How long an episode is, and what may happen in it.

    Attributes:
        subgoals: Subgoals an episode; it has more, in as many steps, when a reflex cuts one short.
        steps_per_subgoal: Actions towards each.
        reflex: What a robot does that stands still.
        early_success: When an attempt is ended because it has succeeded.
    """

    subgoals: int = SUBGOALS_PER_EPISODE
    steps_per_subgoal: int = SUBGOAL_STEPS
    reflex: ReflexConfig = field(default_factory=ReflexConfig)
    early_success: EarlySuccessConfig = field(default_factory=EarlySuccessConfig)

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
        reflexes: Steps at which the robot began to back off.
        reflex_steps: Steps whose action was not the policy's but a reflex's, that of letting go at an early end included.
        ended_early: Whether `succeeded` ended the episode.
    """

    images_THWC: NDArray[np.uint8]
    states_TD: NDArray[np.float32]
    actions_TD: NDArray[np.float32]
    subgoals: tuple[Subgoal, ...]
    reflexes: tuple[int, ...] = ()
    reflex_steps: tuple[int, ...] = ()
    ended_early: bool = False

    def last(self, count: int) -> list[Observation]:
        """Return the last so many observations, oldest first."""
        pairs = zip(self.images_THWC[-count:], self.states_TD[-count:], strict=True)
        return [Observation(image_HWC=image, state=state) for image, state in pairs]


def rollout(
    robot: SafeRobot,
    instruction: str,
    subgoal_model: SubgoalModel | None,
    policy: Policy,
    *,
    seed: int,
    config: RolloutConfig,
    succeeded: Callable[[int, Sequence[Observation]], bool] | None = None,
    listeners: Listeners | None = None,
) -> Rollout:
    """Pursue an instruction from wherever the robot is now.

    Args:
        robot: Already at home.
        instruction: The language command.
        subgoal_model: Imagines the subgoals; None for a policy that follows the instruction itself.
        policy: Reaches them; it is reset first, and after each reflex.
        seed: Of the subgoals, each of which gets its own.
        config: How long, and whether a robot that stands still backs off.
        succeeded: Told of each step and what was seen until then; True lets go, goes up and ends the episode.
        listeners: Told of each subgoal, step and reflex.

    Raises:
        RobotFault: The robot failed; what was seen so far is lost, as it must be (§G).
        SafetyError: The policy's action was refused.
        ConfigError: The policy wants an image and there is no subgoal model, or the other way round.
    """
    tell = (listeners or Listeners()).tell
    _begin(policy, instruction)
    if subgoal_model is not None:
        subgoal_model.reset()
    observations: list[Observation] = [robot.observe()]
    actions: list[Action] = []
    subgoals: list[Subgoal] = []
    reflexes: list[int] = []
    reflex_steps: list[int] = []
    home, total = observations[0].state[:3], config.subgoals * config.steps_per_subgoal
    goal: Goal = instruction
    next_subgoal = moving_since = 0
    way_back: WayBack | None = None

    def act(action: Action) -> None:
        robot.act(action)
        actions.append(robot.last_action)
        observations.append(robot.observe())
        tell("step", step=len(actions), observation=observations[-1], action=actions[-1])

    def done() -> bool:
        return succeeded is not None and succeeded(len(actions), observations)

    ended = done()
    while len(actions) < total and not ended:
        if way_back is not None:
            back = way_back.act(observations[-1])
            if back is not None:
                reflex_steps.append(len(actions))
                act(back)
                ended = done()
                continue
            way_back, next_subgoal, moving_since = None, len(actions), len(actions)
            _begin(policy, instruction)
        if len(actions) == next_subgoal:
            next_subgoal += config.steps_per_subgoal
            if subgoal_model is not None:
                image, number = observations[-1].image_HWC, len(subgoals)
                imagined = subgoal_model.generate([image], [instruction], [derive_seed(seed, "subgoal", number)])[0]
                subgoals.append(Subgoal(step=len(actions), image_HWC=imagined))
                goal = imagined
                tell("subgoal", step=len(actions), image_HWC=image, subgoal_HWC=imagined)
        act(policy.act([observations[-1]], [goal])[0])
        ended = done()
        if len(reflexes) < config.reflex.times and stands_still(observations[moving_since:], config.reflex):
            reflexes.append(len(actions))
            way_back = WayBack(home, config.reflex)
            tell("reflex", step=len(actions))
    if ended:
        # Let go and make room: what was achieved must stay when the arm goes home.
        way_up = WayBack(np.append(observations[-1].state[:2], home[2]), config.reflex)
        while len(actions) < total and (up := way_up.act(observations[-1])) is not None:
            reflex_steps.append(len(actions))
            act(up)
    return Rollout(
        images_THWC=np.stack([observation.image_HWC for observation in observations]),
        states_TD=np.stack([observation.state for observation in observations]),
        actions_TD=np.stack(actions),
        subgoals=tuple(subgoals),
        reflexes=tuple(reflexes),
        reflex_steps=tuple(reflex_steps),
        ended_early=ended,
    )


def _begin(policy: Policy, instruction: str) -> None:
    policy.reset()
    if isinstance(policy, Instructed):
        policy.instruct(instruction)
