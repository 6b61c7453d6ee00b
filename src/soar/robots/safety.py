"""The shell around every driver: whatever a policy says, the gripper stays in its box, and a failing robot is noticed at once.

    policy ── action ──►  SafeRobot  ── bounded action ──►  driver
                          checks shape and finiteness       (simulated, WidowX, any Gymnasium environment)
                          limits the step, then the pose
           ◄─ observation  or RobotFault(motor | camera | connection)

Where the box is enforced. Drivers differ in what a delta is relative to: the measured pose, or the pose that was last
commanded, which the arm lags behind. The shell follows both and bounds the delta so that neither leaves the box. A driver
of the second kind lets its commanded pose run ahead by `lag_m` at most; where that may have happened, the shell no longer
knows the commanded pose exactly, and bounds every pose that is possible. A driver of the first kind has a `lag_m` of 0.
A gripper that is found outside (somebody pushed it) is drawn back in by steps of at most `translation_m`.

A reading that does not follow what is commanded is not believed: the shell also bounds where the gripper would be, had it done
all that it was told since the last reading that is believable (`soar.robots.readings`).

What is refused. An action of the wrong shape or with NaN or infinity never reaches the driver: `SafetyError`. Nothing is sent
instead, since under delta control silence means hold the position; the caller drops the episode. Holding quietly would
fill the dataset with the stillness of a broken policy.

What is noticed. Whatever a driver raises is a fault with its words, an `OSError` (timeouts included) a lost connection;
`health()` is asked after every action; `CameraWatchdog` sees every camera of every observation; a picture of another size than
before is refused, and a further camera that gives none is a fault. A stop (`soar.robots.stopping`) lets no motion begin. The
time of a driver's calls is bounded by `soar.robots.driver`, in which a workcell wraps it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from soar.cameras import check_camera_names, differences
from soar.errors import ConfigError, RobotFault, SoarError
from soar.robots.base import Health, Robot
from soar.robots.driver import as_fault
from soar.robots.readings import PositionReadings
from soar.robots.stopping import StopSwitch
from soar.robots.watchdog import CameraWatchdog
from soar.types import ACTION_DIM, STATE_DIM, Action, Image, Observation, WorkspaceBox

log = logging.getLogger(__name__)
_SAME = 1e-6
"""Differences up to this are those of rounding [m, rad]."""


class SafetyError(SoarError):
    """An action or an observation breaks the contract so badly that nothing may be done with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyLimits:
    """How far one action may go.

    Attributes:
        translation_m: Longest step [m]. BridgeData's steps have a standard deviation of 9 to 13 mm an axis.
        rotation_rad: Longest rotation of one step [rad].
        lag_m: Distance from the measured pose beyond which the driver pulls its commanded pose back [m]; 0 when deltas are
            relative to the measured pose.
    """

    translation_m: float = 0.05
    rotation_rad: float = 0.35
    lag_m: float = 0.06

    def __post_init__(self) -> None:
        if self.translation_m <= 0 or self.rotation_rad <= 0 or self.lag_m < 0:
            raise ConfigError(f"safety limits: translation_m and rotation_rad must be positive, lag_m at least 0; got {self}")


