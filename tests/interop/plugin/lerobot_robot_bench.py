"""A plug-in of LeRobot as other people write them: a type of robot of its own, found by the name of its distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lerobot.robots import Robot, RobotConfig

from tests.robots.so101 import MOTORS, Bus, Camera


@RobotConfig.register_subclass("bench_arm")
@dataclass
class BenchArmConfig(RobotConfig):
    """Its configuration."""

    port: str = ""


class BenchArm(Robot):
    """An SO-101 under another name, simulated."""

    config_class = BenchArmConfig
    name = "bench_arm"

    def __init__(self, config: BenchArmConfig) -> None:
        super().__init__(config)
        self.bus, self.cameras = Bus(config.port), {"front": Camera()}

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        """What it sees."""
        return self.action_features | {"front": (48, 64, 3)}

    @cached_property
    def action_features(self) -> dict[str, Any]:
        """What it is told."""
        return {f"{motor}.pos": float for motor in MOTORS}

    @property
    def is_connected(self) -> bool:
        """Whether it is."""
        return self.bus.is_connected

    @property
    def is_calibrated(self) -> bool:
        """It needs none."""
        return True

    def calibrate(self) -> None:
        """Nothing to do."""

    def configure(self) -> None:
        """Switch the torque on."""
        self.bus.enable_torque()

    def connect(self, calibrate: bool = True) -> None:
        """Connect."""
        self.bus.connect()
        self.cameras["front"].connect()
        self.configure()

    def get_observation(self) -> dict[str, Any]:
        """Return joints and picture."""
        joints = {f"{motor}.pos": value for motor, value in self.bus.sync_read("Present_Position").items()}
        return joints | {"front": self.cameras["front"].async_read()}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Tell the joints."""
        self.bus.sync_write("Goal_Position", {name.removesuffix(".pos"): value for name, value in action.items()})
        return action

    def disconnect(self) -> None:
        """Disconnect."""
        self.bus.disconnect(False)
