"""What an observation is called at a server of openpi's protocol, and what the numbers of its actions are: its policy file.

    backend: openpi
    url: ws://127.0.0.1:8000
    images:                                  # what each picture is called there, and whose it is
      observation/image: {size: 224, fit: pad}
      observation/wrist_image: {size: 224, camera: wrist}     # a further camera of the workcell; `black`: there is none
    state: {observation/state: [x, y, z, roll, pitch, yaw, {opening: [0, 1]}]}
    prompt: prompt                           # the instruction
    action: [x, y, z, roll, pitch, yaw, {gripper: [0, 1]}]      # what each number of an action is
    units: {m: 0.05, rad: 0.5}               # what one unit of a motion is; 1 m and 1 rad by default
    rate_hz: 5                               # how many of its actions the robot would take a second
    execute: 5                               # of its actions, before the next look

A state is numbers of ours: x y z [m], roll pitch yaw [rad] as the workcell says them, or the same rotation as qx qy qz qw or as
a rotation vector rx ry rz; opening, with what the server hears of a gripper that is closed and of one that is open; a number
stands for itself. An action moves the gripper, by x y z and roll pitch yaw, and says how far it is open: `gripper`, with what
the server says for closed and for open. `unused` is not looked at.

Where it plans faster than 5 actions a second, as many motions are added up as make one of ours.

Shape suffixes: H actions of a chunk, D numbers of an action; H W C of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from soar.cameras import MAIN, check_camera_names
from soar.configuration import CONFIGS, read_yaml
from soar.errors import ConfigError, ModelServerError
from soar.images import Fit, ImageFitter
from soar.types import ACTION_DIM, STEP_S, Image, Observation

Number = str | float | Mapping[str, tuple[float, float]]
_MOTIONS = ("x", "y", "z", "roll", "pitch", "yaw")
_STATE = (*_MOTIONS, "qx", "qy", "qz", "qw", "rx", "ry", "rz", "opening")
_ACTION = (*_MOTIONS, "gripper", "unused")
_RATE_HZ = round(1 / STEP_S)
_BLACK = "black"
_SLACK = 0.5
"""By how much of its range a gripper's number may be outside of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSpec:
    """One picture that a server wants.

    Attributes:
        camera: `main`, the workcell's main camera; the name of a further one; `black` for one that there is not.
        size: Height and width [px]; None: as the camera gives it.
        fit: How it is brought to that, see `soar.images`.
        layout: Of the array: height, width, channels, or channels first.
    """

    camera: str = MAIN
    size: int | None = 224
    fit: Fit = "pad"
    layout: Literal["hwc", "chw"] = "hwc"

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.size <= 4096:
            raise ConfigError(f"images: size must be 1 to 4096 pixels, got {self.size}")
        if self.camera not in (MAIN, _BLACK):
            check_camera_names([self.camera], "images: camera")

    def of(self, observation: Observation) -> Image:
        """Return what is sent of an observation.

        Raises:
            UnknownNameError: It has no such camera.
        """
        image_HWC = observation.picture(MAIN if self.camera == _BLACK else self.camera)
        picture = image_HWC if self.size is None else ImageFitter(size=self.size, fit=self.fit)(image_HWC)
        if self.camera == _BLACK:
            picture = np.zeros_like(picture)
        return picture if self.layout == "hwc" else np.ascontiguousarray(picture.transpose(2, 0, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPIConfig:
    """A policy file; see the module's docstring.

    Attributes:
        url: ws:// or wss:// address.
        images: What each picture is called, and how it is made.
        action: What each number of an action is.
        execute: How many of the server's actions are executed before the next look.
        state: What a vector of the robot's state is called, and what its numbers are.
        prompt: What the instruction is called; empty: it is not sent.
        units: What one unit of a motion is: `m`, `rad`.
        chunk: How many actions it plans; None: as many as it says when it is opened.
        rate_hz: How many of its actions the robot would take a second; a multiple of 5.
        answer: What the actions are called.
        longest: The longest motion of a step that is believed: `m`, `rad`. A longer one comes from other units than these.
        action_std: (7,) standard deviation of the actions that it learned from: the unit of exploration; BridgeData's by
            default.
        name: Of its weights. Without one, what the server says that it is tells one policy from another.
        token_env: Environment variable of the server's key.
        timeout_s: For a plan, from connecting to the last byte.
        warm_up_s: For the first plan, when it is opened: the server compiles.
        patience_s: How long an episode that begins waits for a server that is away.
        when_away: `drop` the episode, or `stop` the command.
    """

    url: str
    images: Mapping[str, PictureSpec]
    action: Sequence[Number]
    execute: int
    state: Mapping[str, Sequence[Number]] = field(default_factory=dict)
    prompt: str = "prompt"
    units: Mapping[str, float] = field(default_factory=dict)
    chunk: int | None = None
    rate_hz: int = _RATE_HZ
    answer: str = "actions"
    longest: Mapping[str, float] = field(default_factory=dict)
    action_std: Sequence[float] = ()
    name: str = ""
    token_env: str = "OPENPI_API_KEY"
    timeout_s: float = 5.0
    warm_up_s: float = 300.0
    patience_s: float = 60.0
    when_away: Literal["drop", "stop"] = "drop"

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            fits = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
            fits = fits and not parts.fragment and parts.username is None
        except ValueError:
            fits = False
        if not fits:
            raise ConfigError(f"url must be a ws:// or wss:// address, such as ws://127.0.0.1:8000; got {self.url!r}")
        _check_names(self)
        if not self.images and not self.state:
            raise ConfigError("images: name at least one picture, such as observation/image: {size: 224}")
        keys = [*self.images, *self.state, *([self.prompt] if self.prompt else [])]
        if double := sorted({key for key in keys if keys.count(key) > 1}):
            raise ConfigError(f"{double[0]!r} is the name of two things that are sent")
        for name, known in (("units", self.units), ("longest", self.longest)):
            if wrong := sorted(set(known) - {"m", "rad"}):
                raise ConfigError(f"{name}: there is no {wrong[0]!r}; there are: m, rad")
            if not all(value > 0 for value in known.values()):
                raise ConfigError(f"{name} must be positive, got {dict(known)}")
        if self.rate_hz < _RATE_HZ or self.rate_hz % _RATE_HZ:
            raise ConfigError(f"rate_hz must be a multiple of {_RATE_HZ}, a robot's actions a second; got {self.rate_hz}")
        if self.execute < 1 or self.execute % self.added:
            raise ConfigError(
                f"execute: {self.execute} actions at rate_hz {self.rate_hz} are no whole number of the robot's, of which "
                f"{self.added} make one. Choose {self.added}, {2 * self.added}, {3 * self.added}, …"
            )
        if self.chunk is not None and self.chunk < self.execute:
            raise ConfigError(
                f"execute: {self.execute} of {self.chunk} actions (`chunk`) cannot be executed; at most {self.chunk} can"
            )
        if min(self.timeout_s, self.warm_up_s) <= 0 or self.patience_s < 0:
            raise ConfigError(
                f"timeout_s and warm_up_s must be positive, patience_s not negative; got {self.timeout_s}, "
                f"{self.warm_up_s} and {self.patience_s}"
            )
        if self.action_std and (len(self.action_std) != ACTION_DIM or not all(value > 0 for value in self.action_std)):
            raise ConfigError(f"action_std must be {ACTION_DIM} positive numbers, got {list(self.action_std)}")

    @property
    def added(self) -> int:
        """How many of the server's actions make one of ours."""
        return self.rate_hz // _RATE_HZ

    @property
    def cameras(self) -> tuple[str, ...]:
        """The cameras that it looks at, in the order of its pictures."""
        return tuple(dict.fromkeys(one.camera for one in self.images.values() if one.camera != _BLACK)) or (MAIN,)

    @property
    def std(self) -> NDArray[np.float32]:
        """(7,) the unit of exploration."""
        if self.action_std:
            return np.asarray(self.action_std, np.float32)
        bridge = read_yaml(Path(CONFIGS) / "actions" / "bridge.yaml")["std"]
        return np.asarray([*bridge, 1.0], np.float32)

    def message(self, observation: Observation, instruction: str) -> dict[str, Any]:
        """Return what is sent of an observation."""
        sent: dict[str, Any] = {name: picture.of(observation) for name, picture in self.images.items()}
        known = _numbers_of(observation)
        for key, numbers in self.state.items():
            sent[key] = np.asarray([_said(number, known) for number in numbers], np.float32)
        return sent | ({self.prompt: instruction} if self.prompt else {})

    def actions(self, answer: Any, chunk: int | None = None) -> tuple[NDArray[np.float32], int]:
        """Return the actions (H, 7) in an answer that are to be executed, in physical units, and how many it had.

        Args:
            answer: What the server said.
            chunk: How many actions it has to have; None: any number.

        Raises:
            ModelServerError: It has none, others than the file says, or none that can be believed; the message says which.
        """
        where, found = self.url, answer.get(self.answer) if isinstance(answer, Mapping) else None
        if found is None:
            names = ", ".join(sorted(map(str, answer)))[:200] if isinstance(answer, Mapping) else type(answer).__name__
            raise ModelServerError(f"{where} gives no {self.answer!r} (`answer`); it gives: {names or 'nothing'}")
        try:
            numbers_HD = np.asarray(found, np.float64)
        except (ValueError, TypeError) as error:
            raise ModelServerError(f"{where} gives {self.answer!r} that are no numbers") from error
        if numbers_HD.ndim != 2 or numbers_HD.shape[1] != len(self.action):
            raise ModelServerError(
                f"{where} gives {self.answer!r} of shape {numbers_HD.shape}, and a chunk of actions of {len(self.action)} "
                "numbers each, (H, D), is what `action` names"
            )
        count = len(numbers_HD)
        if chunk is not None and count != chunk:
            raise ModelServerError(f"{where} gives {count} actions, and {chunk} were expected (`chunk`)")
        if count < self.execute:
            raise ModelServerError(f"{where} gives {count} actions, of which {self.execute} are to be executed (`execute`)")
        if not np.isfinite(numbers_HD).all():
            raise ModelServerError(f"{where} gives actions that are not finite")
        return self._physical(numbers_HD[: self.execute]), count

    def _physical(self, numbers_HD: NDArray[np.float64]) -> NDArray[np.float32]:
        actions_HD = np.zeros((len(numbers_HD), ACTION_DIM))
        for column, number in enumerate(self.action):
            name = number if isinstance(number, str) else next(iter(number)) if isinstance(number, Mapping) else ""
            values_H = numbers_HD[:, column]
            if name == "gripper":
                actions_HD[:, 6] = self._gripper(values_H, number)
            elif name in _MOTIONS:
                axis = _MOTIONS.index(name)
                actions_HD[:, axis] = values_H * self.units.get("m" if axis < 3 else "rad", 1.0)
        groups_GHD = actions_HD.reshape(-1, self.added, ACTION_DIM)
        steps_HD = groups_GHD.sum(1)
        steps_HD[:, 6] = groups_GHD[:, -1, 6]
        for unit, part, usual in (("m", slice(0, 3), 0.1), ("rad", slice(3, 6), 0.7)):
            most, longest = self.longest.get(unit, usual), float(np.linalg.norm(steps_HD[:, part], axis=1).max())
            if longest > most:
                raise ModelServerError(
                    f"{self.url} gives a motion of {longest:.3g} {unit} in one step, and at most {most:g} {unit} is believed "
                    f"(`longest`). Are its units {self.units.get(unit, 1.0):g} {unit} (`units`)?"
                )
        return np.asarray(steps_HD, np.float32)

    def _gripper(self, values_H: NDArray[np.float64], number: Number) -> NDArray[np.float64]:
        closed, opened = _range(number)
        target_H = (values_H - closed) / (opened - closed)
        if target_H.min() < -_SLACK or target_H.max() > 1 + _SLACK:
            raise ModelServerError(
                f"{self.url} gives {values_H.min():.3g} to {values_H.max():.3g} for the gripper, and `action` says {closed:g} "
                f"for closed and {opened:g} for open"
            )
        return np.clip(target_H, 0.0, 1.0)


def _check_names(config: OpenPIConfig) -> None:
    """Refuse numbers that there are not, of states and actions."""
    for key, numbers in config.state.items():
        for number in numbers:
            _check_number(number, f"state: {key}", _STATE, "opening", alone=True)
    if any(str(number).startswith("joint") for number in config.action):
        raise ConfigError(
            "action: robots are told motions of their gripper here (x, y, z, roll, pitch, yaw, gripper), and no workcell takes "
            "positions of joints. Serve a policy whose actions are deltas of the end effector, or convert them on its side"
        )
    for number in config.action:
        _check_number(number, "action", _ACTION, "gripper", alone=False)
    names = [next(iter(number)) if isinstance(number, Mapping) else str(number) for number in config.action]
    if twice := sorted({name for name in names if names.count(name) > 1 and name != "unused"}):
        raise ConfigError(f"action: {twice[0]!r} stands there twice")
    if "gripper" not in names or not set(names) & set(_MOTIONS):
        raise ConfigError("action: name the gripper and at least one motion, such as [x, y, z, {gripper: [0, 1]}]")


def _check_number(number: Number, where: str, known: Sequence[str], ranged: str, *, alone: bool) -> None:
    if isinstance(number, Mapping):
        closed, opened = _range(number)
        if list(number) != [ranged] or closed == opened:
            raise ConfigError(f"{where}: {dict(number)} must be {{{ranged}: [CLOSED, OPEN]}}, two different numbers")
    elif isinstance(number, str) and number not in known:
        raise ConfigError(f"{where}: there is no {number!r}; there are: {', '.join(known)}")
    elif not isinstance(number, str) and not alone:
        raise ConfigError(f"{where}: {number} is no name; there are: {', '.join(known)}")


def _range(number: Number) -> tuple[float, float]:
    """Return what stands for closed and for open."""
    return next(iter(number.values()), (0.0, 1.0)) if isinstance(number, Mapping) else (0.0, 1.0)


def _numbers_of(observation: Observation) -> dict[str, float]:
    state = np.asarray(observation.state, np.float64)
    turned = Rotation.from_euler("xyz", state[3:6])
    values = [*state[:6], *turned.as_quat(), *turned.as_rotvec(), state[6]]
    return dict(zip(_STATE, map(float, values), strict=True))


def _said(number: Number, known: Mapping[str, float]) -> float:
    if isinstance(number, Mapping):
        closed, opened = _range(number)
        return closed + known["opening"] * (opened - closed)
    return known[number] if isinstance(number, str) else float(number)
