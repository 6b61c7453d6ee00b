"""Robots by name: `configs/robots/NAME.yaml` says which driver a robot has and how far one action may go.

    driver: soar.sim.robot:open_robot      # MODULE:FUNCTION, called as function(scene, image_size) -> Robot
    limits: {translation_m: 0.05, rotation_rad: 0.35, lag_m: 0.06}

The driver is imported when the robot is opened, so that no robot's library is needed to drive another. A robot of your own
needs a module that can be imported and a YAML file, whose path is as good as a name; nothing here changes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from soar.configuration import find, read_yaml, validate
from soar.errors import ConfigError
from soar.robots.base import Robot
from soar.robots.safety import SafetyLimits

Driver = Callable[[str, int], Robot]


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotConfig:
    """One robot.

    Attributes:
        driver: `MODULE:FUNCTION`; the function takes a scene's name and an image size [pixels], and returns a `Robot`.
        limits: What its `SafeRobot` lets one action do.
    """

    driver: str
    limits: SafetyLimits = field(default_factory=SafetyLimits)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.]+:\w+", self.driver):
            raise ConfigError(f"robot: driver {self.driver!r} must be MODULE:FUNCTION, such as soar.sim.robot:open_robot")

    def open(self, scene: str, image_size: int) -> Robot:
        """Return the driver of this robot in front of a scene; wrap it into a `SafeRobot` before a policy drives it.

        Raises:
            ConfigError: The driver's module or function does not exist; the message names it.
        """
        module, _, function = self.driver.partition(":")
        try:
            driver = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"robot driver {self.driver!r} cannot be imported: {error}. Install it or correct `driver`."
            ) from error
        return cast(Driver, driver)(scene, image_size)


def load_robot(name: str) -> RobotConfig:
    """Load a robot by name or by the path of a YAML file.

    Raises:
        UnknownNameError: There is no such robot, or a key in its file is unknown.
        ConfigError: Its file is invalid.
    """
    path = find("robots", name)
    data = read_yaml(path)
    if isinstance(data.get("limits"), dict):
        data["limits"] = validate(SafetyLimits, data["limits"], f"{path}: limits")
    return validate(RobotConfig, data, str(path))
