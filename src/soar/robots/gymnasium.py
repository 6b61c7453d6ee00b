"""Any Gymnasium environment as a robot.

    driver: soar.robots.gymnasium:open_gym      # in a robot's file (`soar.robots.registry`)
    simulated: true
    options:
      env: lerobot_env_so101:lerobot_env_so101/SO101PickCube-v0     # MODULE:ID, or the ID alone
      make: {control_dt: 0.2}                   # what gymnasium.make is told besides
      plain: true                               # MuJoCo draws without shadows and smoothed edges: where there is no GPU, ten
                                                # times faster
      success: {lift the purple block: succeed} # under which name its `info` tells that a task is done
      state: {...}                              # this and what else `soar.robots.gymnasium_maps` explains, unless the
      action: [...]                             # environment keeps the contract below by itself

The environment's contract:

    observation_space   Dict with "image": Box uint8 (H, W, 3) RGB, and "state": Box (7,), see `soar.types.Observation`; with
                        further cameras also "extra_images": Dict of such images by name
    action_space        Box (7,), see `soar.types.Action`
    reset               `options={"home": True}` asks for the gripper to go home and for everything else to stay where it is; an
                        environment that ignores the option starts anew, which makes every episode one with a reset
    step                executes one action of `STEP_S` seconds

Rewards and ends of episodes are ignored: SOAR decides when an episode ends, and a vision-language model what it was worth.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from soar.configuration import validate
from soar.errors import ConfigError
from soar.robots.base import Health
from soar.robots.gymnasium_maps import RENDER, EnvMap, MappedEnv
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
        further = self._last.get("extra_images", {})
        return Observation(
            image_HWC=np.array(self._last["image"], np.uint8),
            state=np.array(self._last["state"], np.float32),
            extra_images={name: np.array(image, np.uint8) for name, image in further.items()},
        )

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


class GymCell(GymRobot):
    """What `open_gym` makes: a `GymRobot` that can do what a simulator can besides (see `soar.robots.workcell`).

    Going home right after a start is nothing: the arm is there.

    Args:
        env: See `GymRobot`; closed with it.
        success: For each task whose success the environment tells, the name under which its `info` does.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, success: Mapping[str, str] | None = None) -> None:
        self._success = dict(success or {})
        super().__init__(env)
        self.truth: Callable[[str], bool | None] | None = self._truth if self._success else None
        self._begin()

    def act(self, action: Action) -> None:
        """Step the environment."""
        self._last, _, _, _, self._info = self._env.step(np.asarray(action, self._env.action_space.dtype))
        self._at_home = False

    def home(self) -> None:
        """Reset the environment with the option `home`, unless it has just begun."""
        if not self._at_home:
            super().home()
            self._begin()

    def recover(self) -> None:
        """Reset the environment entirely."""
        self._last, _ = self._env.reset()
        self._begin()

    def reset_for(self, instruction: str, seed: int) -> None:
        """Start anew, the same for the same seed; environments do not know our instructions."""
        self.set_table(seed)

    def set_table(self, seed: int) -> None:
        """Start anew."""
        self._last, _ = self._env.reset(seed=seed)
        self._begin()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _begin(self) -> None:
        self._at_home, self._info = True, dict[str, Any]()

    def _truth(self, instruction: str) -> bool | None:
        """Whether the environment says that the task is done; None when it has not said anything, or knows no such task."""
        said = self._info.get(self._success.get(instruction, ""))
        return None if said is None else bool(said)


def open_gym(
    env: str,
    *,
    make: Mapping[str, Any] | None = None,
    plain: bool = False,
    success: Mapping[str, str] | None = None,
    state: Mapping[str, str | float] | None = None,
    action: Sequence[str | float] | None = None,
    **maps: Any,
) -> GymCell:
    """Return an environment as a robot: a driver for robots' files, see the module's docstring.

    Args:
        env: `MODULE:ID` or `ID`, see `gymnasium.make`.
        make: What it is told besides.
        plain: Whether an environment with a MuJoCo `model` draws neither shadows nor smoothed edges.
        success: See `GymCell`.
        state: This and the following: see `soar.robots.gymnasium_maps`. None when the environment keeps the contract by itself.
        action: Needed with `state`.
        maps: `image`, `images`, `opening`, `gripper`, `units`, `steps`, `settle`.

    Raises:
        ConfigError: There is no such environment, or it has no such pictures or numbers.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("LP_NUM_THREADS", "0")  # one thread draws such small pictures faster than many
    told = dict(make or {})
    if (state is not None or action is not None) and maps.get("image", RENDER) == RENDER:
        told.setdefault("render_mode", "rgb_array")
    try:
        made: gymnasium.Env[Any, Any] = gymnasium.make(env, disable_env_checker=True, **told)
    except Exception as error:
        raise ConfigError(f"environment {env!r} cannot be made with {told}: {type(error).__name__}: {error}") from error
    try:
        if plain:
            quality: Any = getattr(getattr(getattr(made.unwrapped, "model", None), "vis", None), "quality", None)
            if quality is None:
                raise ConfigError(f"plain: true is for MuJoCo, and environment {env!r} has no MuJoCo `model`")
            quality.shadowsize = quality.offsamples = 0  # before it draws for the first time
        if state is not None or action is not None:
            if state is None or action is None:
                raise ConfigError("an environment is described by `state` and `action` together (soar.robots.gymnasium_maps)")
            made = MappedEnv(made, validate(EnvMap, {"state": state, "action": action} | maps, f"environment {env!r}"))
        elif maps:
            raise ConfigError(f"{', '.join(maps)} needs `state` and `action` beside it (soar.robots.gymnasium_maps)")
        return GymCell(made, success=success)
    except BaseException:
        made.close()
        raise


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
