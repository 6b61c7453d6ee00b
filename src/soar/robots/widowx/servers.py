"""What each kind of WidowX server is told, and what it tells. Which one it is, it says itself; its port does not matter.

    bridge         bridge_data_robot: init, move, gripper, reset, step_action, reboot_motor | image, state, full_image
    bridge-motors  the same with what SOAR's lab added: sleep | motor_status
    manipulator    manipulator_gym: reset, step_action, configure, move_eef, custom_fn | eef_pose, gripper_state, …

Answers are checked, not believed: a status that is no success is a fault, and so is a state or a picture that is none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError, RobotFault
from soar.remote.wire import Limits, WireError, decode
from soar.rotations import from_down, to_down
from soar.types import Image

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
PICTURES = Limits(side=4096)
SMALLEST_PX = 16
_STATUS = {0: "it has no connection to the arm", 1: "success", 2: "execution failed", 3: "it has no robot yet"}
FloatArray = NDArray[np.float64]
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


def server_of(description: Any, ask: Ask, settings: Settings, where: str) -> Server:
    """Return how to talk to the server that describes itself like this.

    Raises:
        ConfigError: It is none that is known; the message says what it offers.
    """
    actions, observations = _offers(description, where)
    for kind, needs, sees, make in _KINDS:
        if needs <= actions and sees <= observations:
            return make(ask, settings, kind)
    raise ConfigError(
        f"{where} is a server of an unknown dialect: it offers {', '.join(sorted(actions)) or 'no actions'} | "
        f"{', '.join(sorted(observations)) or 'no observations'}. Known are {', '.join(kind for kind, *_ in _KINDS)} "
        "(soar.robots.widowx.servers)"
    )


def _offers(description: Any, where: str) -> tuple[frozenset[str], frozenset[str]]:
    try:
        said = json.loads(description["payload"])
        offers = [frozenset(str(key)[:40] for key in said[part][:50]) for part in ("action_keys", "observation_keys")]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{where} is no WidowX server: it answers {str(description)[:60]!r}. Correct host and port in the workcell's file."
        ) from error
    return offers[0], offers[1]


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
        state = _numbers(reply.get("state"), 7, "state")
        state[6] = _opening(state[6], self._gripper)
        full = reply.get("full_image")
        image = _square(reply.get("image"), self._settings.view) if full is None else _picture(full, self._settings.view)
        motors = _motor_errors(reply.get("motor_status")) if self.tells_motors else ""
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
        pose = _numbers(reply.get("eef_pose"), 6, "eef_pose")
        opening = _numbers([reply.get("gripper_state")], 1, "gripper_state")[0]
        picture = _picture(reply.get("wrist_img" if self._settings.view else "primary_img"), 0)
        state = np.concatenate([pose[:3], to_down(pose[3:6]), [_opening(opening, self._gripper)]])
        return Seen(image=picture, state=state)

    def step(self, action: FloatArray) -> None:
        """Execute one action."""
        self._act("step_action", action, self._settings.step_s)

    def home(self) -> None:
        """Open, and go to the start; a server that was started again has forgotten how its steps are to be."""
        self.begin()
        self._reset(np.array(self._settings.home))

    def motors(self) -> str:
        """Return what torque, error registers and efforts tell."""
        torque = _numbers(self._call("get_torque_status"), None, "get_torque_status")
        if len(torque) < len(JOINTS):
            return f"{len(torque)} of {len(JOINTS)} motors answer"
        if off := [joint for joint, on in zip(JOINTS, torque, strict=False) if not on]:
            return f"no torque: {', '.join(off)}"
        if error := _motor_errors(self._call("motor_status")):
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


_BRIDGE = frozenset({"init", "move", "gripper", "reset", "step_action", "reboot_motor"})
_KINDS: tuple[tuple[str, frozenset[str], frozenset[str], Callable[[Ask, Settings, str], Server]], ...] = (
    ("bridge-motors", _BRIDGE | {"sleep"}, frozenset({"image", "state", "motor_status"}), Bridge),
    ("bridge", _BRIDGE, frozenset({"image", "state"}), Bridge),
    (
        "manipulator",
        frozenset({"reset", "step_action", "configure", "custom_fn"}),
        frozenset({"eef_pose", "gripper_state", "primary_img"}),
        Manipulator,
    ),
)


def _numbers(value: Any, count: int | None, name: str) -> FloatArray:
    try:
        numbers = np.array(value, np.float64)
    except (ValueError, TypeError) as error:
        raise RobotFault("connection", f"the server's {name} is no numbers: {str(value)[:60]}") from error
    if numbers.ndim != 1 or (count is not None and len(numbers) != count):
        raise RobotFault("connection", f"the server's {name} has shape {numbers.shape}; {count} numbers were expected")
    if not np.all(np.isfinite(numbers)):
        raise RobotFault("motor", f"the server's {name} is not finite: {numbers}")
    return numbers


def _motor_errors(value: Any) -> str:
    """Return what the error registers of the motors tell: one that is in an error often cannot be read at all."""
    status = _numbers(value, None, "motor_status")
    if len(status) < len(JOINTS):
        return f"{len(status)} of {len(JOINTS)} motors answer"
    wrong = [f"{joint} (error {int(code)})" for joint, code in zip(JOINTS, status, strict=False) if code]
    return f"in an error, without torque: {', '.join(wrong)}" if wrong else ""


def _opening(raw: float, scale: tuple[float, float]) -> float:
    closed, opened = scale
    return float(np.clip((raw - closed) / (opened - closed), 0.0, 1.0))


def _picture(value: Any, view: int) -> Image:
    """Return a camera's whole picture: a JPEG whose encoder took red for blue, or pixels."""
    if isinstance(value, list | tuple):
        if view >= len(value):
            raise RobotFault("camera", f"the server has {len(value)} cameras, and number {view} is wanted")
        value = value[view]
    if isinstance(value, bytes | bytearray):
        try:
            image = decode(bytes(value), PICTURES)[..., ::-1]
        except WireError as error:
            raise RobotFault("camera", f"the server's picture cannot be read: {error}") from error
    elif isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        image = value
    else:
        raise RobotFault("camera", f"the server's picture is a {type(value).__name__}: is its camera there?")
    if min(image.shape[:2]) < SMALLEST_PX:
        raise RobotFault("camera", f"the server's picture is {image.shape[0]} x {image.shape[1]} px: its camera has not begun")
    return np.ascontiguousarray(image)


def _square(value: Any, view: int) -> Image:
    """Return a picture from rows of numbers 0..1, one a camera: red, green and blue after each other."""
    right = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2 and view < len(value)
    side = round((value.shape[1] / 3) ** 0.5) if right else 0
    if not right or side < SMALLEST_PX or 3 * side * side != value.shape[1]:
        raise RobotFault("camera", f"the server's image is {str(getattr(value, 'shape', value))[:60]}: is its camera there?")
    pixels = np.nan_to_num(value[view]).reshape(3, side, side).transpose(1, 2, 0)
    return np.ascontiguousarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
