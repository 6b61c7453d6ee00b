"""A frozen camera looks like a working one: it is found out by a gripper that moves in a picture that does not.

The camera is called frozen when its last `frames` + 1 images are equal byte for byte although the gripper moved meanwhile by
`moved_m`, or opened or closed. A robot that stands still gives equal images too, and is never accused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from soar.errors import RobotFault
from soar.types import Observation


class CameraWatchdog:
    """Looks at every observation in turn and raises when the camera has frozen.

    Args:
        frames: Equal images in a row, after the first, that are suspicious.
        moved_m: How far the gripper must have moved meanwhile [m]; more than the noise of a robot that stands still.
        opening: How far it must otherwise have opened or closed meanwhile (0..1).
    """

    def __init__(self, frames: int = 3, moved_m: float = 0.01, opening: float = 0.3) -> None:
        self._frames, self._moved_m, self._opening = frames, moved_m, opening
        self._image = b""
        self._state: NDArray[np.float32] | None = None
        self._repeats = 0

    def check(self, observation: Observation) -> None:
        """Look at the next observation.

        Raises:
            RobotFault: Kind `camera`: the image stands still while the gripper moves.
        """
        image = observation.image_HWC.tobytes()
        if self._state is None or image != self._image:
            self._image, self._state, self._repeats = image, observation.state.copy(), 0
            return
        self._repeats += 1
        change = np.abs(observation.state - self._state)
        moved = bool(np.linalg.norm(change[:3]) > self._moved_m or change[6] > self._opening)
        if moved and self._repeats >= self._frames:
            raise RobotFault("camera", f"the image has not changed for {self._repeats} steps although the gripper moved")
