"""A server of manipulator_gym."""

from __future__ import annotations

from typing import Any

import numpy as np

from soar.errors import RobotFault
from soar.robots.widowx.replies import JOINTS, FloatArray, motor_errors, numbers, opening, picture
from soar.robots.widowx.server import Ask, Seen, Settings
from soar.rotations import from_down, to_down


class Manipulator:
    """manipulator_gym."""

    tells_motors = asks_motors = True
    # Its angles are those in the base's frame, where pointing down is the pole: what it calls roll turns the gripper about
    # its own axis, and its pitch folds back beyond the vertical, so that one number tilts to either side. Yaw alone means
    # what it says.
    turns = (False, False, True)

    def __init__(self, ask: Ask, settings: Settings, kind: str) -> None:
        self.kind = kind
        self._ask, self._settings = ask, settings
        self._gripper = settings.gripper or (0.0, 0.39)

    def begin(self) -> None:
        """Make its steps blocking; nothing moves."""
        self._act("configure", {"blocking_control": True}, self._settings.step_s)

    def look(self) -> Seen:
        """Return one observation."""
        keys = {"eef_pose", "gripper_state", "primary_img", "wrist_img"}
        reply = self._ask({"type": "obs", "keys": keys}, self._settings.step_s)
        if not isinstance(reply, dict):
            raise RobotFault("connection", f"the server's observation is a {type(reply).__name__}")
        pose = numbers(reply.get("eef_pose"), 6, "eef_pose")
        raw = numbers([reply.get("gripper_state")], 1, "gripper_state")[0]
        image = picture(reply.get("wrist_img" if self._settings.view else "primary_img"), 0)
        state = np.concatenate([pose[:3], to_down(pose[3:6]), [opening(raw, self._gripper)]])
        return Seen(image=image, state=state)

    def step(self, action: FloatArray) -> None:
        """Execute one action."""
        self._act("step_action", action, self._settings.step_s)

    def home(self) -> None:
        """Open, and go to the start; a server that was started again has forgotten how its steps are to be."""
        self.begin()
        self._reset(np.array(self._settings.home))

    def motors(self) -> str:
        """Return what torque, error registers and efforts tell."""
        torque = numbers(self._call("get_torque_status"), None, "get_torque_status")
        if len(torque) < len(JOINTS):
            return f"{len(torque)} of {len(JOINTS)} motors answer"
        if off := [joint for joint, on in zip(JOINTS, torque, strict=False) if not on]:
            return f"no torque: {', '.join(off)}"
        if error := motor_errors(self._call("motor_status")):
            return error
        efforts = self._call("joint_efforts")
        if not isinstance(efforts, dict):
            return "joint_efforts tells nothing"
        high = {str(joint)[:20]: abs(float(value)) for joint, value in efforts.items() if type(value) in (int, float)}
        strained = [f"{joint} {value:.0f}" for joint, value in high.items() if not value <= self._settings.effort]
        return f"effort beyond {self._settings.effort:g}: {', '.join(strained)}" if strained else ""

    def sleep(self, pose: FloatArray) -> None:
        """Switch the torque on, and go to the rest."""
        self._call("enable_torque", enable=True)
        self._reset(pose, go_sleep=True)

    def reboot(self, joint: str) -> None:
        """Reboot one joint."""
        self._call("reboot_motor", joint_name=joint)

    def _reset(self, state: FloatArray, **more: Any) -> None:
        target = np.concatenate([state[:3], from_down(state[3:6]), state[6:]])
        self._act("reset", {"reset_pose": True, "target_state": target, **more}, self._settings.move_limit_s)

    def _call(self, name: str, **arguments: Any) -> Any:
        return self._act("custom_fn", {"fn_name": name, "kwargs": arguments}, self._settings.step_s).get("res_payload")

    def _act(self, key: str, payload: Any, limit_s: float) -> dict[str, Any]:
        reply = self._ask({"type": "act", "key": key, "payload": payload}, limit_s)
        if not isinstance(reply, dict) or reply.get("status") not in (True, 1):
            what = payload["fn_name"] if key == "custom_fn" else key
            raise RobotFault("motor", f"{what}: the server says {str(reply)[:60]}")
        return reply
