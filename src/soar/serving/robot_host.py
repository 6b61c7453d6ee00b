"""One robot that is offered to clients, and who drives it: sessions, the order of calls, the shell on the robot's side.

A session is a connection (`soar.serving.robots`). While it lasts others are refused, and so is a call whose number is not the
next one. When it ends, the driver's `close` leaves the arm safe; the next session opens the driver again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from soar.cameras import differences, listed
from soar.errors import ConfigError, RobotFault, SoarError
from soar.remote.wire import Encoding, pack, plain
from soar.robots.driver import Driver
from soar.robots.remote import ABILITIES, KIND, PROTOCOL, REQUIRED, SEVERAL_CAMERAS
from soar.robots.remote_answers import LIMITS
from soar.robots.safety import SafeRobot, SafetyError, SafetyLimits
from soar.robots.stopping import StopSwitch
from soar.robots.timeouts import Timeouts
from soar.serving.auth import AuthConfig
from soar.types import Image, WorkspaceBox

REQUEST_BYTES = 2**16
"""Longest request; none carries a picture."""
_ARGUMENTS: dict[str, tuple[type, ...]] = {
    "reset_for": (str, int),
    "set_table": (int,),
    "truth": (str,),
    "imagine": (str, int),
    "answer": (str,),
    "motors": (),
    "reboot": (),
}
_LONGEST_TEXT = 1000
_HANDOVER_S = 2.0
"""How long a client waits for the one before it to be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotServerConfig:
    """A robot that is offered to others.

    Attributes:
        name: For messages.
        make: Makes its driver, for a size of its pictures (height, width) or None.
        workspace: The box that its gripper never leaves, whatever the client says.
        limits: How far one action may go.
        timeouts: How long its calls may take.
        device: See `soar.robots.registry.RobotConfig.device`.
        cameras: The further ones that it has to give; None: whatever it gives.
        token: That every request must carry.
        host: Address to listen on.
        port: Port to listen on; 0 for any that is free.
        silence_s: How long a session may be silent.
    """

    name: str
    make: Callable[[tuple[int, int] | None], Any]
    workspace: WorkspaceBox
    limits: SafetyLimits = field(default_factory=SafetyLimits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    device: str = ""
    cameras: tuple[str, ...] | None = None
    token: str
    host: str = "127.0.0.1"
    port: int = 8124
    silence_s: float = 300.0

    def __post_init__(self) -> None:
        AuthConfig(token=self.token, bytes=REQUEST_BYTES)  # refuses tokens that are none
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"--port must lie between 0 and {2**16 - 1}, got {self.port}")
        if not 0 < self.silence_s <= threading.TIMEOUT_MAX:
            raise ConfigError(f"--silence-s must be a positive number of seconds, got {self.silence_s}")


