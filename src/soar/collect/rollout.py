"""The inner loop that collection and evaluation share (§3, §B.4): imagine a subgoal, act towards it, imagine the next one.

subgoal:   0 ─────────────► 1 ─────────────► …          generated from the frame that the robot sees at that moment
action:    0 1 2 … 19       20 21 … 39       …  99
frame:     0 1 2 … 19       20 21 … 39       …  99 100   the last frame is the one that is judged

A language-conditioned policy needs no subgoals: without a subgoal model the instruction itself is the goal, all the time. One
that takes both gets each subgoal with the instruction, or without a subgoal model that alone.

Two things can happen in between, if the configuration says so: a robot that stands still backs off, and the next subgoal is
imagined (`soar.collect.reflex`); an attempt that a judge has seen succeed is ended (`soar.collect.early_success`). Their
actions are part of the episode, and marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soar.collect.early_success import EarlySuccessConfig
from soar.collect.listeners import Listeners
from soar.collect.reflex import ReflexConfig, WayBack, stands_still
from soar.errors import ConfigError
from soar.policies.base import Policy, begin, cameras_of, check_cameras, told
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
        early = self.early_success
        if early.at_subgoals and self.steps - self.steps_per_subgoal < early.first:
            raise ConfigError(
                f"rollout: of {self.subgoals} x {self.steps_per_subgoal} steps no subgoal is over from step {early.first} on "
                "and before the end, so that no look could end an attempt: more subgoals (rollout.subgoals), an earlier first "
                "look (early_success.first), or early_success.every: 0"
            )

    @property
    def steps(self) -> int:
        """Actions of an episode that nothing ends early."""
        return self.subgoals * self.steps_per_subgoal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What was seen and done, shapes as in `soar.types.Episode`.

    Attributes:
        images_THWC: (T + 1, H, W, 3) uint8 RGB.
        extra_images: The same of further cameras, by name.
        states_TD: (T + 1, 7) float32.
        actions_TD: (T, 7) float32, as the driver executed them: after the safety limits.
        subgoals: In the order in which they were commanded.
        reflexes: Steps at which the robot began to back off.
        reflex_steps: Steps whose action was not the policy's but a reflex's, that of letting go at an early end included.
        ended_early: Whether `succeeded` ended the episode.
        limited_steps: Steps whose action the safety shell changed, those of reflexes included.
    """

    images_THWC: NDArray[np.uint8]
    states_TD: NDArray[np.float32]
    actions_TD: NDArray[np.float32]
    subgoals: tuple[Subgoal, ...]
    reflexes: tuple[int, ...] = ()
    reflex_steps: tuple[int, ...] = ()
    ended_early: bool = False
    limited_steps: tuple[int, ...] = ()
    extra_images: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def film(self) -> list[Observation]:
        """All observations, oldest first."""
        return [Observation(image_HWC=i, state=s) for i, s in zip(self.images_THWC, self.states_TD, strict=True)]


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
        subgoal_model: Imagines the subgoals; not asked by a policy that follows this instruction itself.
        policy: Reaches them; it is reset first, and after each reflex.
        seed: Of the subgoals, each of which gets its own.
        config: How long, and whether a robot that stands still backs off.
        succeeded: Told of each step and what was seen until then, or of those at which a subgoal is over, as the configuration
            says; True lets go, goes up and ends the episode.
        listeners: Told of each subgoal, step and reflex.

    Raises:
        RobotFault: The robot failed; what was seen so far is lost, as it must be (§G).
        SafetyError: The policy's action was refused.
        ConfigError: The policy wants an image and there is no subgoal model, or it looks at a camera that the robot does not
            have; nothing moved.
    """
    tell = (listeners or Listeners()).tell
    begin(policy, instruction)
    if policy.conditioning == "language":
        subgoal_model = None  # a policy that is chosen by the task may follow this instruction, and reach images for others
    if subgoal_model is not None:
        subgoal_model.reset()
    observations: list[Observation] = [robot.observe()]
    check_cameras(policy, robot.cameras, "this robot", subgoal_model)
    camera = cameras_of(policy)[0]
    actions: list[Action] = []
    subgoals: list[Subgoal] = []
    reflexes: list[int] = []
    reflex_steps: list[int] = []
    limited_steps: list[int] = []
    home, total = observations[0].state[:3], config.steps
    goal: Goal = instruction
    next_subgoal = moving_since = 0
    way_back: WayBack | None = None

    def act(action: Action) -> None:
        robot.act(action)
        if robot.last_limited:
            limited_steps.append(len(actions))
        actions.append(robot.last_action)
        observations.append(robot.observe())
        tell("step", step=len(actions), observation=observations[-1], action=actions[-1])

    def done(subgoal_over: bool = False) -> bool:
        if succeeded is None or subgoal_over != config.early_success.at_subgoals:
            return False
        return succeeded(len(actions), observations)

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
            begin(policy, instruction)
        if len(actions) == next_subgoal:
            if done(subgoal_over=True):
                ended = True
                break
            next_subgoal += config.steps_per_subgoal
            if subgoal_model is not None:
                image, number = observations[-1].picture(camera), len(subgoals)
                imagined = subgoal_model.generate([image], [instruction], [derive_seed(seed, "subgoal", number)])[0]
                subgoals.append(Subgoal(step=len(actions), image_HWC=imagined))
                goal = told(policy, imagined, instruction)
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
        limited_steps=tuple(limited_steps),
        extra_images=stacked_cameras(observations),
    )


def stacked_cameras(observations: Sequence[Observation]) -> dict[str, NDArray[np.uint8]]:
    """Return the pictures (T, H, W, 3) of further cameras by name; a `SafeRobot` gives the same ones all the time."""
    return {camera: np.stack([one.extra_images[camera] for one in observations]) for camera in observations[0].extra_images}
