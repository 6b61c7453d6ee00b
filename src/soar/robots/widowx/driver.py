"""The WidowX as a robot; options of `driver: widowx`, and the order of calls.

    robot:
      driver: widowx
      options: {host: 192.168.1.20, camera: /blue/image_raw}

    act:      the last one was period_s ago ─► within the lag ─► step_action, blocking ─► status, then the state has to follow
    observe:  picture and state of one moment; motors, where the server tells

After a request that got no answer nothing is asked any more until `recover`: the episode is lost, the server is asked who it is
until it answers, and the arm goes home before anything else. No action is ever sent again.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from soar.errors import ConfigError, RobotFault
from soar.images import resized
from soar.robots.base import Health
from soar.robots.following import Commanded, Follower
from soar.robots.safety import SafetyLimits
from soar.robots.widowx.recovery import Recovery
from soar.robots.widowx.server import Seen, Server, Settings, UninitialisedError
from soar.robots.widowx.servers import server_of
from soar.robots.widowx.wire import HASH_S, Wire
from soar.types import STEP_S, Action, Observation, WorkspaceBox

T = TypeVar("T")
_MOTORS_EVERY = 25
"""Actions between two looks at the motors, where that is a request of its own."""
_OPENING_S = 30.0
"""How long a server that is known, and fails when it is looked at first, is waited for [s]."""
_DO = {
    "lost": "Start the robot's server, open the tunnel to it, or correct host and port.",
    "connection": "What answers there is no server that SOAR knows (docs/how-to/widowx.md): correct host and port.",
    "camera": "Start the camera's node on the robot's computer, or correct `camera` and `view` in the options.",
    "motor": "Look at the arm, and at what the server's terminal says.",
    "unrecoverable": "Run the same command again to go on.",
}
"""What to do when the first look fails."""
_EDGE_M = 0.01
"""How far home may lie outside of a box that was measured: an arm is never quite where it was told to be."""


def open_widowx(
    host: str = "localhost",
    port: int = 5556,
    *,
    camera: str = "/blue/image_raw",
    view: int = 0,
    home: tuple[float, ...] = (0.3, 0.0, 0.15, 0.0, 0.0, 0.0, 1.0),
    move_s: float = 0.2,
    period_s: float = STEP_S,
    gripper: tuple[float, float] | None = None,
    effort: float = 1300.0,
    lag_rad: float = 0.35,
    env_params: Mapping[str, Any] | None = None,
    waits: Mapping[str, float] | None = None,
    image_size: tuple[int, int] | None = None,
    limits: SafetyLimits | None = None,
    workspace: WorkspaceBox | None = None,
) -> WidowX:
    """Connect to a WidowX server. A bridge server that has no robot yet, or gives no whole pictures, is initialised: it moves.

    Args:
        host: Of the robot's computer, as seen from here; a tunnel's end is `localhost`.
        port: Of its server.
        camera: ROS topic of the camera, which a bridge server is told.
        view: Which of its cameras, from 0.
        home: State (7,) from which every episode starts.
        move_s: How long a bridge server takes for one action [s].
        period_s: Time from one action to the next, at least [s].
        gripper: What the server says when the gripper is closed and when it is open; what its kind says by default.
        effort: Beyond which a joint is taken to be in danger, where the server tells.
        lag_rad: How far the commanded rotation may be ahead of the real one [rad].
        env_params: More of what a bridge server is initialised with.
        waits: How long to wait for the answer to `init` (60), `move` (20), `step` (3), `hash` (3), and for a server that
            restarts, `restart` (90) [s].
        image_size: Height and width of the pictures; the camera's by default.
        limits: Those of the shell around it.
        workspace: The box that the shell keeps it in.

    Raises:
        ConfigError: An option is wrong, nobody answers there, or it is another kind of server.
    """
    if not (isinstance(port, int) and 0 < port < 2**16 and _is_host(host)):
        raise ConfigError(f"widowx: host and port must be an address and a number up to {2**16 - 1}, got {host!r} and {port!r}")
    if len(home) != 7 or not np.all(np.isfinite(home)):
        raise ConfigError(f"widowx: home must be a state of seven numbers, see soar.types.Observation, got {home}")
    if gripper is not None and (len(gripper) != 2 or gripper[0] == gripper[1]):
        raise ConfigError(f"widowx: gripper must be [closed, open], got {gripper}")
    if workspace is not None and not workspace.contains(np.array(home[:3]), _EDGE_M):
        raise ConfigError(
            f"widowx: home {[float(number) for number in home[:3]]} lies outside of the workspace {workspace.low} … "
            f"{workspace.high}: correct `workspace`, or say another `home` in the options"
        )
    lag_m = (limits or SafetyLimits()).lag_m
    if lag_m < 0.01:
        raise ConfigError(f"widowx: its server adds up actions, so that limits.lag_m must be at least 0.01 m, got {lag_m}")
    patience = {"init": 60.0, "move": 20.0, "step": 3.0, "hash": HASH_S, "restart": 90.0}
    if unknown := set(waits or {}) - set(patience):
        raise ConfigError(f"widowx: waits has {', '.join(patience)}; got {', '.join(sorted(unknown))}")
    patience |= waits or {}
    times = {"move_s": move_s, "lag_rad": lag_rad, "effort": effort} | {
        f"waits.{name}": value for name, value in patience.items()
    }
    if wrong := [f"{name} {value:g}" for name, value in times.items() if not 0 < value < np.inf]:
        raise ConfigError(f"widowx: must be positive numbers: {', '.join(wrong)}")
    if not (0 <= period_s < np.inf and view >= 0):
        raise ConfigError(f"widowx: period_s and view must be at least 0, got {period_s:g} and {view}")
    settings = Settings(
        home=tuple(float(number) for number in home),
        move_s=float(move_s),
        camera=camera,
        view=view,
        gripper=gripper,
        env_params=env_params or {},
        image_size=min(image_size) if image_size else 256,
        effort=effort,
        init_s=patience["init"],
        move_limit_s=patience["move"],
        step_s=patience["step"],
    )
    return WidowX(
        Wire(host, port),
        settings,
        patience,
        image_size,
        period_s=period_s,
        commanded=Commanded(lag_m, lag_rad),
        recovery=Recovery(settings.home, _inwards(settings.home, workspace)),
    )


def _is_host(host: str) -> bool:
    """Whether it may be a name or an address; a port has an option of its own."""
    if ":" in host:
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
    return bool(host) and host.isprintable() and not set(host) & set("/ ")


def _inwards(home: tuple[float, ...], workspace: WorkspaceBox | None) -> tuple[float, ...]:
    """Return a direction (3,) from home towards the middle of the workspace, each part -1, 0 or 1."""
    if workspace is None:
        return (0.0, 0.0, 0.0)
    low, high = np.array(workspace.low), np.array(workspace.high)
    return tuple(float(part) for part in np.where((low + high) / 2 >= np.array(home[:3]), 1.0, -1.0))


class WidowX:
    """A `Robot`; made by `open_widowx`."""

    def __init__(
        self,
        wire: Wire,
        settings: Settings,
        patience: Mapping[str, float],
        image_size: tuple[int, int] | None,
        *,
        period_s: float,
        commanded: Commanded,
        recovery: Recovery,
    ) -> None:
        self._wire, self._settings, self._patience, self._size = wire, settings, patience, image_size
        self._period_s, self._commanded = period_s, commanded
        self._follower, self._recovery = Follower(), recovery
        self._next_s = 0.0
        self._actions = 0
        self._begun = False
        self._seen: Seen | None = None
        self._fault = Health(ok=True)
        try:
            self._server: Server = self._who(wire.connect(patience["hash"]))
            try:
                self._first_look()
            except RobotFault:
                if not wire.lost:
                    raise
                # It has said who it is: it may be starting again, as in the middle of a night's work.
                self._server = self._who(wire.reconnect(min(patience["restart"], _OPENING_S), patience["hash"]))
                self._first_look()
        except RobotFault as fault:
            do = _DO["lost" if wire.lost else fault.kind]
            wire.close()
            where = "" if wire.address in fault.detail else f"{wire.address}: "
            raise ConfigError(f"{where}{fault.detail}. {do}") from fault
        except ConfigError:
            wire.close()
            raise

    @property
    def kind(self) -> str:
        """Which dialect the server speaks."""
        return self._server.kind

    def observe(self) -> Observation:
        """Return what the robot perceives now."""
        seen = self._faulty(self._server.look)
        self._seen = seen
        self._commanded.at(seen.state)
        if complaint := seen.motors or self._follower.complaint(seen.state):
            raise self._failed("motor", complaint)
        image = seen.image if self._size is None else resized(seen.image, self._size[::-1])
        return Observation(image_HWC=image, state=seen.state.astype(np.float32))

    def act(self, action: Action) -> Action:
        """Execute one action (7,), `period_s` after the one before; returns what was sent."""
        if self._seen is None:
            self.observe()
        assert self._seen is not None
        wanted = np.asarray(action, np.float64)
        self._follower.told(wanted)
        possible = wanted * np.array([1, 1, 1, *self._server.turns, 1])
        sent = self._commanded.limited(possible, self._seen.state)
        self._pace()
        self._commanded.advance(sent)
        self._seen = None
        self._faulty(lambda: self._server.step(sent))
        self._actions += 1
        if self._server.asks_motors and self._actions % _MOTORS_EVERY == 0:
            self._check_motors()
        return sent.astype(np.float32)

    def home(self) -> None:
        """Open the gripper and go to the pose from which every episode starts."""
        self._forget()
        self._fault = Health(ok=True)
        self._begin()
        self._commanded.at(self._faulty(lambda: self._recovery.go_home(self._server)))

    def health(self) -> Health:
        """Say whether the robot works, as of the last request; asks for nothing."""
        if self._fault.ok and self._wire.lost:
            return Health(ok=False, fault="connection", detail="an earlier request had no answer")
        return self._fault

    def recover(self) -> None:
        """Ask until the server answers, then go home; reboot the motors when that does not work."""
        self._forget()
        if self._wire.lost:
            try:
                self._server = self._who(self._wire.reconnect(self._patience["restart"], self._patience["hash"]))
            except ConfigError as error:
                raise RobotFault("unrecoverable", str(error)) from error
        self._fault = Health(ok=True)
        self._begin()
        self._commanded.at(self._faulty(lambda: self._recovery.recover(self._server)))

    def reboot(self) -> None:
        """Go to the sleep pose, reboot one joint after another, and go home; `soar robot check` tries it."""
        self._forget()
        self._faulty(lambda: self._recovery.reboot(self._server))
        self.home()

    def drill(self) -> None:
        """Ask for something and throw the answer away, as when a cable is pulled: `recover` has to follow."""
        self._wire.break_off({"type": "obs", "keys": {"state"}})

    def motors(self) -> str:
        """Return what is wrong with the motors; empty when nothing is.

        Raises:
            RobotFault: The server does not tell, or it cannot be asked.
        """
        if not self._server.tells_motors:
            raise RobotFault("driver", f"a server of the dialect {self.kind} does not tell")
        return self._faulty(self._server.motors)

    def halt(self) -> None:
        """Ask the server for nothing any more."""
        self._wire.halted = True

    def close(self) -> None:
        """Let go of the server. The arm holds its position."""
        self._wire.close()

    def _who(self, description: Any) -> Server:
        return server_of(description, self._wire.ask, self._settings, self._wire.address)

    def _first_look(self) -> None:
        """Look once. Pictures keep their size from here on, so a server that others set up for other ones is set up anew."""
        try:
            ours = self._server.look().whole
        except UninitialisedError:
            ours = False
        if not ours:
            self._server.begin()
            self._begun = True

    def _begin(self) -> None:
        if not self._begun:
            self._faulty(self._server.begin)
            self._begun = True

    def _check_motors(self) -> None:
        if error := self._faulty(self._server.motors):
            raise self._failed("motor", error)

    def _pace(self) -> None:
        wait_s = self._next_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._next_s = time.monotonic() + self._period_s

    def _forget(self) -> None:
        self._seen = None
        self._commanded.forget()
        self._follower.forget()

    def _faulty(self, call: Callable[[], T]) -> T:
        """Call the server; remember what failed for `health`."""
        try:
            return call()
        except RobotFault as fault:
            raise self._failed(fault.kind, fault.detail) from fault
        except UninitialisedError:
            self._begun = False
            raise self._failed("connection", "the server has no robot: it was started again") from None

    def _failed(self, kind: str, detail: str) -> RobotFault:
        self._fault = Health(ok=False, fault=kind, detail=detail)
        return RobotFault(kind, detail)
