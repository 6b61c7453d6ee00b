"""What the driver asks of a WidowX server, whatever its dialect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from soar.robots.widowx.replies import FloatArray
from soar.types import Image

Ask = Callable[[Any, float], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server is used.

    Attributes:
        home: State (7,) from which every episode starts.
        move_s: How long the server takes for one action [s].
        camera: Topic of the camera.
        view: Which of the server's cameras, counted from 0.
        gripper: What the server says when the gripper is closed and when it is open.
        env_params: More of what a bridge server is initialised with.
        image_size: Side of the square picture that it is asked for [px].
        effort: Beyond which a joint is in danger.
        init_s, move_limit_s, step_s: How long an initialisation, a long motion, and anything else may take [s].
    """

    home: tuple[float, ...]
    move_s: float
    camera: str
    view: int
    gripper: tuple[float, float] | None
    env_params: Mapping[str, Any]
    image_size: int
    effort: float
    init_s: float
    move_limit_s: float
    step_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One observation.

    Attributes:
        image: (H, W, 3) RGB.
        state: (7,) in SOAR's convention.
        motors: What is wrong with them, where the server tells.
        whole: Whether it is the camera's whole picture, and not one that the server squashed into a square.
    """

    image: Image
    state: FloatArray
    motors: str = ""
    whole: bool = True


class UninitialisedError(Exception):
    """The server has no robot yet: it was just started, or started again."""


class Server(Protocol):
    """A kind of server."""

    kind: str
    tells_motors: bool
    asks_motors: bool
    """Whether the motors are a request of their own, and not part of every observation."""
    turns: tuple[bool, bool, bool]
    """Whether it can turn by roll, pitch, yaw; what it cannot is not sent."""

    def begin(self) -> None:
        """Set it up as we want it; a bridge server moves the arm to its neutral pose."""
        ...

    def look(self) -> Seen:
        """Return one observation."""
        ...

    def step(self, action: FloatArray) -> None:
        """Execute one action (7,); returns when it is finished."""
        ...

    def home(self) -> None:
        """Open the gripper and go to the pose from which episodes start."""
        ...

    def motors(self) -> str:
        """Return what is wrong with the motors; empty when nothing is, or when it does not tell."""
        ...

    def sleep(self, pose: FloatArray) -> None:
        """Go to where the arm may lose its torque: over the pose (7,) to its rest."""
        ...

    def reboot(self, joint: str) -> None:
        """Reboot one joint, which loses its torque."""
        ...