class RefusedError(SoarError):
    """A request that is not obeyed; nothing was done.

    Args:
        status: Of HTTP.
        message: Why.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RobotHost:
    """One robot, and who drives it. Opened at once, so that a driver that cannot be used shows before anybody connects."""

    def __init__(self, config: RobotServerConfig) -> None:
        self.config = config
        self._busy = threading.RLock()
        self._left = threading.Condition(self._busy)
        self._owner: object | None = None
        self._ended = self._leaving = False
        self._seq = 0
        self._encoding: Encoding = "png"
        self._driver: Driver | None = None
        self._stop = StopSwitch(config.name, device=config.device)
        self._stop.halts(self._halt)
        try:
            self._open(None)
        except BaseException:
            self._stop.release()
            raise

    def about(self) -> dict[str, Any]:
        """Return what a client has to know."""
        timeouts = {name: self.config.timeouts.of(name) for name in ("open", *REQUIRED, *ABILITIES, "other")}
        protocol = SEVERAL_CAMERAS if self._cameras else PROTOCOL
        about = {"kind": KIND, "protocol": protocol, "abilities": self._abilities, "timeouts": timeouts}
        return about | ({"cameras": list(self._cameras)} if self._cameras else {})

    def begin(self, owner: object, body: dict[str, Any]) -> None:
        """Begin a session.

        Raises:
            RefusedError: There is one already, or the driver cannot be opened again.
        """
        size, encoding = body.get("image_size"), body.get("encoding")
        if size is not None and not (isinstance(size, list) and len(size) == 2 and all(_is_side(side) for side in size)):
            raise RefusedError(400, f"image_size must be [height, width], up to {LIMITS.side} px")
        if encoding not in ("raw", "png", "jpeg"):
            raise RefusedError(400, "encoding must be raw, png or jpeg")
        # The last client may just have gone, and its arm be on the way to where it is safe.
        while not self._busy.acquire(timeout=_HANDOVER_S):
            if not self._leaving:
                raise RefusedError(409, "another client drives this robot")
        try:
            self._left.wait_for(lambda: self._ended or self._owner is None, _HANDOVER_S)
            if self._stop.pressed:  # opening it again might take the arm's torque for a moment
                raise RefusedError(409, "the robot was stopped. Look at the arm, and start `soar robot serve` again")
            if self._ended or self._owner is not None:
                raise RefusedError(409, "this server ends" if self._ended else "another client drives this robot")
            self._check_number(body, 0)
            wanted = tuple(size) if size is not None else None
            if self._driver is None or wanted not in (None, self._seen):
                self.release()
                self._open(wanted)
            self._owner, self._encoding = owner, encoding
        except (ConfigError, RobotFault) as error:
            raise RefusedError(409, str(error)) from error
        finally:
            self._busy.release()

    def call(self, owner: object, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one call of a session.

        Raises:
            RefusedError: It is no session's, it is not the next one, or it is none that is known.
        """
        if name not in (*REQUIRED, *self._abilities, "close"):
            raise RefusedError(404, f"this robot has no {plain(name, 40)!r}")
        self._check_owner(owner)
        with self._busy:
            self._check_owner(owner)
            self._check_number(body, self._seq)
            if name == "close":
                self.leave(owner)
                return {"result": None}
            try:
                return {"result": self._do(name, body)}
            except RobotFault as fault:
                return {"fault": {"kind": fault.kind, "detail": fault.detail}}
            except SafetyError as error:
                return {"unsafe": str(error)}

    def halt(self) -> None:
        """Let no motion begin any more, whoever drives: somebody stopped the robot from the other side. Waits for nothing."""
        self._stop.press()

    def leave(self, owner: object) -> None:
        """End a session, if it is that one's; the arm is left safe."""
        with self._busy:
            if owner is self._owner:
                self._owner, self._seq, self._leaving = None, 0, True
                try:
                    self.release()
                finally:
                    self._leaving = False
                    self._left.notify_all()

    def release(self) -> None:
        """Leave the arm safe and let go of it."""
        driver, self._driver = self._driver, None
        if driver is not None and self._stop.pressed:
            driver.abandon()
        elif driver is not None:
            driver.close()

    def end(self) -> None:
        """Begin no session any more, and leave the arm safe."""
        self._ended = True
        with self._busy:
            self._owner = None
            self.release()
            self._stop.release()

    def _open(self, image_size: tuple[int, int] | None) -> None:
        config = self.config
        with self._stop.motion("open"):
            driver = Driver(lambda: config.make(image_size), where=config.name, timeouts=config.timeouts)
        robot = SafeRobot(driver, config.workspace, config.limits, image_size=image_size, stop=self._stop)
        try:
            seen = robot.observe()
            for image in (seen.image_HWC, *seen.extra_images.values()):
                height, width = image.shape[:2]
                if max(height, width) > LIMITS.side:
                    raise SafetyError(f"its pictures are {height} x {width} px; up to {LIMITS.side} px a side can travel")
            if config.cameras is not None and any(differences(config.cameras, robot.cameras)):
                raise SafetyError(
                    f"its cameras are {listed(robot.cameras)}, and {listed(config.cameras)} are named in the workcell's file"
                )
        except (RobotFault, SafetyError) as error:
            driver.close()
            raise ConfigError(f"{config.name}: its driver cannot be used: {error}") from error
        self._driver, self._robot, self._cameras = driver, robot, robot.cameras
        self._seen = (seen.image_HWC.shape[0], seen.image_HWC.shape[1])
        self._abilities = [name for name in ABILITIES if driver.ability(name) is not None]

    def _halt(self) -> None:
        driver = self._driver
        if driver is not None:
            driver.halt()

    def _check_owner(self, owner: object) -> None:
        if owner is not self._owner:
            raise RefusedError(409, "another client drives this robot" if self._owner is not None else "no session: call open")

    def _check_number(self, body: dict[str, Any], last: int) -> None:
        if type(body.get("seq")) is not int or body["seq"] != last + 1:
            raise RefusedError(409, f"call number {str(body.get('seq'))[:20]}, and {last + 1} is next; nothing was executed")
        self._seq = last + 1

    def _do(self, name: str, body: dict[str, Any]) -> Any:
        robot = self._robot
        match name:
            case "observe":
                seen = robot.observe()
                state = [float(value) for value in seen.state]
                said = {"image": pack(np.ascontiguousarray(seen.image_HWC), self._encoding), "state": state}
                images = {name: pack(np.ascontiguousarray(one), self._encoding) for name, one in seen.extra_images.items()}
                return said | ({"images": images} if images else {})
            case "act":
                robot.act(_action(body.get("action")))
                return {"executed": [float(value) for value in robot.last_action]}
            case "health":
                health = robot.health()
                return {"ok": bool(health.ok), "fault": str(health.fault), "detail": str(health.detail)}
            case "home":
                return robot.home()
            case "recover":
                return robot.recover()
            case _:
                return self._ability(name, _arguments(name, body.get("arguments")))

    def _ability(self, name: str, arguments: list[Any]) -> Any:
        function = self._driver.ability(name) if self._driver is not None else None
        if function is None:
            raise RefusedError(404, f"this robot has no {name}")
        moves = name in ("reset_for", "set_table", "reboot")
        if moves:
            self._robot.forget()
        with self._stop.motion(name) if moves else nullcontext():
            result = function(*arguments)
        if name == "imagine":
            return pack(_picture(result), self._encoding)
        if name in ("truth", "answer"):
            return None if result is None else bool(result)
        return str(result)[:_LONGEST_TEXT] if name == "motors" else None


def _is_side(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LIMITS.side


def _action(values: Any) -> Any:
    try:
        return np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise SafetyError(f"refused an action that is none: {str(values)[:60]}") from error


def _arguments(name: str, values: Any) -> list[Any]:
    kinds = _ARGUMENTS[name]
    right = isinstance(values, list) and [type(value) for value in values] == list(kinds)
    if not right or any(isinstance(value, str) and len(value) > _LONGEST_TEXT for value in values):
        raise RefusedError(400, f"{name} takes {', '.join(kind.__name__ for kind in kinds) or 'no arguments'}")
    return cast(list[Any], values)


def _picture(value: Any) -> Image:
    if not (isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3):
        raise RobotFault("driver", "imagine() did not return a picture, uint8 (H, W, 3)")
    return np.ascontiguousarray(value)
