"""An arm of LeRobot as a robot: the order of calls, its pace, and what is a fault.

    observe:  joints and picture ─► state; a late picture is a fault of the camera, a lost packet is asked for again
    act:      the last one was period_s ago ─► targets for move_s, a fiftieth of a second apart ─► what do the motors say?

The arm is held when a session ends, unless the arm's file says a rest: then it goes home, to its rest, and goes limp there.
After a stop no target is sent any more, within a fiftieth of a second: the arm is held where it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from soar.errors import RobotFault
from soar.images import resized
from soar.robots.base import Health
from soar.robots.following import Follower
from soar.robots.lerobot.arms import ArmConfig
from soar.robots.lerobot.connecting import let_go, reconnect_cameras
from soar.robots.lerobot.motors import Motors, again
from soar.robots.lerobot.steering import RATE_HZ, Steering, Target
from soar.types import STEP_S, Action, Image, Observation

log = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
T = TypeVar("T")
REBOOTS, COOLING_S, _COOLER_C = 10, 60.0, 5.0
_HOME_M, _SETTLING_S, _STILL_RAD = 0.05, 1.0, 0.01
_THOROUGH_EVERY = 25
"""Actions between two looks at temperatures."""


class LeRobotArm:
    """A `Robot` around one of LeRobot that is connected; made by `soar.robots.lerobot.driver`.

    Args:
        robot: With the methods of LeRobot's `Robot`.
        arm: What is known of it besides.
        steering: Of it.
        camera: Which picture of its observations is that of the main camera.
        cameras: Which are those of further ones.
        home: State (7,) from which episodes start, and the angles (n,) of that.
        move_s: How long the targets of one action are interpolated [s].
        period_s: Time from one action to the next, at least [s].
        image_size: Height and width of the pictures; None: the camera's.
        clock: Says the time [s].
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        robot: Any,
        arm: ArmConfig,
        steering: Steering,
        *,
        camera: str,
        cameras: Sequence[str] = (),
        home: tuple[FloatArray, FloatArray],
        move_s: float = 0.1,
        period_s: float = STEP_S,
        image_size: tuple[int, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._robot, self._arm, self._steering, self._camera, self._cameras = robot, arm, steering, camera, tuple(cameras)
        (self._home, self._home_angles), self._move_s, self._period_s = home, move_s, period_s
        self._size, self._clock, self._sleep = image_size, clock, sleep
        self._motors = Motors(robot, temperature_c=arm.temperature_c, load=arm.load, sleep=sleep)
        self._follower = Follower()
        self._seen: tuple[FloatArray, float] | None = None
        self._fault = Health(ok=True)
        self._next_s, self._actions, self._halted = 0.0, 0, False

    def observe(self) -> Observation:
        """Return what the robot perceives now."""
        seen = self._look()
        angles, opening = self._joints(seen)
        state = self._steering.state(angles, opening)
        if complaint := self._follower.complaint(state):
            raise self._failed("motor", complaint)
        self._seen = angles, opening
        return Observation(
            image_HWC=self._picture(seen, self._camera),
            state=state.astype(np.float32),
            extra_images={name: self._picture(seen, name) for name in self._cameras},
        )

    def act(self, action: Action) -> Action:
        """Execute one action (7,), `period_s` after the one before; returns the one that the arm was told in the end."""
        if self._seen is None:
            self.observe()
        assert self._seen is not None
        wanted = np.asarray(action, np.float64)
        motion = self._steering.motion(wanted, *self._seen, self._move_s)
        # What it cannot do by its shape is nothing that it does not follow.
        self._follower.told(wanted if motion.held else motion.executed)
        self._seen = None
        self._wait(self._next_s)
        self._next_s = self._clock() + self._period_s
        self._send(motion.targets)
        self._actions += 1
        self._check_motors(thorough=self._actions % _THOROUGH_EVERY == 0)
        return motion.executed.astype(np.float32)

    def home(self) -> None:
        """Open the gripper and go to the pose from which every episode starts."""
        self._fault = Health(ok=True)
        self._check_motors(thorough=True)
        self._go(self._home_angles, opened=float(self._home[6]))
        angles, opening = self._settle()
        away = float(np.linalg.norm(self._steering.state(angles, opening)[:3] - self._home[:3]))
        if away > _HOME_M:
            raise self._failed("motor", f"the arm does not follow: told to go home, it is {100 * away:.0f} cm away")

    def health(self) -> Health:
        """Say whether the robot works, as of the last action."""
        return self._fault

    def recover(self) -> None:
        """Connect again if the connection was lost, reboot motors that are in an error, let hot ones cool, and go home."""
        self._check_halted()
        connected = self._fault.fault != "connection" and bool(self._robot.is_connected)
        try:
            if connected:  # who found a camera frozen does not say so here
                reconnect_cameras(self._robot)
            else:
                let_go(self._robot)
                self._robot.connect(calibrate=False)
        except Exception as error:
            raise self._failed("camera" if connected else "connection", f"it cannot be connected again: {error}") from error
        self._fault = Health(ok=True)
        self._asking(self._repair)
        self.home()

    def reboot(self) -> None:
        """Go to the rest, if there is one, reboot one motor after another, and go home; `soar robot check` tries it."""
        self._to_rest()
        self._asking(lambda: self._motors.reboot(before_each=self._check_halted))
        self.home()

    def motors(self) -> str:
        """Return what is wrong with the motors; empty when nothing is.

        Raises:
            RobotFault: They do not tell.
        """
        if not self._motors.tell:
            raise RobotFault("driver", "its motors do not tell")
        return self._asking(lambda: self._motors.complaint(thorough=True))

    def halt(self) -> None:
        """Send no target any more."""
        self._halted = True

    def close(self) -> None:
        """Go to the rest and go limp there, or hold the arm where it is; let go of it."""
        try:
            if not self._halted and self._arm.rest and self._motors.tell and self._fault.ok:
                self._go(self._home_angles)
                self._to_rest()
                self._motors.release()
        finally:
            let_go(self._robot)

    def _repair(self) -> None:
        """Get motors back to work.

        Raises:
            RobotFault: `unrecoverable`: a person has to come; `motor`: they are still too hot.
        """
        reboots = 0
        while errors := self._motors.errors():
            if reboots == REBOOTS:
                said = ", ".join(f"{motor} ({error})" for motor, error in errors.items())
                raise self._failed(
                    "unrecoverable",
                    f"in an error: {said}; {REBOOTS} reboots did not help. Hold the arm, switch its power off and on, and look "
                    "what is in its way",
                )
            log.warning("motors are rebooted: %s", ", ".join(errors))
            self._motors.reboot(errors, before_each=self._check_halted)
            reboots += 1
        if self._motors.hot():
            self._to_rest()
            deadline_s = self._clock() + COOLING_S
            while (hot := self._motors.hot(_COOLER_C)) and self._clock() < deadline_s:
                self._check_halted()
                self._sleep(1.0)
            if hot:
                raise self._failed("motor", f"still too hot after {COOLING_S:g} s: {hot}")

    def _to_rest(self) -> None:
        """Go to the rest; stay where the arm is when it has none, or does not get there."""
        if self._arm.rest:
            self._go(self._arm.angles(self._arm.rest))
            self._settle()

    def _go(self, goal: FloatArray, opened: float | None = None) -> None:
        """Go to angles (n,), gently."""
        self._follower.forget()
        self._seen = None
        angles, opening = self._joints(self._look())
        self._send(self._steering.way(goal, angles, opening, opened=opened))

    def _settle(self) -> tuple[FloatArray, float]:
        """Wait until the joints stand still, and return where they are and how far the gripper is open."""
        deadline_s = self._clock() + _SETTLING_S
        angles, opening = self._joints(self._look())
        while True:
            self._sleep(0.1)
            before = angles
            angles, opening = self._joints(self._look())
            if np.abs(angles - before).max() < _STILL_RAD or self._clock() > deadline_s:
                return angles, opening

    def _send(self, targets: Iterable[Target]) -> None:
        """Tell the motors one target a tick."""
        next_s = self._clock()
        for target in targets:
            self._check_halted()
            told = {f"{motor}.pos": value for motor, value in self._arm.values(target.angles).items()}
            told[f"{self._arm.gripper}.pos"] = self._arm.gripped(target.opening)
            try:
                again(self._robot.send_action, told)  # the same target twice is the same as once
            except RuntimeError as error:
                raise self._failed("motor", str(error)) from error
            except OSError as error:
                raise self._failed("connection", str(error)) from error
            next_s += 1 / RATE_HZ
            self._wait(next_s)

    def _look(self) -> dict[str, Any]:
        """Return what LeRobot sees."""
        try:
            seen: dict[str, Any] = again(self._robot.get_observation)
        except TimeoutError as error:
            raise self._failed("camera", str(error)) from error
        except OSError as error:
            raise self._failed("connection", str(error)) from error
        except RuntimeError as error:
            about_camera = "camera" in str(error).lower() or "frame" in str(error).lower()
            raise self._failed("camera" if about_camera else "motor", str(error)) from error
        return seen

    def _joints(self, seen: Mapping[str, Any]) -> tuple[FloatArray, float]:
        """Return angles (n,) [rad] and opening 0..1 of what LeRobot sees."""
        values = {motor: float(seen[f"{motor}.pos"]) for motor in (*self._arm.joints, self._arm.gripper)}
        if not np.all(np.isfinite(list(values.values()))):
            raise self._failed("motor", f"the joint readings are not finite: {values}")
        return self._arm.angles(values), self._arm.opened(values[self._arm.gripper])

    def _picture(self, seen: Mapping[str, Any], camera: str) -> Image:
        image = np.asarray(seen[camera])
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise self._failed("camera", f"{camera}: a picture is {image.dtype} {image.shape}, not uint8 (H, W, 3)")
        size = self._size if camera == self._camera else None  # a further one keeps its own
        return np.array(image if size is None else resized(image, size[::-1]))

    def _check_motors(self, *, thorough: bool) -> None:
        if complaint := self._asking(lambda: self._motors.complaint(thorough=thorough)):
            raise self._failed("motor", complaint)

    def _asking(self, call: Callable[[], T]) -> T:
        """Ask the motors something; remember what failed for `health`."""
        try:
            return call()
        except RobotFault as fault:
            raise self._failed(fault.kind, fault.detail) from fault
        except OSError as error:
            raise self._failed("connection", str(error)) from error

    def _check_halted(self) -> None:
        if self._halted:
            raise RobotFault("unrecoverable", "the arm was stopped; it is held where it is")

    def _wait(self, until_s: float) -> None:
        if (wait_s := until_s - self._clock()) > 0:
            self._sleep(wait_s)

    def _failed(self, kind: str, detail: str) -> RobotFault:
        self._seen = None
        self._steering.forget()
        self._fault = Health(ok=False, fault=kind, detail=detail)
        return RobotFault(kind, detail)
