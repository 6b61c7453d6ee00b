"""Robots by name: `configs/robots/NAME.yaml` says which driver a robot has and how far one action may go.

    driver: my_lab.arm:open_arm            # MODULE:NAME, called with `options`; it returns a `soar.robots.base.Robot`; or
                                           # `remote`: a robot behind `soar robot serve` (`soar.robots.remote`), or
                                           # `widowx`: one behind its labs' server (docs/how-to/widowx.md), or
                                           # `lerobot`: one that LeRobot drives (docs/how-to/lerobot.md)
    options: {port: /dev/ttyUSB0}
    limits: {translation_m: 0.03, rotation_rad: 0.2, lag_m: 0.0}
    workspace: {low: [0.15, -0.2, 0.01], high: [0.4, 0.2, 0.25]}     # [m], when neither workcell nor scene says
    timeouts: {act: 2.0}                   # [s]; what is not said is as in `soar.robots.timeouts`
    simulated: false                       # true: may be opened any number of times, is never waited for, and cannot hang

A driver with a parameter `scene` is told its workcell's `soar.scenes.SceneFile`; one with a parameter `image_size`, which
(height, width) is asked of its camera, if any; one with a parameter `cameras`, which further ones the workcell names; `limits`
and `workspace` are those of the shell around it. The driver is
imported when the robot is opened, so that no robot's library is needed to drive another. A robot of your own needs a module
that can be imported and a YAML file, whose path is as good as a name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from soar.configuration import find, read_yaml, validate
from soar.errors import ConfigError, UnknownNameError
from soar.references import build, is_reference, resolve
from soar.robots.safety import SafetyLimits
from soar.robots.timeouts import Timeouts
from soar.types import WorkspaceBox

SHORT = {
    "remote": "soar.robots.remote:open_robot",
    "widowx": "soar.robots.widowx.driver:open_widowx",
    "lerobot": "soar.robots.lerobot.driver:open_lerobot",
}
"""Drivers that come with SOAR, by a word."""
_PATIENCE = {
    SHORT["widowx"]: Timeouts(open=90.0, home=120.0, recover=600.0),
    SHORT["lerobot"]: Timeouts(open=180.0, recover=300.0),
}
"""Timeouts of those that need other ones: servers that start, libraries that take long to load, motors that cool."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotConfig:
    """One robot; see the module's docstring.

    Attributes:
        driver: `MODULE:NAME` of a function or class that makes a `Robot`.
        options: What it is called with.
        limits: What its `SafeRobot` lets one action do.
        workspace: The box that its gripper never leaves.
        timeouts: How long its calls may take.
        simulated: Whether it may be opened any number of times, by several processes at once.
        folder: Of the file, where the driver's module may lie.
    """

    driver: str
    options: dict[str, Any] = field(default_factory=dict)
    limits: SafetyLimits = field(default_factory=SafetyLimits)
    workspace: WorkspaceBox | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    simulated: bool = False
    folder: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "driver", SHORT.get(self.driver, self.driver))
        if self.timeouts == Timeouts():
            object.__setattr__(self, "timeouts", _PATIENCE.get(self.driver, self.timeouts))
        if not is_reference(self.driver):
            raise ConfigError(
                f"robot: driver {self.driver!r} must be MODULE:NAME, such as my_lab.arm:open_arm, or {', '.join(SHORT)}"
            )

    @property
    def device(self) -> str:
        """What a driver that comes with SOAR drives, and nobody else may at the same time; empty where that is not known."""
        if self.driver == SHORT["widowx"]:
            host = str(self.options.get("host", "localhost"))
            return f"the WidowX at {'localhost' if host in _LOOPBACK else host}:{self.options.get('port', 5556)}"
        config = self.options.get("config")
        if self.driver == SHORT["lerobot"] and isinstance(config, dict) and config.get("port"):
            return f"the arm at {config['port']}"
        return ""

    def takes(self, name: str) -> bool:
        """Whether the driver has a parameter of that name.

        Raises:
            ConfigError: It cannot be imported.
        """
        return name in _parameters(resolve(self.driver, "robot driver", self.folder))

    def make(self, **offered: Any) -> Any:
        """Return what the driver makes of the options, and of those of the offered arguments that it has a parameter for.

        Raises:
            ConfigError: It cannot be imported, or refuses.
        """
        function = resolve(self.driver, "robot driver", self.folder)
        offered = {"limits": self.limits} | offered
        wanted = {name: value for name, value in offered.items() if name in _parameters(function)}
        return build(self.driver, "robot driver", wanted | self._checked(function), self.folder)

    def _checked(self, function: Callable[..., Any]) -> dict[str, Any]:
        """Return the options; those of drivers that come with SOAR in the kinds that they are declared with."""
        word = next((word for word, driver in SHORT.items() if driver == self.driver), self.driver)
        known = _parameters(function)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
            for name in self.options if known else ():
                if name not in known:
                    raise UnknownNameError("option", str(name), known, f"In the options of the robot driver {word}.")
        if word not in SHORT:
            return self.options
        hints, checked = get_type_hints(function), dict[str, Any]()
        for name, value in self.options.items():
            try:
                checked[name] = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                what = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
                raise ConfigError(f"{word}: option {name}: {what}; got {str(value)[:60]}") from error
        return checked


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some that are not written in Python do not say
        return {}


def load_robot(name: str) -> RobotConfig:
    """Load a robot by name or by the path of a YAML file.

    Raises:
        UnknownNameError: There is no such robot, or a key in its file is unknown.
        ConfigError: Its file is invalid.
    """
    path = find("robots", name)
    return robot_config(read_yaml(path), path)


def robot_config(data: Mapping[str, Any], path: Path) -> RobotConfig:
    """Return a robot from what stands in a YAML file.

    Raises:
        UnknownNameError: A key is unknown.
        ConfigError: A value is invalid.
    """
    return validate(RobotConfig, dict(data) | {"folder": path.parent}, str(path))
