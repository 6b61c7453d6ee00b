"""A driver for tests, in LeRobot's environment: its own `SO101Follower`, of which the serial bus alone is another one.

`soar robot serve --driver lerobot_arm:open_arm` runs it. MuJoCo is behind the bus (`tests.robots.so101`), and the camera is
registered as those of plug-ins are.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from lerobot.cameras import Camera, CameraConfig
from lerobot.robots.so_follower import so_follower

from soar.robots.lerobot.driver import open_lerobot
from soar.robots.lerobot.robot import LeRobotArm
from soar.robots.safety import SafetyLimits
from soar.types import WorkspaceBox
from tests.robots.so101 import MOTORS, Bus

_capture = cv2.VideoCapture


@CameraConfig.register_subclass("noise")
@dataclass
class NoiseCameraConfig(CameraConfig):
    """A camera that sees noise."""

    late: bool = False


class NoiseCamera(Camera):
    """The camera of that configuration."""

    def __init__(self, config: NoiseCameraConfig) -> None:
        super().__init__(config)
        self._config, self._connected, self._frames = config, False, 0

    @property
    def is_connected(self) -> bool:
        """Whether it is."""
        return self._connected

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """None can be found."""
        return []

    def connect(self, warmup: bool = True) -> None:
        """Connect."""
        self._connected = True

    def read(self, *_: Any, **__: Any) -> Any:
        """Return a picture."""
        self._frames += 1
        shape = (self._config.height, self._config.width, 3)
        return np.random.default_rng(self._frames).integers(0, 255, shape, np.uint8)

    async_read = read_latest = read

    def disconnect(self) -> None:
        """Disconnect."""
        self._connected = False


class Film:
    """A film in the place of a device, which can be told to have the size and the rate that it has."""

    def __init__(self, *where: Any) -> None:
        self._film = _capture(*where)

    def __getattr__(self, name: str) -> Any:
        """Return what the film has."""
        return getattr(self._film, name)

    def set(self, property: int, value: float) -> bool:
        """Return whether it is so."""
        return bool(self._film.get(property) == value)


def open_arm(
    calibrated: bool = True,
    camera: Mapping[str, Any] | None = None,
    limits: SafetyLimits | None = None,
    workspace: WorkspaceBox | None = None,
) -> LeRobotArm:
    """Return the arm: calibrated by a file in a new folder, with a camera of 64 x 48 pixels.

    Args:
        calibrated: Whether its motors say what the file says.
        camera: Configuration of another camera instead.
        limits: Those of the shell around it.
        workspace: The box that the shell keeps it in.
    """
    folder = Path(tempfile.mkdtemp())
    motors = {
        name: {"id": number, "drive_mode": 0, "homing_offset": 0, "range_min": 0, "range_max": 4095}
        for number, name in enumerate(MOTORS, 1)
    }
    (folder / "arm.json").write_text(json.dumps(motors), encoding="utf-8")

    class OtherBus(Bus):
        def __init__(self, port: str, motors: Any, calibration: Any = None) -> None:
            super().__init__(port, motors, calibration)
            self.is_calibrated = calibrated and bool(calibration)

    so_follower.FeetechMotorsBus, cv2.VideoCapture = OtherBus, Film
    seen = camera or {"type": "noise", "width": 64, "height": 48, "fps": 30}
    config = {"port": "/dev/ttyACM0", "id": "arm", "calibration_dir": str(folder), "cameras": {"front": dict(seen)}}
    return open_lerobot("so101_follower", config, limits=limits, workspace=workspace)