@dataclass(frozen=True, slots=True)
class _Interval:
    """Where the driver's commanded position (3,) [m] can be."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def after(self, step: NDArray[np.float64], measured: NDArray[np.float64], lag_m: float) -> _Interval:
        """Return where it can be after a step that was commanded while the gripper was at `measured`."""
        low, high = self.low + step, self.high + step
        if float(np.linalg.norm(np.maximum(np.abs(low - measured), np.abs(high - measured)))) > lag_m:
            # The driver may have pulled it back towards the measured position, along some line or axis by axis.
            low, high = np.minimum(low, measured), np.maximum(high, measured)
        return _Interval(np.clip(low, measured - lag_m, measured + lag_m), np.clip(high, measured - lag_m, measured + lag_m))


class SafeRobot:
    """A `Robot` around a driver that enforces the workspace box and detects faults; see the module's docstring."""

    def __init__(
        self,
        robot: Robot,
        workspace: WorkspaceBox,
        limits: SafetyLimits | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        stop: StopSwitch | None = None,
    ) -> None:
        self._robot, self._stop = robot, stop
        self._image_size = image_size
        self._further: dict[str, tuple[int, int]] | None = None
        self._low, self._high = np.array(workspace.low), np.array(workspace.high)
        self._limits = limits or SafetyLimits()
        self._watchdog = CameraWatchdog()
        self._readings = PositionReadings(self._low, self._high, longest_m=self._limits.translation_m, lag_m=self._limits.lag_m)
        self._measured: NDArray[np.float64] | None = None
        self._commanded: _Interval | None = None
        self._last_action: Action = np.zeros(ACTION_DIM, np.float32)
        self._last_limited = False
        self.gate: Callable[[], None] = lambda: None
        """Called before every motion; what it raises is raised instead of moving."""

    @property
    def last_action(self) -> Action:
        """The action (7,) that the driver was last given: the one to record."""
        return self._last_action

    @property
    def last_limited(self) -> bool:
        """Whether the limits or the box changed how far the last action was to move or turn the gripper."""
        return self._last_limited

    @property
    def cameras(self) -> tuple[str, ...]:
        """The further cameras (`soar.cameras`) of what was observed first; none before that."""
        return tuple(sorted(self._further or ()))

    def observe(self) -> Observation:
        """Return what the robot perceives now.

        Raises:
            RobotFault: A camera is frozen or gives no picture, the measured position cannot be true
                (`soar.robots.readings`), the connection is lost, or the driver reports a fault.
            SafetyError: The driver's observation is not what `soar.types.Observation` says.
        """
        with as_fault("observe"):
            observation = self._robot.observe()
        _check_observation(observation, self._image_size)
        self._image_size = observation.image_HWC.shape[:2]
        self._further = _check_further(observation, self._further)
        self._watchdog.check(observation)
        observation = replace(observation, state=np.asarray(observation.state, np.float32))
        measured = observation.state[:3].astype(np.float64)
        self._readings.check(measured, None if self._commanded is None else (self._commanded.low, self._commanded.high))
        self._measured = measured
        if self._commanded is None:
            self._commanded = _Interval(self._measured, self._measured)
        return observation

    def act(self, action: Action) -> None:
        """Execute the nearest safe action; `last_action` says which one that was.

        Raises:
            RobotFault: The connection is lost, or the robot is not healthy afterwards.
            SafetyError: The action is not seven finite numbers; the robot did not move.
        """
        values = np.asarray(action, np.float64)
        if values.shape != (ACTION_DIM,) or not np.all(np.isfinite(values)):
            raise SafetyError(
                f"refused an action of shape {values.shape}: {np.array2string(values, threshold=ACTION_DIM)}; expected "
                f"({ACTION_DIM},) finite numbers. The robot holds its position; check the policy that made it."
            )
        if self._measured is None:  # never move on a stale pose
            self.observe()
        assert self._measured is not None and self._commanded is not None  # noqa: PT018 - observe() sets both
        safe = self._bound(values, self._measured, self._commanded)
        limited = bool(np.abs(safe[:6] - values[:6]).max() > _SAME)
        self.gate()
        with self._motion("act"), as_fault("act"):
            executed = self._robot.act(safe)
        if executed is not None:
            safe = _check_executed(executed)
        self._last_action, self._last_limited = safe, limited
        step = safe[:3].astype(np.float64)
        self._commanded = self._commanded.after(step, self._measured, self._limits.lag_m)
        self._readings.told(step)
        self._measured = None
        health = self.health()
        if not health.ok:
            raise RobotFault(health.fault, health.detail)

    def home(self) -> None:
        """Go to the pose from which every episode starts.

        Raises:
            RobotFault: The connection is lost, or the robot is not healthy afterwards.
        """
        self.gate()
        self.forget()
        with self._motion("home"), as_fault("home"):
            self._robot.home()
        health = self.health()
        if not health.ok:
            raise RobotFault(health.fault, health.detail)

    def health(self) -> Health:
        """Say whether the robot works; never raises."""
        try:
            with as_fault("health"):
                return self._robot.health()
        except RobotFault as fault:
            return Health(ok=False, fault=fault.kind, detail=fault.detail)

    def recover(self) -> None:
        """Reboot what failed and go home.

        Raises:
            RobotFault: It did not help; `unrecoverable` when trying again is pointless.
        """
        self.gate()
        self.forget()
        with self._motion("recover"), as_fault("recover"):
            self._robot.recover()
        health = self.health()
        if not health.ok:
            raise RobotFault(health.fault, health.detail)

    def forget(self) -> None:
        """Take nothing for granted that was measured or commanded before: somebody else moved the arm."""
        self._measured = self._commanded = None
        self._readings.forget()

    def _motion(self, name: str) -> AbstractContextManager[None]:
        return nullcontext() if self._stop is None else self._stop.motion(name)

    def _bound(self, values: NDArray[np.float64], measured: NDArray[np.float64], commanded: _Interval) -> Action:
        """Return the nearest action that neither oversteps the limits nor leaves the box."""
        lowest = np.minimum(np.minimum(measured, commanded.low), self._readings.low)
        highest = np.maximum(np.maximum(measured, commanded.high), self._readings.high)
        step = _shorten(values[:3], self._limits.translation_m)
        # The bounds of an axis cross only when the possible poses lie further apart than the box is wide: then hold.
        low, high = self._low - lowest, self._high - highest
        step = np.where(low <= high, np.clip(step, low, high), 0.0)
        # Shortening keeps a point of the box in the box, and makes the way back from outside a gentle one.
        step = _shorten(step, self._limits.translation_m)
        rotation = _shorten(values[3:6], self._limits.rotation_rad)
        return np.concatenate([step, rotation, np.clip(values[6:], 0.0, 1.0)]).astype(np.float32)


