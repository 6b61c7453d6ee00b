"""An SO-101 that is not there: its motors on a bus, MuJoCo behind them. Needs neither LeRobot nor a serial port.

`Bus` has the methods of LeRobot's `FeetechMotorsBus` that its `SO101Follower` calls, so that the real class runs on it
(`tests/interop/lerobot_arm.py`); `Follower` stands for that class where LeRobot is not installed. Time is that of a clock: the
physics catch up with it whenever the bus is used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np

from soar.robots.lerobot.arms import load_arm

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
REGISTERS = ("Present_Position", "Present_Load", "Present_Temperature", "Status", "Goal_Position", "Torque_Enable")
LIMP = (0.0, -1.6, 1.55, 1.2, 0.0, 0.0)
"""How it lies when nobody has moved it yet [rad]."""


class Time:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def physics() -> mujoco.MjModel:
    """The arm with its masses and motors, and without the meshes, which take seconds to load."""
    spec = mujoco.MjSpec.from_file(str(load_arm("so101", "so101_follower").model_path()))
    for part in [*spec.geoms, *spec.meshes]:
        spec.delete(part)
    spec.option.timestep = 0.004
    return spec.compile()


class Bus:
    """Six motors, and what can go wrong with them.

    Attributes:
        status: Error register of each motor; one that is in an error has no torque.
        reboots: How often its torque has to be switched before an error goes away.
        lost: How many packets are lost from here on.
    """

    def __init__(
        self, port: str = "", motors: Any = None, calibration: Any = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.port, self.calibration, self._clock = port, calibration or {}, clock
        self.motors = motors or {name: SimpleNamespace(model="sts3215", id=number) for number, name in enumerate(MOTORS, 1)}
        self.model_ctrl_table = {"sts3215": {name: (0, 2) for name in REGISTERS}}
        self.is_connected, self.is_calibrated = False, True
        self.status = dict.fromkeys(MOTORS, 0)
        self.temperature = dict.fromkeys(MOTORS, 31)
        self.load = dict.fromkeys(MOTORS, 100)
        self.reboots, self.lost, self.unplugged = 1, 0, False
        self.told: list[dict[str, float]] = []
        self.at_s: list[float] = []
        self.torque = dict.fromkeys(MOTORS, False)
        self.model = physics()
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:] = self.data.ctrl[:] = LIMP
        self._gains = self.model.actuator_gainprm.copy(), self.model.actuator_biasprm.copy()
        self._scale = np.array([np.pi / 180] * 5 + [1.92 / 100])
        self._zero = np.array([0.0] * 5 + [-0.17453])
        self._then_s: float | None = None

    def connect(self, handshake: bool = True) -> None:
        if self.unplugged:
            raise ConnectionError(f"Could not connect on port '{self.port}'. Make sure you are using the correct port.")
        self.is_connected = True

    def disconnect(self, disable_torque: bool = True) -> None:
        if disable_torque:
            self.disable_torque()
        self.is_connected = False

    def configure_motors(self) -> None: ...

    @contextlib.contextmanager
    def torque_disabled(self, motors: Any = None) -> Iterator[None]:
        self.disable_torque()
        yield
        self.enable_torque()

    def write(self, register: str, motor: str, value: float, **_: Any) -> None: ...

    def disable_torque(self, motors: Any = None, num_retry: int = 0) -> None:
        self._step()
        for motor in [motors] if isinstance(motors, str) else motors or MOTORS:
            self.torque[motor] = False
            if self.status[motor]:
                self.reboots -= 1
                self.status[motor] *= self.reboots > 0

    def enable_torque(self, motors: Any = None, num_retry: int = 0) -> None:
        self._step()
        for motor in [motors] if isinstance(motors, str) else motors or MOTORS:
            self.torque[motor] = True

    def sync_read(self, register: str, motors: Any = None, *, normalize: bool = True, num_retry: int = 0) -> dict[str, Any]:
        self._packet()
        values: Any = {"Present_Load": self.load, "Present_Temperature": self.temperature, "Status": self.status}.get(register)
        if values is None:
            assert register == "Present_Position"
            values = dict(zip(MOTORS, (self.data.qpos[:6] - self._zero) / self._scale, strict=True))
        return {motor: values[motor] for motor in motors or MOTORS}

    def sync_write(self, register: str, values: dict[str, float], *, normalize: bool = True, num_retry: int = 0) -> None:
        assert register == "Goal_Position"
        self._packet()
        self.told.append(dict(values))
        self.at_s.append(self._clock())
        for number, motor in enumerate(MOTORS):
            if motor in values:
                self.data.ctrl[number] = values[motor] * self._scale[number] + self._zero[number]

    def _packet(self) -> None:
        self._step()
        if self.unplugged or not self.is_connected:
            raise ConnectionError("Failed to sync read: There is no status packet!")
        if self.lost:
            self.lost -= 1
            raise ConnectionError("Failed to sync read: There is no status packet!")

    def _step(self) -> None:
        """Let the physics catch up."""
        now_s = self._clock()
        if self._then_s is None:
            self._then_s = now_s
        on = np.array([self.torque[motor] and not self.status[motor] for motor in MOTORS])
        self.model.actuator_gainprm[:] = self._gains[0] * on[:, None]
        self.model.actuator_biasprm[:] = self._gains[1] * on[:, None]
        steps = min(int((now_s - self._then_s) / self.model.opt.timestep), 2000)
        mujoco.mj_step(self.model, self.data, steps)
        self._then_s += steps * self.model.opt.timestep


class Camera:
    """A picture that is different each time, unless it is told to be late."""

    def __init__(self) -> None:
        self.is_connected, self.late, self.there, self.frames = False, False, True, 0

    def connect(self, warmup: bool = True) -> None:
        if not self.there:
            raise ConnectionError("Failed to open OpenCVCamera(7).")
        self.is_connected = True

    def disconnect(self) -> None:
        self.is_connected = False

    def async_read(self, timeout_ms: float = 200) -> Any:
        if self.late:
            raise TimeoutError("Timed out waiting for frame from camera OpenCVCamera(7) after 200 ms.")
        self.frames += 1
        return np.random.default_rng(self.frames).integers(0, 255, (48, 64, 3), np.uint8)


class Follower:
    """What `SO101Follower` does with bus and cameras."""

    name = "so101_follower"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.bus, self.cameras = Bus("/dev/ttyACM0", clock=clock), {"front": Camera()}
        self.calibration_fpath = "calibration/arm.json"

    @property
    def observation_features(self) -> dict[str, Any]:
        return self.action_features | {name: (48, 64, 3) for name in self.cameras}

    @property
    def action_features(self) -> dict[str, Any]:
        return {f"{motor}.pos": float for motor in MOTORS}

    @property
    def is_connected(self) -> bool:
        return self.bus.is_connected and all(camera.is_connected for camera in self.cameras.values())

    @property
    def is_calibrated(self) -> bool:
        return self.bus.is_calibrated

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "it would ask"
        self.bus.connect()
        for camera in self.cameras.values():
            camera.connect()
        with self.bus.torque_disabled():
            self.bus.configure_motors()

    def get_observation(self) -> dict[str, Any]:
        seen = {f"{motor}.pos": value for motor, value in self.bus.sync_read("Present_Position").items()}
        return seen | {name: camera.async_read() for name, camera in self.cameras.items()}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.bus.sync_write("Goal_Position", {name.removesuffix(".pos"): value for name, value in action.items()})
        return action
