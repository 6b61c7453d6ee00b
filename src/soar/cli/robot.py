"""Robots: `soar robot serve` offers one to another environment; the others are in modules of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from soar.cli.robot_check import Box, Check
from soar.cli.robot_stop import SimulateWidowX, Stop

if TYPE_CHECKING:
    from soar.robots.registry import RobotConfig
    from soar.scenes import SceneFile
    from soar.types import WorkspaceBox


@dataclass(frozen=True, kw_only=True)
class ServeRobot:
    """Offer a robot to SOAR in another environment: another Python, other pins, another machine.

    There, a workcell's file says `robot: {driver: remote, options: {url: http://127.0.0.1:8124}}`. A client needs the token in
    the environment variable SOAR_TOKEN; without one, a new one is made and shown. The safety shell works on both sides. When
    the client goes away, and when this command ends (Ctrl-C, SIGTERM), the driver's `close` leaves the arm safe.

    Example: soar robot serve --driver my_lab.arm:open_arm --option port=/dev/ttyUSB0 --workspace 0.15 -0.2 0.02 0.4 0.2 0.25
    """

    driver: str | None = None
    """MODULE:NAME of a function or class that makes a robot (docs/how-to/your-robot.md)."""
    option: tuple[str, ...] = ()
    """What the driver is called with, such as `port=/dev/ttyUSB0 speed=3`."""
    robot: str | None = None
    """A robot's name or YAML file, instead of --driver: its driver, options, limits, workspace and timeouts."""
    workcell: str | None = None
    """A workcell's name or YAML file, instead of either: its robot, its workspace, and its scene for drivers that want one."""
    workspace: tuple[float, float, float, float, float, float] | None = None
    """The box that the gripper never leaves, X Y Z of its low corner and of its high one [m], in the robot's base frame; the
    file's by default."""
    translation_m: float | None = None
    """Longest step of one action [m]; the file's, or 0.05."""
    rotation_rad: float | None = None
    """Longest rotation of one action [rad]; the file's, or 0.35."""
    lag_m: float | None = None
    """How far the driver's commanded pose may run ahead [m]; the file's, or 0.06."""
    host: str = "127.0.0.1"
    """Address to listen on. By default only this machine can ask; 0.0.0.0 lets others. Token and pictures travel in the clear,
    so that between buildings a tunnel belongs around them."""
    port: int = 8124
    """Port to listen on; 0 for any that is free."""
    silence_s: float = 300.0
    """A client that asks for nothing for so long is taken to be gone [s]."""

    def run(self) -> None:
        """Run it."""
        import sys

        from soar.cli.ending import stopped
        from soar.cli.flags import changed
        from soar.errors import ConfigError
        from soar.serving.auth import choose_token
        from soar.serving.robot_host import RobotServerConfig
        from soar.serving.robots import serving

        robot, workspace, scene, cameras = self._robot()
        if workspace is None:
            raise ConfigError("say in which box the gripper has to stay [m]: --workspace 0.15 -0.2 0.02 0.4 0.2 0.25")
        if any(low >= high for low, high in zip(workspace.low, workspace.high, strict=True)):
            raise ConfigError(f"--workspace: each number of the low corner must be below that of the high one, got {workspace}")
        limits = changed(robot.limits, translation_m=self.translation_m, rotation_rad=self.rotation_rad, lag_m=self.lag_m)
        token, new = choose_token()

        def make(image_size: tuple[int, int] | None) -> Any:
            offered = {"image_size": image_size, "cameras": cameras or ()} | ({"scene": scene} if scene is not None else {})
            return robot.make(**offered, limits=limits, workspace=workspace)

        config = RobotServerConfig(
            name=robot.driver,
            make=make,
            workspace=workspace,
            limits=limits,
            timeouts=robot.timeouts,
            device=robot.device,
            cameras=cameras,
            token=token,
            host=self.host,
            port=self.port,
            silence_s=self.silence_s,
        )
        started = False
        try:
            with serving(config) as server:
                started = True  # from now on an end is no interruption
                if new:
                    sys.stdout.write(f"clients need the token: export SOAR_TOKEN={token}\n")
                sys.stdout.write(f"{robot.driver} is served at {server.url}\n")
                sys.stdout.flush()  # whoever reads it through a pipe waits for it
                server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt as error:  # through `serving`, which closed the arm
            if not started:
                raise
            raise stopped(error) from None

    def _robot(self) -> tuple[RobotConfig, WorkspaceBox | None, SceneFile | None, tuple[str, ...] | None]:
        """Return what the flags name: a robot, its box, the scene in front of it, and its further cameras."""
        from soar.errors import ConfigError
        from soar.robots.registry import RobotConfig, load_robot
        from soar.robots.workcell import load_workcell
        from soar.types import WorkspaceBox
        from soar.untrusted import parse_yaml

        if sum(name is not None for name in (self.driver, self.robot, self.workcell)) != 1:
            raise ConfigError("name one of --driver MODULE:NAME, --robot FILE and --workcell FILE")
        scene, box, cameras = None, None, None
        if self.workcell is not None:
            cell = load_workcell(self.workcell)
            robot, box, scene, cameras = cell.robot, cell.workspace, cell.scene, cell.cameras
        elif self.robot is not None:
            robot = load_robot(self.robot)
            box = robot.workspace
        else:
            robot = RobotConfig(driver=str(self.driver), folder=Path())
        options: dict[str, Any] = {}
        for text in self.option:
            name, equals, value = text.partition("=")
            if not (equals and name.isidentifier()):
                raise ConfigError(f"--option {text!r} must be name=value, such as port=/dev/ttyUSB0")
            try:
                options[name] = parse_yaml(value)
            except ValueError as error:
                raise ConfigError(f"--option {text!r}: {error}") from error
        robot = dataclasses.replace(robot, options=robot.options | options)
        if self.workspace is not None:
            x0, y0, z0, x1, y1, z1 = self.workspace
            box = WorkspaceBox(low=(x0, y0, z0), high=(x1, y1, z1))
        return robot, box, scene, cameras


@dataclass(frozen=True, kw_only=True)
class Robot:
    """Robots: check one before the night, stop it, measure its workspace, offer it to another environment."""

    command: (
        Annotated[Check, tyro.conf.subcommand("check", prefix_name=False)]
        | Annotated[Stop, tyro.conf.subcommand("stop", prefix_name=False)]
        | Annotated[Box, tyro.conf.subcommand("box", prefix_name=False)]
        | Annotated[ServeRobot, tyro.conf.subcommand("serve", prefix_name=False)]
        | Annotated[SimulateWidowX, tyro.conf.subcommand("simulate-widowx", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
