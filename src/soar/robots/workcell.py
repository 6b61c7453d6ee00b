"""A workcell is what stands in one place: a robot in its safety shell, its camera, and the scene in front of it.

    name: bench-3
    robot: my-robot.yaml             # a name, a path, or the keys of such a file (`soar.robots.registry`)
    scene: my-scene.yaml             # a name, a path, or the keys of such a file (`soar.scenes`)
    workspace: {low: [0.15, -0.2, 0.01], high: [0.4, 0.2, 0.25]}    # [m]; else the scene's, else the robot's
    image_size: [480, 640]           # height and width of the camera's pictures; what the driver gives by default
    cameras: [wrist, side]           # what the robot's further cameras are called, beside the main one
    reference: start.png             # how the table looks when a trial begins

What a place can do besides is what its driver has besides the methods of `soar.robots.base.Robot`; each is optional:

    reset_for(instruction, seed)     put the scene into a start of that task, the same for the same seed
    set_table(seed)                  put everything somewhere
    truth(instruction)               whether the task is done, None when that is not known: evaluation judges by it
    imagine(instruction, seed)       a picture of a success some steps ahead: the subgoal model `oracle`
    answer(question)                 the true answer: the vision-language model `oracle`
    motors()                         what is wrong with the motors, empty when nothing is; `soar robot check` asks
    drill()                          lose the connection, as when a cable is pulled; `soar robot check` recovers
    reboot()                         reboot all motors and go home, for the same
    halt()                           make no other motion; called in another thread, so it sets a flag and waits for nothing
    close()                          leave the arm safe, and let go of it. Without one the arm holds its position

A simulator has the first five, a real table none. `sim:scene1` is the name of the simulated workcell of the scene `scene1`.

Failure. Whatever a driver raises is a `RobotFault` with its words; a call that takes longer than `timeouts` says is one, too. A
workcell that is opened is looked at once, so that a driver that cannot see is refused before anything moves or is written.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from soar.cameras import check_camera_names, differences, listed
from soar.configuration import find, read_yaml, validate
from soar.errors import ConfigError, RobotFault
from soar.robots.driver import Driver
from soar.robots.registry import RobotConfig, load_robot, robot_config
from soar.robots.safety import SafeRobot, SafetyError
from soar.robots.stopping import StopSwitch
from soar.scenes import SceneFile, read_scene, scene_file
from soar.types import Image, Scene, WorkspaceBox

log = logging.getLogger(__name__)
SIMULATED = "sim:"
"""How the name of a scene's simulated workcell begins."""
SIMULATED_ROBOT = "widowx-sim"
_open: weakref.WeakSet[Workcell] = weakref.WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkcellConfig:
    """A workcell that is not opened yet; see the module's docstring.

    Attributes:
        name: Its name, that of its robot in the episodes.
        robot: How to drive it.
        scene: What is in front of it.
        workspace: The box that the gripper never leaves.
        image_size: Height and width of the pictures [px]; None: whatever the driver gives.
        reference: Picture of the table when a trial begins.
        cameras: The robot's further cameras, by name.
        path: Of the file; None for the simulated workcell of a scene.
    """

    name: str
    robot: RobotConfig
    scene: SceneFile
    workspace: WorkspaceBox
    image_size: tuple[int, int] | None = None
    reference: Path | None = None
    cameras: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def simulated(self) -> bool:
        """Whether it may be opened as often as one likes."""
        return self.robot.simulated

    @property
    def is_tabletop(self) -> bool:
        """Whether it is the tabletop that comes with SOAR, in which demonstrations can be recorded."""
        return self.robot.driver == load_robot(SIMULATED_ROBOT).driver

    def open(self, *, image_size: int | None = None, questions: Path | None = None) -> Workcell:
        """Open the driver, and look once.

        Args:
            image_size: What a simulated camera is asked for when the file does not say [px], if its driver can be asked.
            questions: File of questions that count more than the scene's.

        Raises:
            ConfigError: The driver cannot be imported or opened, or what it shows is not what was said.
        """
        scene = self.scene.scene(questions)
        size = self.image_size
        if size is None and self.simulated and image_size is not None and self.robot.takes("image_size"):
            size = image_size, image_size
        workcell = Workcell(self, scene, size)
        try:
            workcell.robot.observe()
        except (RobotFault, SafetyError) as error:
            workcell.close()
            detail = error.detail if isinstance(error, RobotFault) else str(error)
            raise ConfigError(f"workcell {self.name!r}: its driver {self.robot.driver} cannot be used: {detail}") from error
        try:
            self.check_given(workcell.robot.cameras)
        except ConfigError:
            workcell.close()
            raise
        return workcell

    def check_given(self, given: Sequence[str]) -> None:
        """Refuse further cameras of a robot that are not those that this file names.

        Raises:
            ConfigError: One is missing, or not named.
        """
        missing, unnamed = differences(self.cameras, given)
        if not missing and not unnamed:
            return
        where = f"workcell {self.name!r}" if self.path is None else str(self.path)
        gives = f"and its driver {self.robot.driver} gives {listed(given)}"
        if missing:
            raise ConfigError(
                f"{where}: cameras: {', '.join(missing)} is not there: the file names {listed(self.cameras)}, {gives}. Add it "
                "to the robot's options, or take it out of the list"
            )
        raise ConfigError(
            f"{where}: cameras: {', '.join(unnamed)} is not named: the file names {listed(self.cameras)}, {gives}. Write "
            f"`cameras: [{', '.join(sorted(given))}]` there, or take the camera out of the robot's options"
        )


