"""An arm above a table with one red block: a driver as you would write yours, for an arm that is not there.

What a real driver would send through a serial port goes line by line into the file `port`; what its camera would see is drawn.
Everything else is as with a real arm: nobody resets the table, and nobody knows whether a task is done.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.robots import Health
from soar.types import Action, Observation

HOME = np.array([0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0])
"""Gripper x y z [m], roll pitch yaw [rad] in the base frame, opening 0 … 1."""
TABLE = np.array([[0.15, -0.2], [0.40, 0.2]])
"""x and y [m] of the corners that the camera sees."""
PICTURE = 96, 128
"""Height and width [px]."""
REACH_M = 0.03
"""How far from the fingers the block may be that they close around."""


class Arm:
    """Has the five methods of `soar.robots.Robot`, and `close`."""

    def __init__(self, port: str = "/dev/null") -> None:
        self._port = open(port, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - close() closes it
        self._pose, self._holding = HOME.copy(), False
        self._block = np.array([0.30, 0.1, 0.02])
        self._noise = np.random.default_rng(0)
        self._say("torque on")

    def observe(self) -> Observation:
        """Return a picture (H, W, 3), RGB, and the measured pose (7,)."""
        image = np.full((*PICTURE, 3), 190, np.uint8)
        _draw(image, self._block[:2], 6, (220, 30, 30))
        size = 3 + int(30 * self._pose[2])  # what is nearer to the camera is larger
        _draw(image, self._pose[:2], size, (30, 30, 60 + int(150 * np.clip(self._pose[6], 0, 1))), hollow=True)
        image += self._noise.integers(0, 3, image.shape, np.uint8)  # no sensor gives the same picture twice
        return Observation(image_HWC=image, state=self._pose.astype(np.float32))

    def act(self, action: Action) -> None:
        """Move by dx dy dz [m] and droll dpitch dyaw [rad], and the gripper to its target; return 0.2 s later.

        A real arm needs these 0.2 s. This one needs none, so that trying it is quick.
        """
        self._pose = np.concatenate([self._pose[:6] + action[:6], action[6:]])
        self._say("move " + " ".join(f"{value:.5f}" for value in self._pose))
        near = float(np.linalg.norm(self._pose[:3] - self._block)) < REACH_M
        self._holding = action[6] < 0.5 and (self._holding or near)
        self._block = self._pose[:3].copy() if self._holding else np.array([*self._block[:2], 0.02])

    def home(self) -> None:
        """Open the gripper and go to where every episode begins."""
        self._holding, self._pose = False, HOME.copy()
        self._block[2] = 0.02
        self._say("home")

    def health(self) -> Health:
        """Say whether all is well: a real driver reads torque, temperature and error flags here."""
        return Health(
            ok=not self._port.closed, fault="connection", detail="" if not self._port.closed else "the port is closed"
        )

    def recover(self) -> None:
        """After a fault: reboot what failed, and go home."""
        self._say("reboot")
        self.home()

    def close(self) -> None:
        """Leave the arm safe: called at the end of every command, on Ctrl-C, and when something goes wrong."""
        self._say("rest")
        self._say("torque off")
        self._port.close()

    def _say(self, line: str) -> None:
        self._port.write(line + "\n")


def _draw(
    image: NDArray[np.uint8], place: NDArray[np.float64], size: int, colour: tuple[int, int, int], hollow: bool = False
) -> None:
    """Draw a square around a place (x, y) [m]: x points down in the picture, y to the left."""
    share = np.clip((place - TABLE[0]) / (TABLE[1] - TABLE[0]), 0, 1)
    row, column = int(share[0] * (PICTURE[0] - 1)), int((1 - share[1]) * (PICTURE[1] - 1))
    rows, columns = slice(max(0, row - size), row + size), slice(max(0, column - size), column + size)
    inside = image[max(0, row - size + 2) : row + size - 2, max(0, column - size + 2) : column + size - 2].copy()
    image[rows, columns] = colour
    if hollow:
        image[max(0, row - size + 2) : row + size - 2, max(0, column - size + 2) : column + size - 2] = inside
