"""A WidowX server for tests and demonstrations: real ZeroMQ, LZ4 and pickles, any robot behind it, and its faults on demand.

    with WidowXServer(make_robot, dialect="bridge-motors", faults=FaultPlan([ServerFault(kind="late", request=7)])) as server:
        robot = open_widowx(port=server.port)

It answers one request after another, in a thread of its own, in which the robot is made. Its bytes are those of Python 3.8 with
NumPy 1.24, which a test compares. What it executed is counted, so that a test can say that nothing was executed twice.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, Self

import lz4.frame
import numpy as np
import zmq

from soar.errors import ConfigError
from soar.pickle_reader import loads
from soar.pickle_writer import dumps
from soar.robots.base import Robot
from soar.rotations import from_down, to_down
from soar.seeding import generator
from soar.testing.widowx_arm import JOINTS, Arm, FailedError, jpeg
from soar.testing.widowx_faults import FaultPlan, ServerFault

log = logging.getLogger(__name__)
Dialect = Literal["bridge", "bridge-motors", "manipulator"]
_BRIDGE = ["init", "move", "gripper", "reset", "step_action", "reboot_motor"]
KEYS: dict[str, tuple[list[str], list[str]]] = {
    "bridge": (_BRIDGE, ["image", "state", "full_image"]),
    "bridge-motors": ([*_BRIDGE, "sleep"], ["image", "state", "full_image", "motor_status"]),
    "manipulator": (
        ["reset", "step_action", "configure", "move_eef", "move_gripper", "custom_fn"],
        ["eef_pose", "gripper_state", "primary_img", "wrist_img"],
    ),
}
HOSTILE = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x17touch soar-was-executed\x85R."
"""What runs a program where `pickle` reads it."""
_GIGABYTE = 2**30
_POLL_MS = 20


class WidowXServer:
    """A server; a context manager that starts and stops it.

    Args:
        make: Makes the robot behind it.
        dialect: How it speaks.
        port: To listen on; 0 for any that is free.
        host: Address to listen on.
        faults: What goes wrong.
        speed: How fast time passes: 1 as on a real arm, 0 without waiting.
        late_s: How long a late answer takes, and a restart [s].
        told: See `soar.testing.widowx_arm.Arm`.
    """

    def __init__(
        self,
        make: Callable[[], Robot],
        *,
        dialect: Dialect = "bridge",
        port: int = 0,
        host: str = "127.0.0.1",
        faults: FaultPlan | None = None,
        speed: float = 0.0,
        late_s: float = 1.0,
        told: Callable[[bool], None] | None = None,
    ) -> None:
        self.port, self.faults, self.executed = port, faults or FaultPlan(), Counter[str]()
        """Requests that were executed, by what they were."""
        self.attempts: list[list[Any]] = [[]]
        """Actions (7,) that clients had executed, in order, a list for each time that the arm went home."""
        self._make, self._host, self._speed, self._late_s, self._told = make, host, speed, late_s, told
        self._dialect, self._keys = dialect, KEYS[dialect]
        self._stopping, self._ready, self._over = threading.Event(), threading.Event(), threading.Event()
        self._broken: Exception | None = None
        self._thread = threading.Thread(target=self._work, name=f"widowx server ({dialect})", daemon=True)
        self._context: zmq.Context[Any] = zmq.Context.instance()
        self._socket: zmq.Socket[Any] | None = None
        self._aside: tuple[list[bytes], Any] | None = None
        self._few = False  # whether the registers of broken joints cannot be read
        self.arm: Arm

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._broken is not None:
            self._thread.join()
            raise self._broken
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.wait()
        self._thread.join()

    def wait(self) -> None:
        """Wait until it ends."""
        # Not by `join`: a signal that raises within one makes Python (3.11) take the thread for finished. The process would end
        # while the thread still draws, and nobody may free a renderer but the thread that it belongs to.
        self._over.wait()

    def _work(self) -> None:
        robot: Any = None
        try:
            robot = self._make()
            self.arm = Arm(robot, speed=self._speed, told=self._told)
            self.arm.initialised = self._dialect == "manipulator"
            self._listen()
        except Exception as error:  # noqa: BLE001 - whoever started it is told
            self._broken = error
            self._stopping.set()
        self._ready.set()
        try:
            while not self._stopping.is_set():
                self._serve()
        finally:
            if self._socket is not None:
                self._socket.close(linger=100)
            try:
                if callable(close := getattr(robot, "close", None)):
                    close()
            finally:
                self._over.set()

    def _listen(self) -> None:
        """Bind; after a restart the port may be taken for a moment."""
        # A REP socket has to answer before it hears the next request, and faults do not answer.
        self._socket = self._context.socket(zmq.ROUTER)
        for attempt in range(100):
            try:
                self._socket.bind(f"tcp://{self._host}:{self.port or '*'}")
                break
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE or attempt == 99 or not self._ready.is_set():
                    raise ConfigError(f"cannot listen on {self._host}:{self.port}: {error}. Choose another --port.") from error
                time.sleep(0.02)
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])

    def _serve(self) -> None:
        assert self._socket is not None
        if not self._socket.poll(_POLL_MS):
            return
        *route, data = self._socket.recv_multipart()
        message = loads(lz4.frame.decompress(data))
        sort = str(message.get("key", message.get("type")))
        fault = self.faults.next(sort) if sort in ("obs", "step_action") else None
        kind = fault.kind if fault is not None else ""
        if kind == "out_of_order":
            self._aside = route, message
            return
        if fault is not None:
            self._break(fault)
        try:
            if kind in ("exception", "stale"):
                raise FailedError(kind)
            answer = lz4.frame.compress(dumps(self._answer(message, kind)))
        except (AssertionError, FailedError, KeyError, TypeError, ValueError) as error:
            log.info("%s: %s; the server starts again", sort, error)
            self._restart(forget=False)
            return
        if kind == "restart":
            self._restart(forget=True)
            return
        self._reply(route, answer, kind)
        if self._aside is not None:
            (_, late), self._aside = self._aside, None
            self._answer(late, "")

    def _reply(self, route: list[bytes], answer: bytes, kind: str) -> None:
        assert self._socket is not None
        if kind == "no_reply":
            return
        if kind == "late":
            self._stopping.wait(self._late_s)
        instead: dict[str, Callable[[], bytes]] = {
            "hostile": lambda: lz4.frame.compress(HOSTILE),
            "gigabyte": gigabyte,
            "garbage": lambda: b"\x00garbage",
        }
        self._socket.send_multipart([*route, instead[kind]() if kind in instead else answer])

    def _break(self, fault: ServerFault) -> None:
        arm = self.arm
        if fault.kind in ("motor_error", "few_motors"):
            self._few = fault.kind == "few_motors"
            arm.broken = dict.fromkeys(JOINTS[1:3] if self._few else JOINTS[4:5], fault.reboots)
        elif fault.kind == "no_motion":
            arm.holding = True
        elif fault.kind == "frozen":
            arm.frozen = 12
        elif fault.kind == "uninitialised":
            arm.initialised = self._dialect == "manipulator"

    def _restart(self, *, forget: bool) -> None:
        """Stop, and start again: with the environment that was there, or as a new process that has none."""
        assert self._socket is not None
        self._socket.close(linger=0)
        self._stopping.wait(self._late_s)
        if forget:
            self.arm.initialised, self.arm.params = self._dialect == "manipulator", {}
            self.arm.frozen = 0
        elif self.arm.initialised:
            self.arm.reset()
        self._listen()

    def _answer(self, message: dict[str, Any], kind: str) -> Any:
        """Execute a request and return the answer."""
        sort = message.get("type")
        if sort == "hash":
            actions, observations = self._keys
            said = {
                "port_number": self.port,
                "action_keys": actions,
                "observation_keys": observations,
                "broadcast_port": self.port + 1,
                "version": "0.0.1",
            }
            return {"success": True, "payload": json.dumps(said, separators=(",", ":"))}
        if sort == "obs":
            self.executed["obs"] += 1
            return self._manipulator_seen(kind) if self._dialect == "manipulator" else self._bridge_seen(kind)
        if sort == "act":
            self.executed[message["key"]] += 1
            if message["key"] in ("init", "reset"):
                self.attempts.append([])
            elif message["key"] == "step_action":
                payload = message["payload"]
                self.attempts[-1].append(np.array(payload["action"] if isinstance(payload, dict) else payload))
            act = self._manipulator_act if self._dialect == "manipulator" else self._bridge_act
            return act(message["key"], message["payload"], kind)
        return {"success": False, "message": "Invalid payload"}

    def _bridge_seen(self, kind: str) -> dict[str, Any]:
        arm = self.arm
        if not arm.initialised:
            noise = generator(0, "noise", self.executed["obs"]).integers(0, 255, (480, 640, 3), dtype=np.uint8)
            return {"image": noise, "state": {}, "full_image": noise}
        seen = arm.observe()
        state = seen.state.astype(np.float64)
        state[6] = 1.02 * state[6] - 0.01  # fingers go a little further than the scale
        if kind == "not_finite":
            state[2] = np.nan
        image = seen.image_HWC if kind != "no_camera" else np.zeros((1, 3, 3), np.uint8)
        reply: dict[str, Any] = {"image": arm.square(image), "state": state}
        if arm.params.get("return_full_image") or kind == "no_camera":
            reply["full_image"] = jpeg(image)
        if self._dialect == "bridge-motors":
            reply["motor_status"] = self._motor_errors()
        return reply

    def _bridge_act(self, key: str, payload: dict[str, Any], kind: str) -> dict[str, Any]:
        arm = self.arm
        if key not in self._keys[0]:
            return {"status": 2}
        if key != "init" and not arm.initialised:
            return {"status": 3}
        if kind == "failure":
            return {"status": 2}
        match key:
            case "init":
                arm.initialise(payload["env_params"], payload["image_size"])
            case "reset":
                arm.reset()
            case "move":
                arm.move(payload["pose"])
            case "gripper":
                arm.grip(payload["open"])
            case "step_action":
                arm.step(payload["action"])
            case "sleep":
                arm.sleep()
            case "reboot_motor":
                arm.reboot(payload["joint_name"])
        return {"status": 1}

    def _manipulator_seen(self, kind: str) -> dict[str, Any]:
        seen = self.arm.observe()
        state = seen.state.astype(np.float64)
        pose = np.concatenate([state[:3], from_down(state[3:6])])
        if kind == "not_finite":
            pose[2] = np.nan
        image = seen.image_HWC if kind != "no_camera" else np.zeros((3, 1, 3), np.uint8)
        return {"eef_pose": pose, "gripper_state": float(0.39 * state[6]), "primary_img": jpeg(image)}

    def _manipulator_act(self, key: str, payload: Any, kind: str) -> dict[str, Any]:
        arm = self.arm
        if kind == "failure":
            return {"status": False}
        match key:
            case "reset":
                target = payload["target_state"]
                arm.reset(np.concatenate([target[:3], to_down(target[3:6]), target[6:]]))
                arm.asleep = bool(payload.get("go_sleep", False))
            case "step_action":
                arm.step(payload, absolute_angles=True)
            case "move_eef":
                arm.move(payload)
            case "move_gripper":
                arm.grip(payload)
            case "custom_fn":
                return self._custom(payload["fn_name"], payload["kwargs"])
            case "configure":
                pass
            case _:
                raise ValueError(f"Invalid action type: {key}")
        return {"status": True}

    def _custom(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        arm = self.arm
        match name:
            case "motor_status":
                result: Any = self._motor_errors()
            case "get_torque_status":
                result = np.array([joint not in arm.broken for joint in self._answering()], np.uint8)
            case "joint_efforts":
                result = {joint: 0.0 if joint in arm.broken else -120.5 for joint in (*JOINTS, "left_finger", "right_finger")}
            case "reboot_motor":
                arm.reboot(arguments["joint_name"])
                result = None
            case "enable_torque":
                result = None
            case _:
                return {"status": False, "error": "Method not found"}
        return {"status": True, "res_payload": result}

    def _answering(self) -> list[str]:
        """Joints whose registers can be read."""
        return [joint for joint in JOINTS if not (self._few and joint in self.arm.broken)]

    def _motor_errors(self) -> Any:
        return np.array([0x20 if joint in self.arm.broken else 0 for joint in self._answering()], np.uint8)


@functools.cache
def gigabyte() -> bytes:
    """Return an LZ4 frame that is a gigabyte when decompressed; 4 MB before."""
    machine = lz4.frame.LZ4FrameCompressor()
    block = bytes(2**24)
    parts = [machine.begin(), *(machine.compress(block) for _ in range(_GIGABYTE // len(block))), machine.flush()]
    return b"".join(parts)
