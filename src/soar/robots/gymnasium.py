"""Any Gymnasium environment as a robot.

The environment's contract:

    observation_space   Dict with "image": Box uint8 (H, W, 3) RGB, and "state": Box (7,), see `soar.types.Observation`
    action_space        Box (7,), see `soar.types.Action`
    reset               `options={"home": True}` asks for the gripper to go home and for everything else to stay where it is; an
                        environment that ignores the option starts anew, which makes every episode one with a reset
    step                executes one action of `STEP_S` seconds

Rewards and ends of episodes are ignored: SOAR decides when an episode ends, and a vision-language model what it was worth.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from soar.errors import ConfigError
from soar.robots.base import Health
from soar.types import ACTION_DIM, STATE_DIM, Action, Observation


class GymRobot:
    """A `Robot` around a Gymnasium environment that follows the contract above.

    Args:
        env: The environment; the caller closes it.
        seed: Of the first reset.

    Raises:
        ConfigError: The spaces are not those of the contract.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int = 0) -> None:
        _check_spaces(env)
        self._env = env
        self._last, _ = env.reset(seed=seed)

    def observe(self) -> Observation:
        """Return what the environment last returned."""
        return Observation(image_HWC=np.array(self._last["image"], np.uint8), state=np.array(self._last["state"], np.float32))

    def act(self, action: Action) -> None:
        """Step the environment."""
        self._last = self._env.step(np.asarray(action, self._env.action_space.dtype))[0]

    def home(self) -> None:
        """Reset the environment with the option `home`."""
        self._last, _ = self._env.reset(options={"home": True})

    def health(self) -> Health:
        """Environments do not fail, they raise."""
        return Health(ok=True)

    def recover(self) -> None:
        """Reset the environment entirely, then go home."""
        self._env.reset()
        self.home()


def _check_spaces(env: gymnasium.Env[Any, Any]) -> None:
    observation, action = env.observation_space, env.action_space
    image = observation["image"] if isinstance(observation, gymnasium.spaces.Dict) and "image" in observation.spaces else None
    state = observation["state"] if isinstance(observation, gymnasium.spaces.Dict) and "state" in observation.spaces else None
    if image is None or image.shape is None or len(image.shape) != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ConfigError(f'{env}: observation_space["image"] must be a uint8 Box (H, W, 3), got {image}')
    if state is None or state.shape != (STATE_DIM,):
        raise ConfigError(f'{env}: observation_space["state"] must be a Box ({STATE_DIM},), got {state}')
    if not isinstance(action, gymnasium.spaces.Box) or action.shape != (ACTION_DIM,):
        raise ConfigError(f"{env}: action_space must be a Box ({ACTION_DIM},), got {action}")