class Workcell:
    """A workcell that is open; a context manager that closes it. Made by `open_workcell`."""

    def __init__(self, config: WorkcellConfig, scene: Scene, image_size: tuple[int, int] | None) -> None:
        self.config, self.name, self.scene = config, config.name, scene
        self._stop = None if config.simulated else StopSwitch(config.name, device=config.robot.device)
        try:
            with nullcontext() if self._stop is None else self._stop.motion("open"):
                self._driver = Driver(
                    lambda: config.robot.make(
                        scene=config.scene, image_size=image_size, workspace=config.workspace, cameras=config.cameras
                    ),
                    where=f"workcell {self.name!r}",
                    timeouts=None if self._stop is None else config.robot.timeouts,
                )
        except BaseException:
            if self._stop is not None:
                self._stop.release()
            raise
        if self._stop is not None:
            self._stop.halts(self._driver.halt)
        self.robot = SafeRobot(self._driver, config.workspace, config.robot.limits, image_size=image_size, stop=self._stop)
        _open.add(self)

    def ability(self, name: str) -> Callable[..., Any] | None:
        """Return what the place can do besides under this name (see the module's docstring), None when it cannot."""
        return self._driver.ability(name)

    @property
    def reset_for(self) -> Callable[[str, int], None] | None:
        """Puts the scene into a start of a task; None: nobody can but a person."""
        return self._moving("reset_for")

    @property
    def set_table(self) -> Callable[[int], None] | None:
        """Puts everything somewhere; None: nobody can but a person."""
        return self._moving("set_table")

    @property
    def reboot(self) -> Callable[[], None] | None:
        """Reboots all motors and goes home; None: the driver reboots them only in `recover`, or not at all."""
        return self._moving("reboot")

    @property
    def truth(self) -> Callable[[str], bool | None] | None:
        """Says whether a task is done; None: nobody knows."""
        return self.ability("truth")

    @property
    def imagine(self) -> Callable[[str, int], Image] | None:
        """The subgoal model `oracle`."""
        return self.ability("imagine")

    @property
    def answer(self) -> Callable[[str], bool] | None:
        """The vision-language model `oracle`."""
        return self.ability("answer")

    def close(self) -> None:
        """Leave the arm safe and let go of it; safe to call again. One that was stopped is let go of where it is."""
        _open.discard(self)
        if self._stop is not None and self._stop.pressed:
            self._driver.abandon()
        else:
            self._driver.close()
        if self._stop is not None:
            self._stop.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _moving(self, name: str) -> Callable[..., Any] | None:
        """Return an ability after which the arm may be somewhere else."""
        function = self.ability(name)
        if function is None:
            return None

        def call(*arguments: Any) -> Any:
            self.robot.forget()
            with nullcontext() if self._stop is None else self._stop.motion(name):
                return function(*arguments)

        return call


