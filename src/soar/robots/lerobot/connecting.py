"""LeRobot's robots by their type: what is installed, plug-ins included, their configuration, and how one is connected.

    type: so101_follower                              the name on LeRobot's own command lines (--robot.type)
    config: {port: /dev/ttyACM0, id: arm, cameras: {front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}}

Nobody is asked for anything: an arm that is not calibrated is refused with the command that calibrates it, before a motor is
told anything. LeRobot is imported by name, since it is no dependency of SOAR: its pins contradict ours.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import shlex
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from soar.errors import ConfigError, UnknownNameError

log = logging.getLogger(__name__)
_DEFAULTS = {"use_degrees": True, "disable_torque_on_disconnect": False}
"""What is not said: joints in degrees, and an arm that is held when it is let go of."""

_NO_MOTORS = "its motors do not answer (`lerobot-find-port` finds the port)"


def make_robot(kind: str, config: Mapping[str, Any]) -> Any:
    """Return a robot of LeRobot, not connected.

    Args:
        kind: Its type.
        config: What its configuration holds.

    Raises:
        UnknownNameError: LeRobot has no such type, and no plug-in has it.
        ConfigError: LeRobot is not installed, or refuses the configuration.
    """
    try:
        robots = importlib.import_module("lerobot.robots")
    except ImportError as error:
        raise ConfigError(
            f"the driver `lerobot` needs LeRobot, which cannot be imported here ({error}). It wants an environment of its own, "
            "in which `soar robot serve --driver lerobot` runs: docs/how-to/lerobot.md"
        ) from error
    _import_plugins()
    broken = _import_below("lerobot.robots", kind, robots.RobotConfig) | _import_below("lerobot.cameras")
    known = robots.RobotConfig.get_known_choices()
    if kind not in known:
        said = "; ".join(f"{name} cannot be imported: {error}" for name, error in broken.items() if name.endswith(kind))
        raise UnknownNameError(
            "type of robot",
            kind,
            known,
            said or "Plug-ins are packages whose names begin with lerobot_robot_, installed in this environment.",
        )
    draccus = importlib.import_module("draccus")
    fields = known[kind].__dataclass_fields__
    defaults = {name: value for name, value in _DEFAULTS.items() if name in fields}
    if unknown := sorted(set(config) - set(fields)):
        raise UnknownNameError("key", unknown[0], fields, f"In the config of {kind}.")
    if config.get("disable_torque_on_disconnect"):
        raise ConfigError(
            f"{kind}: disable_torque_on_disconnect would let a stopped arm fall. Leave it out, and say a `rest` in the arm's "
            "file (soar.robots.lerobot.arms), where the arm goes limp when a session ends"
        )
    try:
        made = draccus.decode(robots.RobotConfig, {"type": kind} | defaults | _plain(config))
        return robots.make_robot_from_config(made)
    except Exception as error:
        raise ConfigError(f"LeRobot refuses the config of {kind}: {_reasons(error)[:400]}") from error


def connect(robot: Any, kind: str, config: Mapping[str, Any]) -> None:
    """Connect a robot, without calibrating it and without asking anybody.

    Args:
        robot: Of LeRobot.
        kind: Its type, for messages.
        config: What its configuration holds.

    Raises:
        ConfigError: It is not calibrated, or it or a camera is not there; the message says what to do.
    """
    bus = getattr(robot, "bus", None)
    asking = bus is not None
    try:
        if bus is not None:  # is it calibrated? Connecting the robot would already drop its torque
            if not bus.is_connected:
                bus.connect()
            calibrated = bool(robot.is_calibrated)
            bus.disconnect(False)
            if not calibrated:
                raise ConfigError(_calibrate(kind, robot, config))
        asking = False
        robot.connect(calibrate=False)
        if not robot.is_calibrated:
            raise ConfigError(_calibrate(kind, robot, config))
    except ConfigError:
        let_go(robot)
        raise
    except Exception as error:
        what = _NO_MOTORS if asking else _which(robot, bus)  # what answers there may be something else
        let_go(robot)
        raise ConfigError(f"{kind}: {what}: {' '.join(str(error).split())[:300]}") from error


def let_go(robot: Any) -> None:
    """Disconnect what is connected of a robot, whose motors keep their torque where it can be chosen; what fails is logged."""
    bus = getattr(robot, "bus", None)
    parts: list[tuple[Any, tuple[bool, ...]]] = [(bus, (False,))] if bus is not None else []
    parts += [(camera, ()) for camera in getattr(robot, "cameras", {}).values()]
    for part, arguments in parts or [(robot, ())]:
        try:
            if part.is_connected:
                part.disconnect(*arguments)
        except Exception as error:  # noqa: BLE001 - nothing more can be done
            log.warning("%s did not disconnect: %s", type(part).__name__, error)


def reconnect_cameras(robot: Any) -> None:
    """Disconnect a robot's cameras and connect them again; the arm is left alone.

    Raises:
        Exception: What LeRobot raises when one is not there.
    """
    for name, camera in getattr(robot, "cameras", {}).items():
        try:
            camera.disconnect()
        except Exception as error:  # noqa: BLE001 - it was not connected, or its thread has ended
            log.warning("camera %s did not disconnect: %s", name, error)
        camera.connect()


def _calibrate(kind: str, robot: Any, config: Mapping[str, Any]) -> str:
    flags = [f"--robot.type={kind}", *(f"--robot.{name}={config[name]}" for name in ("port", "id") if name in config)]
    return (
        f"{kind} is not calibrated, or by another file than {getattr(robot, 'calibration_fpath', 'that of its id')}. Calibrate "
        f"it by hand, once: lerobot-calibrate {shlex.join(flags)}"
    )


def _which(robot: Any, bus: Any) -> str:
    """Return what could not be connected, and how its name is found."""
    if bus is not None and not bus.is_connected:
        return _NO_MOTORS
    for name, camera in getattr(robot, "cameras", {}).items():
        if not camera.is_connected:
            return f"its camera {name!r} is not there (`lerobot-find-cameras` finds it)"
    return "it cannot be connected"


def _import_below(package: str, kind: str = "", configs: Any = None) -> dict[str, str]:
    """Import what is in a package, which registers what it has; return what could not be, and why.

    Args:
        package: Its name.
        kind: When this is registered, nothing more is imported: some of LeRobot's robots bring all of its policies. Those with
            names like it come first.
        configs: Where it is registered.
    """
    names = [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")]
    broken = {}
    for name in sorted(names, key=lambda name: -SequenceMatcher(None, kind, name.rpartition(".")[2]).ratio()):
        if configs is not None and kind in configs.get_known_choices():
            break
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - the library of some other robot is missing
            broken[name] = f"{type(error).__name__}: {error}"
    return broken


def _import_plugins() -> None:
    tools = importlib.import_module("lerobot.utils.import_utils")
    register = getattr(tools, "register_third_party_plugins", None) or getattr(tools, "register_third_party_devices", None)
    if register is not None:
        register()


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as LeRobot wants it: a limit on relative targets has to be no whole number."""
    plain = dict(config)
    if isinstance(plain.get("max_relative_target"), int):
        plain["max_relative_target"] = float(plain["max_relative_target"])
    return plain


def _reasons(error: BaseException | None) -> str:
    """Return what an error says, and what it came of: the first alone often names no key."""
    said: dict[str, None] = {}
    while error is not None:
        said[" ".join(str(error).split())] = None
        error = error.__cause__
    return " ".join(filter(None, said))
