"""A frozen camera looks like a working one: it is found out by a gripper that moves in a picture that does not.

A camera is called frozen when its last `frames` + 1 images are equal byte for byte although the gripper moved meanwhile by
`moved_m`, or opened or closed. A robot that stands still gives equal images too, and is never accused. Each camera of a robot
is watched by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.errors import RobotFault
from soar.types import Image, Observation


class CameraWatchdog:
    """Looks at every observation in turn and raises when the camera has frozen.

    Args:
        frames: Equal images in a row, after the first, that are suspicious.
        moved_m: How far the gripper must have moved meanwhile [m]; more than the noise of a robot that stands still.
        opening: How far it must otherwise have opened or closed meanwhile (0..1).
    """

    def __init__(self, frames: int = 3, moved_m: float = 0.01, opening: float = 0.3) -> None:
        self._frames, self._moved_m, self._opening = frames, moved_m, opening
        self._still: dict[str, _Still] = {}

    def check(self, observation: Observation) -> None:
        """Look at the next observation.

        Raises:
            RobotFault: Kind `camera`: an image stands still while the gripper moves.
        """
        for camera, image_HWC in {MAIN: observation.image_HWC, **observation.extra_images}.items():
            self._look(camera, image_HWC, observation.state)

    def _look(self, camera: str, image_HWC: Image, state: NDArray[np.float32]) -> None:
        image, still = image_HWC.tobytes(), self._still.get(camera)
        if still is None or image != still.image:
            self._still[camera] = _Still(image, state.copy())
            return
        still.repeats += 1
        change = np.abs(state - still.state)
        moved = bool(np.linalg.norm(change[:3]) > self._moved_m or change[6] > self._opening)
        if moved and still.repeats >= self._frames:
            whose = "the image" if camera == MAIN else f"the image of camera {camera}"
            raise RobotFault("camera", f"{whose} has not changed for {still.repeats} steps although the gripper moved")


@dataclass(slots=True)
class _Still:
    """What a camera shows, where the arm was when it first did, and how often it has shown it since."""

    image: bytes
    state: NDArray[np.float32]
    repeats: int = 0