def _shorten(vector: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    """Return the vector, scaled down to the length `longest` when it is longer."""
    largest = float(np.max(np.abs(vector)))
    if largest == 0.0:
        return vector
    length = largest * float(np.linalg.norm(vector / largest))  # no overflow, however large the policy's numbers
    if length <= longest:
        return vector
    return vector / largest * (longest / float(np.linalg.norm(vector / largest)))


def _check_observation(observation: Observation, size: tuple[int, int] | None) -> None:
    if not isinstance(observation, Observation):
        raise SafetyError(f"the driver's observe() returned a {type(observation).__name__}, not a soar.types.Observation")
    state = np.asarray(observation.state)
    _check_image(observation.image_HWC, size, "the driver's image")
    if state.dtype.kind not in "fiu":
        raise SafetyError(f"the driver's state is {state.dtype}; expected {STATE_DIM} numbers, see soar.types.Observation")
    if state.shape != (STATE_DIM,):
        raise SafetyError(f"the driver's state has shape {state.shape}; expected ({STATE_DIM},), see soar.types.Observation")
    if not np.all(np.isfinite(state)):
        raise RobotFault("motor", f"the joint readings are not finite: {state}")


def _check_image(value: Image, size: tuple[int, int] | None, what: str) -> None:
    image = np.asarray(value)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise SafetyError(f"{what} is {image.dtype} of shape {image.shape}; expected uint8 (H, W, 3) RGB")
    if size is not None and image.shape[:2] != size:
        raise SafetyError(f"{what} is {_by(image.shape[:2])}; expected {_by(size)} (height x width)")


def _check_further(observation: Observation, known: dict[str, tuple[int, int]] | None) -> dict[str, tuple[int, int]]:
    """Return the sizes of the pictures of further cameras, which are the same cameras all the time."""
    images = observation.extra_images
    if not isinstance(images, Mapping):
        raise SafetyError(f"the driver's extra_images is a {type(images).__name__}; expected pictures by the names of cameras")
    if known is None:
        try:
            check_camera_names(images, "the driver's further cameras")
        except ConfigError as error:
            raise SafetyError(str(error)) from error
    elif images.keys() != known.keys():
        missing, new = differences(list(known), list(images))
        raise RobotFault(
            "camera",
            f"camera {', '.join(missing)} gave no picture" if missing else f"camera {', '.join(new)} was not there before",
        )
    for name, image in images.items():
        _check_image(image, None if known is None else known[name], f"the driver's image of camera {name}")
    return {name: (image.shape[0], image.shape[1]) for name, image in images.items()}


def _check_executed(executed: Action) -> Action:
    """Return what a driver says that it executed."""
    values = np.asarray(executed)
    if values.dtype.kind not in "fiu" or values.shape != (ACTION_DIM,) or not np.all(np.isfinite(values)):
        raise RobotFault("driver", f"act() returned {str(executed)[:60]}: neither None nor the action (7,) that was executed")
    return values.astype(np.float32)


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(str(number) for number in size)
