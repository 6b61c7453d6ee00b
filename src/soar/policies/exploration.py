"""What is done to a policy's actions while data is collected: exploration, and the "faster" control variant.

Imitating the successes of a deterministic policy teaches it nothing that it does not do already; selection needs variation.
The wrappers here are policies themselves and compose.

Time axis. `reset` begins the next episode; the draws of a step are a function of (seed, episode, step, robot), so that neither
the batch size nor what happened before changes them.

Shape suffixes: B batch (robots), D action dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.policies.base import Conditioning, Instructed, Policy, cameras_of
from soar.seeding import generator
from soar.types import ACTION_DIM, Goal, Observation

_NOISY = (0, 1, 2, 5)
"""x, y, z and yaw; roll and pitch stay at the policy's mode, so that the gripper keeps pointing down."""
_GRIPPER = 6
_ROLL_PITCH = slice(3, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationConfig:
    """How far actions stray from the policy's mode; defaults: released code, with a smaller sigma.

    Attributes:
        deterministic_probability: Share of the episodes without noise and without flips.
        sigma: Standard deviation of the noise on x, y, z and yaw, in units of the action's standard deviation.
        flip_closed_probability: A step at which a closed gripper opens by chance.
        flip_open_probability: A step at which an open gripper closes by chance.
        sticky_gripper_steps: How many steps in a row the policy must ask for a change of the gripper before it happens.
        reopen_below: Opening (0..1) below which a closed gripper holds nothing, and opens; 0 never.
        level_rotation_rad: Roll and pitch that the gripper is brought back to at every step, or None to let the policy turn it.
    """

    deterministic_probability: float = 0.2
    sigma: float = 0.3
    flip_closed_probability: float = 0.005
    flip_open_probability: float = 0.01
    sticky_gripper_steps: int = 1
    reopen_below: float = 0.0
    level_rotation_rad: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("deterministic_probability", "flip_closed_probability", "flip_open_probability", "reopen_below"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"exploration.{name} must lie between 0 and 1, got {getattr(self, name)}")
        if not 0 <= self.sigma < np.inf:
            raise ConfigError(f"exploration.sigma must not be negative, got {self.sigma}")
        if self.sticky_gripper_steps < 1:
            raise ConfigError(f"exploration.sticky_gripper_steps must be at least 1, got {self.sticky_gripper_steps}")


class _Wrapper:
    """What a policy around another one has in common with it."""

    policy: Policy

    @property
    def conditioning(self) -> Conditioning:
        """The policy's."""
        return self.policy.conditioning

    @property
    def action_std(self) -> NDArray[np.float32]:
        """The policy's."""
        return self.policy.action_std

    @property
    def image_size(self) -> int | None:
        """The policy's."""
        return self.policy.image_size

    @property
    def cameras(self) -> Sequence[str]:
        """The policy's."""
        return cameras_of(self.policy)

    def instruct(self, instruction: str) -> None:
        """Pass on what the coming episode is about, to a policy that wants to know."""
        if isinstance(self.policy, Instructed):
            self.policy.instruct(instruction)


class Explorer(_Wrapper):
    """A policy that sometimes does something else. Every episode begins with an open gripper.

    Args:
        policy: Whose actions are changed.
        config: How much.
        action_std: (7,) standard deviation of the training data's actions, for example `policy.action_std`.
        seed: Of all draws. A collector that makes one explorer an episode gives each its own.
    """

    def __init__(self, policy: Policy, config: ExplorationConfig, *, action_std: NDArray[np.floating], seed: int) -> None:
        if action_std.shape != (ACTION_DIM,):
            raise ValueError(f"action_std must have shape ({ACTION_DIM},), got {action_std.shape}")
        self.policy = policy
        self.config = config
        self._noise_std = config.sigma * action_std[list(_NOISY)]
        self._seed = seed
        self._episode = 0
        self._begin_episode()

    @property
    def id(self) -> str:
        """The policy's id, and how much it explores."""
        return f"{self.policy.id}+explore{self.config.sigma:g}"

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return the policy's actions (B, 7) with noise, flips and a sticky gripper. B is the same all episode long."""
        action_BD = np.array(self.policy.act(observations, goals), np.float32)
        while len(self._robots) < len(action_BD):
            stream = f"exploration/{self._episode}/{len(self._robots)}"
            explores = generator(self._seed, f"{stream}/mode").random() >= self.config.deterministic_probability
            self._robots.append(_Robot(stream=stream, explores=bool(explores)))
        for robot, action_D, observation in zip(self._robots, action_BD, observations, strict=False):
            held = not action_D[:_GRIPPER].any()  # a policy without its server holds the robot still, and so it stays
            rng = generator(self._seed, robot.stream, self._step) if robot.explores and not held else None
            if rng is not None:
                action_D[list(_NOISY)] += rng.normal(0, self._noise_std)
            action_D[_GRIPPER] = robot.gripper(bool(action_D[_GRIPPER] < 0.5), rng, self.config)
            if observation.state[_GRIPPER] < self.config.reopen_below:
                action_D[_GRIPPER] = 1.0
            if self.config.level_rotation_rad is not None and not held:
                action_D[_ROLL_PITCH] = self.config.level_rotation_rad - observation.state[_ROLL_PITCH]
        self._step += 1
        return action_BD

    def reset(self) -> None:
        """Begin the next episode."""
        self.policy.reset()
        self._episode += 1
        self._begin_episode()

    def _begin_episode(self) -> None:
        self._step = 0
        self._robots: list[_Robot] = []


@dataclass(slots=True, kw_only=True)
class _Robot:
    """What an explorer remembers of one robot within an episode."""

    stream: str
    explores: bool
    closed: bool = False
    asked_steps: int = 0

    def gripper(self, wants_closed: bool, rng: np.random.Generator | None, config: ExplorationConfig) -> float:
        """Return the gripper's target, 0 closed or 1 open."""
        self.asked_steps = self.asked_steps + 1 if wants_closed != self.closed else 0
        if self.asked_steps >= config.sticky_gripper_steps:
            self.closed, self.asked_steps = wants_closed, 0
        probability = config.flip_closed_probability if self.closed else config.flip_open_probability
        if rng is not None and rng.random() < probability:
            self.closed, self.asked_steps = not self.closed, 0
        return float(not self.closed)


class ScaledPolicy(_Wrapper):
    """The same policy at another speed: the six motion dimensions times `scale`, the gripper as it is."""

    def __init__(self, policy: Policy, scale: float) -> None:
        if not 0 < scale < np.inf:
            raise ConfigError(f"the scale of actions must be positive, got {scale}")
        self.policy = policy
        self.scale = scale

    @property
    def id(self) -> str:
        """The policy's id, and the scale."""
        return f"{self.policy.id}*{self.scale:g}"

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return the policy's actions (B, 7), faster or slower."""
        action_BD = np.array(self.policy.act(observations, goals), np.float32)
        action_BD[:, :_GRIPPER] *= self.scale
        return action_BD

    def reset(self) -> None:
        """Forget the last episode."""
        self.policy.reset()