def open_workcell(name: str, *, image_size: int | None = None, questions: Path | None = None) -> Workcell:
    """Open a workcell by name or path, or the simulated one of a scene by `sim:SCENE`; see `WorkcellConfig.open`.

    Raises:
        ConfigError: Its file, its scene or its driver is not what it should be.
    """
    return load_workcell(name).open(image_size=image_size, questions=questions)


def anything_open() -> bool:
    """Whether this process has an arm to leave safe."""
    return any(not workcell.config.simulated for workcell in list(_open))


def close_all() -> None:
    """Close what this process has open, before it ends in a hurry; one that cannot be closed keeps no other from it."""
    for workcell in list(_open):
        try:
            workcell.close()
        except Exception:
            log.exception("workcell %s did not close. Look at the arm.", workcell.name)


def load_workcell(name: str) -> WorkcellConfig:
    """Read a workcell's file and the files that it names, or the simulated workcell of a scene.

    Raises:
        UnknownNameError: There is no such workcell, robot or scene, or a key is unknown.
        ConfigError: A file is invalid, or nothing says how large the workspace is.
    """
    if name.startswith(SIMULATED):
        return _config("sim", load_robot(SIMULATED_ROBOT), read_scene(name.removeprefix(SIMULATED)), _File())
    path = find("workcells", name)
    said = validate(_File, read_yaml(path), str(path))
    return _config(said.name or path.stem, _robot(said.robot, path), _scene(said.scene, path), said, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What a workcell's file says."""

    name: str = ""
    robot: str | dict[str, Any] = ""
    scene: str | dict[str, Any] = ""
    workspace: WorkspaceBox | None = None
    image_size: int | tuple[int, int] | None = None
    reference: str = ""
    cameras: tuple[str, ...] = ()


def _config(name: str, robot: RobotConfig, scene: SceneFile, said: _File, path: Path | None = None) -> WorkcellConfig:
    workspace = said.workspace or scene.workspace or robot.workspace
    if workspace is None:
        raise ConfigError(
            f"{path or name}: no `workspace`: say in which box [m] of the robot's base frame the gripper has to stay, such as\n"
            "  workspace: {low: [0.15, -0.2, 0.01], high: [0.4, 0.2, 0.25]}"
        )
    if any(low >= high for low, high in zip(workspace.low, workspace.high, strict=True)):
        raise ConfigError(f"{path or name}: workspace: each number of `low` must be below that of `high`, got {workspace}")
    size = (said.image_size, said.image_size) if isinstance(said.image_size, int) else said.image_size
    if size is not None and min(size) < 1:
        raise ConfigError(f"{path or name}: image_size must be [height, width] in pixels, got {list(size)}")
    folder = path.parent if path else Path()
    reference = folder / said.reference if said.reference else None
    if reference is not None and not reference.is_file():
        raise ConfigError(f"{path}: reference: there is no picture {reference}; `soar robot box` takes one")
    return WorkcellConfig(
        name=name,
        robot=robot,
        scene=scene,
        workspace=workspace,
        image_size=size,
        reference=reference,
        cameras=check_camera_names(said.cameras, f"{path or name}: cameras"),
        path=path,
    )


def _robot(said: str | dict[str, Any], path: Path) -> RobotConfig:
    if not said:
        raise ConfigError(f"{path}: `robot` is missing: a name, the path of a YAML file, or `driver: MODULE:NAME` below it")
    return robot_config(said, path) if isinstance(said, dict) else load_robot(_beside(said, path))


def _scene(said: str | dict[str, Any], path: Path) -> SceneFile:
    if not said:
        raise ConfigError(f"{path}: `scene` is missing: a name, the path of a YAML file, or `tasks` below it")
    return scene_file(said, path.stem, path) if isinstance(said, dict) else read_scene(_beside(said, path))


def _beside(name: str, path: Path) -> str:
    """Return the path of a file that lies beside the one that names it; any other name as it is."""
    beside = path.parent / name
    return str(beside) if beside.is_file() else name
