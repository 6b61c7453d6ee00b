"""What is behind a WidowX server: an arm that is told poses, adds them up whether it follows or not, and has seven motors.

Any `soar.robots.base.Robot` moves for it, usually the simulated one. Poses are those of the wire (docs/robots.md); the
robot's are SOAR's. Nothing limits where it goes: that is the client's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from soar.robots.base import Robot
from soar.rotations import angles, from_down, matrix, to_down
from soar.types import Image, Observation

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
START = (0.3, 0.0, 0.15, 0.0, 0.0, 0.0, 1.0)
_CHUNK_M = 0.04
FloatArray = NDArray[np.float64]


class FailedError(Exception):
    """A motion that the real environment gives up: status 2."""


class Arm:
    """One arm.

    Args:
        robot: Moves.
        speed: How fast time passes: 1 as on a real arm, 0 without waiting.
        told: Called after each motion of the robot, with whether it was a client's step.
    """

    def __init__(self, robot: Robot, *, speed: float = 0.0, told: Callable[[bool], None] | None = None) -> None:
        self._robot, self._speed, self._told = robot, speed, told
        self.initialised = False
        self.params: dict[str, Any] = {}
        self.start = np.array(START)
        self.image_size = 256
        self.holding = False
        """Whether it finds no way to where it is told to go."""
        self.frozen = 0
        """How many more frames are the last one."""
        self.broken: dict[str, int] = {}
        """Joints without torque, and how often each has to be rebooted until it has some."""
        self.asleep = False
        self.rebooted: list[tuple[str, bool]] = []
        """Joints that were rebooted, and whether the arm slept."""
        self._seen: Observation | None = None
        self._commanded = self._applied = np.array(START)
        self.sync()

    def sync(self) -> None:
        """What is measured is what is commanded."""
        state = self._robot.observe().state.astype(np.float64)
        self._commanded, self._applied = state.copy(), state.copy()

    def observe(self) -> Observation:
        """Return what is seen; an old picture when the camera is frozen."""
        seen = self._robot.observe()
        if self.frozen and self._seen is not None:
            self.frozen -= 1
            return Observation(image_HWC=self._seen.image_HWC, state=seen.state)
        self._seen = seen
        return seen

    def initialise(self, params: Mapping[str, Any], image_size: int) -> None:
        """Make the environment anew, which goes to neutral; the same words again are a reset."""
        again = self.initialised and self.params == params
        self.params, self.image_size, self.initialised = dict(params), image_size, True
        self.start = np.array(params.get("start_state", START), np.float64)
        if not again:
            self._wait(3.0)
        self.reset()

    def reset(self, target: FloatArray | None = None) -> None:
        """Open, go to neutral, and to the start or a state (7,)."""
        self._wait(4.0)
        self.holding = self.asleep = False
        if not self.broken:
            self._robot.home()
            self.sync()
            self._go(self.start if target is None else target)
        self.sync()

    def move(self, pose: FloatArray) -> None:
        """Go to a pose (6,) in the base's frame, or (4, 4)."""
        self._wait(1.5)
        rpy = to_down(pose[3:]) if pose.shape == (6,) else to_down(angles(pose[:3, :3]))
        position = pose[:3] if pose.shape == (6,) else pose[:3, 3]
        if not self.broken:
            self._go(np.concatenate([position, rpy, self._commanded[6:]]))
        self.sync()

    def grip(self, opening: float) -> None:
        """Open or close."""
        self._commanded = np.array([*self._commanded[:6], float(opening > 0.5)])
        self._apply()

    def step(self, action: FloatArray, *, absolute_angles: bool = False) -> None:
        """Add an action (7,) to what is commanded, and go there.

        Args:
            action: Clipped as the real server does.
            absolute_angles: Whether its angles add to those in the base's frame, one by one, instead of turning about its axes.
        """
        if action.shape != (7,):
            raise AssertionError(f"Action should have shape (7,) but has shape {action.shape}")
        self._wait(float(self.params.get("move_duration", 0.2)))
        self.asleep = False
        step, turn = np.clip(action[:3], -0.05, 0.05), np.clip(action[3:6], -0.25, 0.25)
        if absolute_angles:
            step, turn = action[:3], action[3:6]
            rpy = to_down(from_down(self._commanded[3:6]) + turn)
        else:
            rpy = angles(matrix(turn) @ matrix(self._commanded[3:6]))
        position = self._commanded[:3] + step
        if (box := self.params.get("override_workspace_boundaries")) and self.params.get("action_clipping") == "xyz":
            position = np.clip(position, box[0][:3], box[1][:3])
        self._commanded = np.array([*position, *rpy, np.clip(action[6], 0, 1)])
        self._apply(by_client=True)

    def sleep(self) -> None:
        """Sink to the rest."""
        self._wait(2.0)
        self.asleep = True

    def reboot(self, joint: str) -> None:
        """Reboot one joint; an error that is not gone yet comes back."""
        self.rebooted.append((joint, self.asleep))
        if joint in self.broken:
            self.broken[joint] -= 1
            if self.broken[joint] <= 0:
                del self.broken[joint]

    def square(self, image: Image) -> NDArray[np.float32]:
        """Return a picture as a row (1, 3·S·S) of numbers 0..1."""
        small = cv2.resize(image, (self.image_size, self.image_size), interpolation=cv2.INTER_AREA)
        return (small.transpose(2, 0, 1).reshape(1, -1) / np.float32(255)).astype(np.float32)

    def _go(self, state: FloatArray) -> None:
        for _ in range(60):
            away = state[:3] - self._commanded[:3]
            distance = float(np.linalg.norm(away))
            share = min(1.0, _CHUNK_M / max(distance, 1e-9))
            turn = np.clip(_wrapped(state[3:6] - self._commanded[3:6]), -0.3, 0.3)
            if distance < 1e-3 and np.abs(turn).max() < 1e-3:
                break
            self._commanded = np.array([*self._commanded[:3] + away * share, *self._commanded[3:6] + turn, state[6]])
            self._apply()
        for _ in range(3):  # it comes to rest
            self._apply()

    def _apply(self, *, by_client: bool = False) -> None:
        if self.holding or self.broken:
            return
        change = self._commanded - self._applied
        change[3:6] = _wrapped(change[3:6])
        self._applied = self._commanded.copy()
        self._robot.act(np.array([*change[:6], self._commanded[6]], np.float32))
        if self._told is not None:
            self._told(by_client)

    def _wait(self, seconds: float) -> None:
        if self._speed:
            time.sleep(seconds * self._speed)


def jpeg(image: Image) -> bytes:
    """Return a picture as the server sends it: its encoder expects blue first, and gets red."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())


def _wrapped(radians: FloatArray) -> FloatArray:
    return np.asarray((radians + np.pi) % (2 * np.pi) - np.pi)
