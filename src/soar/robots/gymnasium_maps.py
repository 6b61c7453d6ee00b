"""A Gymnasium environment of somebody else's, brought to the contract of `soar.robots.gymnasium` by a few words in a file.

    image     `render`, or where a picture is in an observation: pixels.front
    images    further cameras by name: {wrist: pixels.wrist}
    state     where the numbers are: {x: agent_pos.11, y: agent_pos.12, z: agent_pos.13, opening: agent_pos.10}; besides these
              four roll, pitch, yaw or a quaternion qx, qy, qz, qw, else the orientation counts as 0. A number stands for itself
    opening   [CLOSED, OPEN], what the environment says of a gripper that is closed, and of one that is open
    action    what each number of an action is: [x, y, z, gripper]; a number is sent as it is
    units     {m: 0.05, rad: 0.5}, what one unit of an action is
    gripper   [CLOSED, OPEN], what the environment wants to hear
    steps     how many of its steps take the 0.2 s of one action; a motion is divided among them
    settle    actions that hold still after each start, with the gripper open, if the arm has to come to rest

A place is the names of an observation's parts with dots in between, and at last the index of a number in a vector. Poses are
taken to be in the robot's base frame. Motions that the environment has no number for are not made: an arm that cannot turn its
hand does not. What exceeds the bounds of its actions is clipped to them, and a warning says so once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from soar.cameras import check_camera_names
from soar.errors import ConfigError
from soar.types import ACTION_DIM, STATE_DIM, Image

log = logging.getLogger(__name__)
RENDER = "render"
_MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
_QUATERNION = ("qx", "qy", "qz", "qw")
_NEEDED = ("x", "y", "z", "opening")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvMap:
    """What the numbers and pictures of an environment are; see the module's docstring."""

    state: Mapping[str, str | float]
    action: Sequence[str | float]
    image: str = RENDER
    images: Mapping[str, str] = field(default_factory=dict)
    opening: tuple[float, float] = (0.0, 1.0)
    gripper: tuple[float, float] = (0.0, 1.0)
    units: Mapping[str, float] = field(default_factory=dict)
    steps: int = 1
    settle: int = 0

    def __post_init__(self) -> None:
        known = (*_NEEDED, *_MOTIONS[3:], *_QUATERNION)
        if unknown := sorted(set(self.state) - set(known)):
            raise ConfigError(f"state: there is no {unknown[0]!r} in a state; there are: {', '.join(known)}")
        if missing := [name for name in _NEEDED if name not in self.state]:
            raise ConfigError(f"state: {', '.join(missing)} is missing; a state needs {', '.join(_NEEDED)}")
        turned = [name for name in _QUATERNION if name in self.state]
        if turned and (len(turned) < 4 or set(self.state) & set(_MOTIONS[3:])):
            raise ConfigError("state: an orientation is roll, pitch and yaw, or all of qx, qy, qz, qw")
        wanted = (*_MOTIONS, "gripper")
        if wrong := [name for name in self.action if isinstance(name, str) and name not in wanted]:
            raise ConfigError(f"action: there is no {wrong[0]!r} in an action; there are: {', '.join(wanted)}, and numbers")
        if wrong := sorted(set(self.units) - {"m", "rad"}):
            raise ConfigError(f"units: there is no {wrong[0]!r}; there are: m, rad")
        if not all(value > 0 for value in self.units.values()) or self.steps < 1 or self.settle < 0:
            raise ConfigError(
                f"units must be positive, steps at least 1, and settle at least 0; got {self.units}, {self.steps} and "
                f"{self.settle}"
            )
        check_camera_names(self.images, "images")
        if self.opening[0] == self.opening[1] or self.gripper[0] == self.gripper[1]:
            raise ConfigError(
                f"opening and gripper are [CLOSED, OPEN], two different numbers; got {list(self.opening)} and "
                f"{list(self.gripper)}"
            )


class MappedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that keeps the contract of `soar.robots.gymnasium`, around one that does not.

    Args:
        env: The environment; with `image: render` it was made with `render_mode="rgb_array"`.
        maps: What its numbers and pictures are.

    Raises:
        ConfigError: It has no such numbers or pictures; the message says which it has.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], maps: EnvMap) -> None:
        super().__init__(env)
        self._maps, self._clipped = maps, False
        space = env.action_space
        if not isinstance(space, Box) or space.shape != (len(maps.action),):
            shape = getattr(space, "shape", None)
            raise ConfigError(f"action: it names {len(maps.action)} numbers, and an action of {env} is {shape or space}")
        self._inner = space
        first, _ = env.reset(seed=0)
        image, further = self._image(first, maps.image), self._further(first)
        self._state(first)
        spaces: dict[str, gymnasium.spaces.Space[Any]] = {
            "image": Box(0, 255, image.shape, np.uint8),
            "state": Box(-np.inf, np.inf, (STATE_DIM,), np.float32),
        }
        if further:
            spaces["extra_images"] = Dict({name: Box(0, 255, one.shape, np.uint8) for name, one in further.items()})
        self.observation_space = Dict(spaces)
        self.action_space = Box(-np.inf, np.inf, (ACTION_DIM,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start anew, and hold still; the option `home`, which others do not know, is left out."""
        rest = {name: value for name, value in (options or {}).items() if name != "home"}
        observation, info = self.env.reset(seed=seed, options=rest or None)
        still = self._command(np.eye(ACTION_DIM)[6])
        for _ in range(self._maps.settle * self._maps.steps):  # drawn once, at the end
            observation = self.env.step(still)[0]
        return self._mapped(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Execute one action of 0.2 s."""
        command = self._command(np.asarray(action, np.float64))
        for _ in range(self._maps.steps):
            observation, reward, terminated, truncated, info = self.env.step(command)
        return self._mapped(observation), reward, terminated, truncated, info

    def _mapped(self, observation: Any) -> dict[str, Any]:
        further = self._further(observation)
        mapped = {"image": self._image(observation, self._maps.image), "state": self._state(observation)}
        return mapped | ({"extra_images": further} if further else {})

    def _further(self, observation: Any) -> dict[str, Image]:
        return {name: self._image(observation, place) for name, place in self._maps.images.items()}

    def _command(self, action: NDArray[np.float64]) -> NDArray[Any]:
        """Return an action of the environment, of which `steps` make up one of ours."""
        maps = self._maps
        values = []
        for name in maps.action:
            if not isinstance(name, str):
                values.append(float(name))
            elif name == "gripper":
                closed, opened = maps.gripper
                values.append(closed + float(action[6]) * (opened - closed))
            else:
                axis = _MOTIONS.index(name)
                values.append(float(action[axis]) / maps.steps / maps.units.get("m" if axis < 3 else "rad", 1.0))
        command = np.asarray(values, np.float64)
        bounded = np.clip(command, self._inner.low, self._inner.high)
        if not self._clipped and not np.allclose(bounded, command, atol=1e-6):
            self._clipped = True
            log.warning(
                "%s: an action %s is clipped to %s, the bounds of its actions: the arm moves less than it is told. Lower the "
                "robot's limits, or raise its units or steps.",
                self.env,
                np.round(command, 4).tolist(),
                np.round(bounded, 4).tolist(),
            )
        return bounded.astype(self._inner.dtype)

    def _state(self, observation: Any) -> NDArray[np.float32]:
        """Return the state (7,)."""
        said = {name: _number(observation, place, f"state: {name}") for name, place in self._maps.state.items()}
        angles = [said.get(name, 0.0) for name in _MOTIONS[3:]]
        if "qw" in said:
            angles = _angles(*(said[name] for name in _QUATERNION))
        closed, opened = self._maps.opening
        opening = (said["opening"] - closed) / (opened - closed)
        return np.array([said["x"], said["y"], said["z"], *angles, opening], np.float32)

    def _image(self, observation: Any, where: str) -> Image:
        """Return a picture (H, W, 3)."""
        found: Any = self.env.render() if where == RENDER else _part(observation, where, "image")
        image = np.asarray(found)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            hint = " Make it with render_mode: rgb_array, or name a picture of its observations." if where == RENDER else ""
            raise ConfigError(f"image: {where} of {self.env} is {_described(found)}; expected uint8 (H, W, 3).{hint}")
        return image


def _part(observation: Any, place: str, what: str) -> Any:
    """Return a part of an observation.

    Raises:
        ConfigError: There is no such part.
    """
    found = observation
    for name in place.split("."):
        try:
            found = found[name] if isinstance(found, Mapping) else np.asarray(found)[int(name)]
        except (KeyError, IndexError, ValueError):
            raise ConfigError(f"{what}: there is no {place} in an observation, which is {_described(observation)}") from None
    return found


def _number(observation: Any, place: str | float, what: str) -> float:
    if not isinstance(place, str):
        return float(place)
    found = np.asarray(_part(observation, place, what))
    if found.size != 1:
        raise ConfigError(f"{what}: {place} is not a number but {_described(found)}: add the index of one, as in {place}.0")
    return float(found.reshape(()))


def _described(found: Any) -> str:
    """Say what something is: its type and shape, or those of its parts."""
    if isinstance(found, Mapping):
        return "{" + ", ".join(f"{name}: {_described(part)}" for name, part in found.items()) + "}"
    if isinstance(found, np.ndarray):
        return f"{found.dtype} {found.shape}"
    return type(found).__name__


def _angles(x: float, y: float, z: float, w: float) -> list[float]:
    """Return roll, pitch and yaw [rad] of a quaternion."""
    return [
        float(np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))),
        float(np.arcsin(np.clip(2 * (w * y - z * x), -1.0, 1.0))),
        float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))),
    ]
