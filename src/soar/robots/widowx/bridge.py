"""A server of bridge_data_robot, with what SOAR's lab added to it or without."""

from __future__ import annotations

from typing import Any

import numpy as np

from soar.errors import RobotFault
from soar.robots.widowx.replies import FloatArray, motor_errors, numbers, opening, picture, square
from soar.robots.widowx.server import Ask, Seen, Settings, UninitialisedError
from soar.rotations import from_down

_STATUS = {0: "it has no connection to the arm", 1: "success", 2: "execution failed", 3: "it has no robot yet"}


class Bridge:
    """bridge_data_robot."""

    asks_motors = False
    turns = (True, True, True)

    def __init__(self, ask: Ask, settings: Settings, kind: str) -> None:
        self.kind, self.tells_motors = kind, kind == "bridge-motors"
        self._ask, self._settings = ask, settings
        self._gripper = settings.gripper or (0.0, 1.0)

    def begin(self) -> None:
        """Initialise it; the same words again are a reset."""
        settings = self._settings
        # The box is enforced on our side, with every action; the server's would cut actions without saying so.
        wide = [[-2.0, -2.0, -2.0, -3.2, 0.0], [2.0, 2.0, 2.0, 3.2, 0.0]]
        params = {
            "fix_zangle": 0.1,
            "move_duration": settings.move_s,
            "adaptive_wait": True,
            "move_to_rand_start_freq": 1,
            "override_workspace_boundaries": wide,
            "action_clipping": "xyz",
            "catch_environment_except": False,
            "start_state": list(settings.home),
            "skip_move_to_neutral": False,
            "return_full_image": True,
            "camera_topics": [{"name": settings.camera}],
            **settings.env_params,
        }
        self._act("init", {"env_params": params, "image_size": settings.image_size}, settings.init_s)

    def look(self) -> Seen:
        """Return one observation."""
        reply = self._ask({"type": "obs", "keys": {"state", "image", "full_image"}}, self._settings.step_s)
        if not isinstance(reply, dict):
            raise RobotFault("connection", f"the server's observation is a {type(reply).__name__}")
        if type(reply.get("state")) is dict:
            raise UninitialisedError
        state = numbers(reply.get("state"), 7, "state")
        state[6] = opening(state[6], self._gripper)
        full = reply.get("full_image")
        image = square(reply.get("image"), self._settings.view) if full is None else picture(full, self._settings.view)
        motors = motor_errors(reply.get("motor_status")) if self.tells_motors else ""
        return Seen(image=image, state=state, motors=motors, whole=full is not None)

    def step(self, action: FloatArray) -> None:
        """Execute one action."""
        self._act("step_action", {"action": action, "blocking": True}, self._settings.step_s)

    def home(self) -> None:
        """Reset: open, neutral, start."""
        self._act("reset", {}, self._settings.move_limit_s)

    def motors(self) -> str:
        """Return what the motors tell."""
        return self.look().motors if self.tells_motors else ""

    def sleep(self, pose: FloatArray) -> None:
        """Go to a pose over the rest, and from there to the rest, where the server can."""
        settings = self._settings
        self._act("gripper", {"open": float(pose[6])}, settings.move_limit_s)
        over = np.concatenate([pose[:3], from_down(pose[3:6])])
        self._act("move", {"pose": over, "duration": 1.5, "blocking": True}, settings.move_limit_s)
        if self.tells_motors:
            self._act("sleep", {}, settings.move_limit_s)

    def reboot(self, joint: str) -> None:
        """Reboot one joint."""
        self._act("reboot_motor", {"joint_name": joint}, self._settings.step_s)

    def _act(self, key: str, payload: Any, limit_s: float) -> None:
        reply = self._ask({"type": "act", "key": key, "payload": payload}, limit_s)
        status = reply.get("status") if isinstance(reply, dict) else None
        if type(status) is not int or status not in _STATUS:
            raise RobotFault("connection", f"{key}: the server answers {str(reply)[:60]}, which is no status")
        if status == 3:
            raise UninitialisedError
        if status != 1:
            raise RobotFault("motor", f"{key}: the server says status {status}: {_STATUS[status]}")
