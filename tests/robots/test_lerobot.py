"""The driver of LeRobot's arms on an SO-101 in MuJoCo: motions, pace, faults, and what a person reads when something is wrong.

LeRobot's own class runs in `tests/interop/test_lerobot_arm.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from soar.cli import main
from soar.errors import ConfigError, RobotFault
from soar.robots import checks
from soar.robots.lerobot import robot as module
from soar.robots.lerobot.arms import ArmConfig, load_arm
from soar.robots.lerobot.connecting import connect
from soar.robots.lerobot.driver import _camera, _check_motors
from soar.robots.lerobot.kinematics import Kinematics
from soar.robots.lerobot.reach import check_reach
from soar.robots.lerobot.robot import LeRobotArm
from soar.robots.lerobot.steering import Steering
from soar.robots.registry import load_robot
from soar.robots.safety import SafeRobot, SafetyLimits
from soar.robots.workcell import load_workcell
from soar.testing import check_robot

from .so101 import MOTORS, Bus, Camera, Follower, Time
from .test_lerobot_steering import ARM, BOX, HOME, JOINTS, places

LIMITS = load_robot("so101").limits
FORWARD = np.array([0.01, 0.004, -0.004, 0, 0, 0.05, 1], np.float32)
KINEMATICS = Kinematics(ARM.model_path(), ARM.frame, JOINTS)


class Rig:
    """An arm, its clock, and what is behind it."""

    def __init__(self, arm: ArmConfig = ARM, **options: Any) -> None:
        self.time = Time()
        self.robot = Follower(clock=self.time)
        self.bus: Bus = self.robot.bus
        self.camera: Camera = self.robot.cameras["front"]
        connect(self.robot, "so101_follower", {})
        steering = Steering(arm, KINEMATICS, workspace=BOX, lag_m=LIMITS.lag_m, lag_rad=0.5)
        home = HOME, check_reach(steering, HOME, None)
        self.arm = LeRobotArm(
            self.robot, arm, steering, camera="front", home=home, clock=self.time, sleep=self.time.sleep, **options
        )
        self.safe = SafeRobot(self.arm, BOX, LIMITS)

    def practise(self, steps: int = 10) -> None:
        for step in range(steps):
            action = FORWARD * (1 if step // 5 % 2 else -1)
            action[6] = 1.0
            self.safe.observe()
            self.safe.act(action)


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.safe.home()
    return made


def test_an_arm_of_lerobot_keeps_the_robots_contract() -> None:
    check_robot(Rig().arm)


def test_two_hundred_places_in_the_box_are_reached_within_a_centimetre() -> None:
    rig = Rig(period_s=0.1)
    rig.safe.home()
    misses, outside, left = [], [], list(places(200))
    while left:  # the nearest first, for the sake of time
        here = rig.safe.observe().state[:3]
        place = left.pop(int(np.argmin([np.linalg.norm(place - here) for place in left])))
        for _ in range(25):
            rest = place - rig.safe.observe().state[:3]
            if np.linalg.norm(rest) < 0.008:
                break
            rig.safe.act(np.array([*rest, 0, 0, 0, 1], np.float32))
        here = rig.safe.observe().state[:3]
        misses.append(float(np.linalg.norm(here - place)))
        outside.append(float(np.maximum(np.array(BOX.low) - here, here - np.array(BOX.high)).max()))
    assert max(misses) < 0.01
    assert max(outside) < 0.01


def test_the_check_before_the_night_finds_its_motions_and_its_box_well(rig: Rig) -> None:
    cell: Any = SimpleNamespace(config=SimpleNamespace(workspace=BOX, robot=SimpleNamespace(limits=LIMITS)), robot=rig.safe)
    found = {finding.check: finding for check in (checks._motion, checks._box) for finding in check(cell)}
    assert {name for name, finding in found.items() if finding.ok is False} == set()
    # Five joints: pointing down, the hand cannot be rolled.
    assert {name for name, finding in found.items() if finding.ok is None} == {"turn +roll", "turn -roll"}


def test_targets_come_thirty_times_a_second_or_more_and_no_faster_than_the_arm_may(rig: Rig) -> None:
    rig.bus.told.clear()
    rig.bus.at_s.clear()
    began = []
    for _ in range(4):
        rig.safe.observe()
        began.append(rig.time())
        rig.safe.act(FORWARD)
    assert len(rig.bus.told) == 20
    actions = np.array(rig.bus.at_s).reshape(4, 5)
    assert np.diff(actions, axis=1).max() <= 1 / 30
    assert np.diff(actions[:, 0]) == pytest.approx([0.2] * 3)
    told = np.array([[target[motor] for motor in MOTORS[:5]] for target in rig.bus.told])
    assert np.abs(np.diff(told, axis=0)).max() * np.pi / 180 * 50 <= ARM.speed_rad + 1e-6


def test_what_is_recorded_is_what_the_arm_was_told(rig: Rig) -> None:
    rig.safe.observe()
    before = KINEMATICS.pose(rig.arm._steering._begin(*rig.arm._joints(rig.arm._look())))[0]
    rig.safe.act(np.array([0.02, 0.0, 0.0, 0.15, 0, 0, 1], np.float32))
    told = rig.bus.told[-1]
    after = KINEMATICS.pose(ARM.angles(told))[0]
    assert rig.safe.last_action[:3] == pytest.approx(after - before, abs=1e-6)
    assert abs(rig.safe.last_action[3]) < 0.1  # five joints: the hand cannot be rolled, and the record knows


def test_an_arm_that_does_not_move_is_a_motor_fault_and_never_leaps(rig: Rig) -> None:
    stuck = rig.bus.data.qpos.copy()

    def hold() -> None:
        rig.bus.data.qpos[:], rig.bus.data.qvel[:] = stuck, 0

    def practise() -> None:
        for _ in range(30):
            hold()
            rig.safe.observe()
            hold()
            rig.safe.act(FORWARD)

    with pytest.raises(RobotFault, match="does not follow: 15 actions in a row") as caught:
        practise()
    assert caught.value.kind == "motor"
    told = ARM.angles(rig.bus.told[-1])
    assert np.linalg.norm(KINEMATICS.pose(told)[0] - KINEMATICS.pose(stuck[:5])[0]) < LIMITS.lag_m + 0.01
    rig.safe.recover()
    rig.practise()


def test_home_is_not_believed_when_the_arm_is_not_there(rig: Rig) -> None:
    rig.practise(4)
    rig.bus._gains = rig.bus._gains[0] * 0.05, rig.bus._gains[1] * 0.05  # hardly any torque
    with pytest.raises(RobotFault, match=r"told to go home, it is \d+ cm away"):
        rig.safe.home()


def broken(motor: str, bits: int) -> Callable[[Rig], None]:
    def break_it(rig: Rig) -> None:
        rig.bus.status[motor] = bits

    return break_it


def late(rig: Rig) -> None:
    rig.camera.late = True


def unplugged(rig: Rig) -> None:
    rig.bus.unplugged = True


def hot(rig: Rig) -> None:
    rig.bus.temperature["shoulder_lift"] = 71


def loaded(rig: Rig) -> None:
    rig.bus.load["gripper"] = 1024 + 980  # in the other direction


def blind(rig: Rig) -> None:
    rig.camera.async_read = lambda timeout_ms=200: np.zeros((48, 64), np.uint8)  # type: ignore[method-assign]


def not_a_number(rig: Rig) -> None:
    rig.bus._zero[2] = np.nan


@pytest.mark.parametrize(
    ("happens", "kind", "message"),
    [
        (broken("elbow_flex", 32), "motor", r"in an error, without torque: elbow_flex \(overload\)"),
        (broken("gripper", 5), "motor", r"gripper \(voltage, temperature\)"),
        (late, "camera", "Timed out waiting for frame from camera"),
        (unplugged, "connection", "no status packet"),
        (hot, "motor", r"too hot: shoulder_lift \(71 °C\)"),
        (loaded, "motor", "gripper has needed 98 % of its torque for 5 actions"),
        (blind, "camera", r"a picture is uint8 \(48, 64\)"),
        (not_a_number, "motor", "the joint readings are not finite"),
    ],
)
def test_each_fault_is_told_by_its_kind(rig: Rig, happens: Callable[[Rig], None], kind: str, message: str) -> None:
    rig.practise(2)
    happens(rig)
    with pytest.raises(RobotFault, match=message) as caught:
        rig.practise(30)
    assert caught.value.kind == kind
    health = rig.safe.health()
    assert (health.ok, health.fault) == (False, kind)


def test_an_overloaded_motor_is_rebooted_where_it_is_and_the_arm_goes_home(rig: Rig) -> None:
    rig.bus.status["elbow_flex"], rig.bus.reboots = 32, 2
    with pytest.raises(RobotFault, match="overload"):
        rig.practise()
    rig.safe.recover()
    assert rig.safe.health().ok
    assert rig.safe.observe().state[:3] == pytest.approx(HOME[:3], abs=0.03)
    rig.practise()


def test_a_person_is_called_when_ten_reboots_do_not_help(rig: Rig) -> None:
    rig.bus.status["elbow_flex"], rig.bus.reboots = 32, 99
    with pytest.raises(RobotFault, match="overload"):
        rig.practise()
    with pytest.raises(RobotFault, match=r"10 reboots did not help. Hold the arm, switch its power off and on") as caught:
        rig.safe.recover()
    assert caught.value.kind == "unrecoverable"
    assert rig.bus.reboots == 89


def test_hot_motors_are_waited_for(rig: Rig) -> None:
    rig.bus.temperature["shoulder_lift"] = 71
    with pytest.raises(RobotFault, match="too hot"):
        rig.practise(30)
    with pytest.raises(RobotFault, match=r"still too hot after 60 s: .*71") as caught:
        rig.safe.recover()
    assert caught.value.kind == "motor"
    sleep, began_s = rig.time.sleep, rig.time()

    def cooling(seconds: float) -> None:
        sleep(seconds)
        rig.bus.temperature["shoulder_lift"] = 71 - int(rig.time() - began_s)

    rig.arm._sleep = cooling
    rig.safe.recover()
    assert 9 < rig.time() - began_s < 40
    rig.practise()


def test_a_lost_packet_is_asked_for_again_and_a_cable_that_is_back_is_connected_again(rig: Rig) -> None:
    rig.bus.lost = 2
    rig.practise()
    rig.bus.unplugged = True
    with pytest.raises(RobotFault, match="no status packet"):
        rig.practise()
    with pytest.raises(RobotFault, match="cannot be connected again: Could not connect on port") as caught:
        rig.safe.recover()
    assert caught.value.kind == "connection"
    rig.bus.unplugged = False
    rig.safe.recover()
    rig.practise()


def test_a_camera_that_comes_back_is_a_camera_again(rig: Rig) -> None:
    rig.camera.late = True
    with pytest.raises(RobotFault, match="Timed out"):
        rig.practise()
    rig.camera.there = False
    with pytest.raises(RobotFault, match="cannot be connected again: Failed to open") as caught:
        rig.safe.recover()
    assert caught.value.kind == "camera"
    rig.camera.there, rig.camera.late = True, False
    told = len(rig.bus.told)
    rig.safe.recover()
    assert len(rig.bus.told) > told
    rig.practise()


def test_after_a_halt_no_target_is_sent_and_the_arm_is_held(rig: Rig) -> None:
    sleeps = rig.arm._sleep

    def stop_within(seconds: float) -> None:
        sleeps(seconds)
        if len(rig.bus.told) == 3:
            rig.arm.halt()

    rig.safe.observe()
    rig.bus.told.clear()
    rig.arm._sleep = stop_within
    with pytest.raises(RobotFault, match="it is held where it is") as caught:
        rig.safe.act(FORWARD)
    assert caught.value.kind == "unrecoverable"
    assert len(rig.bus.told) == 3
    for call in (rig.safe.home, rig.safe.recover):
        with pytest.raises(RobotFault):
            call()
    rig.arm.close()
    assert len(rig.bus.told) == 3
    assert all(rig.bus.torque.values())
    assert not rig.bus.is_connected


def test_an_arm_without_a_rest_is_held_when_it_is_let_go_of(rig: Rig) -> None:
    rig.practise(2)
    told = len(rig.bus.told)
    rig.arm.close()
    assert len(rig.bus.told) == told
    assert all(rig.bus.torque.values())
    assert not rig.robot.is_connected


REST = {"shoulder_pan": 0.0, "shoulder_lift": -95.0, "elbow_flex": 90.0, "wrist_flex": 60.0, "wrist_roll": 0.0}


def with_rest() -> Rig:
    said: Mapping[str, Any] = {name: getattr(ARM, name) for name in ("model", "frame", "joints", "home")}
    return Rig(load_arm({**said, "rest": REST}, ""))


def test_an_arm_with_a_rest_goes_home_and_then_there_before_it_goes_limp() -> None:
    rig = with_rest()
    rig.safe.home()
    rig.practise(2)
    rig.bus.told.clear()
    rig.arm.close()
    home = np.rad2deg(rig.arm._home_angles)
    assert min(np.abs(ARM.angles(told) * 180 / np.pi - home).max() for told in rig.bus.told) < 0.1
    assert {motor: rig.bus.told[-1][motor] for motor in REST} == pytest.approx(REST, abs=0.1)
    assert not any(rig.bus.torque.values())


def test_an_arm_that_has_failed_is_held_and_not_driven_to_its_rest() -> None:
    rig = with_rest()
    rig.safe.home()
    rig.bus.status["elbow_flex"] = 32
    with pytest.raises(RobotFault, match="overload"):
        rig.practise()
    rig.bus.told.clear()
    rig.arm.close()
    assert rig.bus.told == []
    assert all(rig.bus.torque.values())


def test_motors_are_rebooted_one_after_another_for_the_check_before_the_night() -> None:
    rig = with_rest()
    rig.safe.home()
    assert rig.arm.motors() == ""
    rig.bus.temperature["gripper"] = 80
    assert "gripper (80 °C)" in rig.arm.motors()
    rig.bus.temperature["gripper"] = 30
    rig.arm.reboot()
    assert rig.safe.observe().state[:3] == pytest.approx(HOME[:3], abs=0.03)


def test_an_arm_that_is_not_calibrated_is_refused_before_a_motor_is_told_anything() -> None:
    robot = Follower(clock=Time())
    robot.bus.is_calibrated = False
    with pytest.raises(ConfigError, match="so101_follower is not calibrated") as caught:
        connect(robot, "so101_follower", {"port": "/dev/ttyACM0", "id": "my arm"})
    command = "lerobot-calibrate --robot.type=so101_follower --robot.port=/dev/ttyACM0 '--robot.id=my arm'"
    assert command in str(caught.value)
    assert robot.bus.told == []
    assert not robot.bus.is_connected


def test_another_device_on_the_port_is_motors_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = Follower(clock=Time())

    def connect_to_something_else() -> None:
        robot.bus.is_connected = True  # as LeRobot has it: the port is open
        raise RuntimeError("FeetechMotorsBus motor check failed: Missing motor IDs: 1")

    monkeypatch.setattr(robot.bus, "connect", connect_to_something_else)
    with pytest.raises(ConfigError, match=r"its motors do not answer .*: FeetechMotorsBus motor check failed: Missing"):
        connect(robot, "so101_follower", {})
    assert robot.bus.told == []
    assert not robot.bus.is_connected


def test_motors_or_a_camera_that_are_not_there_are_named() -> None:
    robot = Follower(clock=Time())
    robot.bus.unplugged = True
    with pytest.raises(ConfigError, match=r"its motors do not answer \(`lerobot-find-port` finds the port\): Could not"):
        connect(robot, "so101_follower", {})
    robot = Follower(clock=Time())
    robot.cameras["front"].there = False
    with pytest.raises(ConfigError, match=r"its camera 'front' is not there \(`lerobot-find-cameras` finds it\): Failed"):
        connect(robot, "so101_follower", {})
    assert robot.bus.told == []
    assert not robot.bus.is_connected


def test_which_camera_is_meant_is_said_or_there_is_one() -> None:
    robot = Follower(clock=Time())
    assert _camera(robot, None, "so101_follower") == "front"
    with pytest.raises(ConfigError, match=r"which camera\? `camera` is 'side', and there are front"):
        _camera(robot, "side", "so101_follower")
    robot.cameras["wrist"] = Camera()
    with pytest.raises(ConfigError, match="there are front, wrist"):
        _camera(robot, None, "so101_follower")
    assert _camera(robot, None, "so101_follower", ("wrist",)) == "front"
    with pytest.raises(ConfigError, match=r"the workcell names the camera 'side' \(`cameras`\), and there are front, wrist"):
        _camera(robot, "front", "so101_follower", ("side",))
    with pytest.raises(ConfigError, match=r"'wrist' is the main camera .* cannot be a further one"):
        _camera(robot, "wrist", "so101_follower", ("wrist",))
    robot.cameras.clear()
    with pytest.raises(ConfigError, match="there are none: add one to `cameras`"):
        _camera(robot, None, "so101_follower")


def test_a_robot_that_is_told_no_joints_is_refused() -> None:
    class Base(Follower):
        @property
        def action_features(self) -> dict[str, Any]:
            return {"x.vel": float, "theta.vel": float}

    with pytest.raises(ConfigError, match=r"lekiwi is told theta\.vel, x\.vel, and the arm's file names elbow_flex\.pos"):
        _check_motors(Base(clock=Time()), ARM, "lekiwi")


def test_without_lerobot_the_driver_says_where_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cell.yaml"
    path.write_text("robot: so101\nscene: {tasks: [put the carrot on the plate]}\n")
    assert main(["robot", "check", "--workcell", str(path), "--yes"]) == 2
    message = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "needs LeRobot, which cannot be imported here" in message
    assert "docs/how-to/lerobot.md" in message


def test_the_files_of_the_page_about_it_are_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "lerobot.md").read_text(encoding="utf-8")
    files = re.findall(r"```yaml\n# (\S+yaml)(.*?)```", page, re.DOTALL)
    for name, text in files:
        (tmp_path / name.rstrip(",")).write_text(text.partition("\n")[2], encoding="utf-8")
    assert [name.rstrip(",") for name, _ in files] == ["so101.yaml", "bench.yaml", "my-arm.yaml"]
    served, driven = load_robot(str(tmp_path / "so101.yaml")), load_workcell(str(tmp_path / "bench.yaml"))
    assert (served.workspace, served.limits) == (driven.workspace, driven.robot.limits) == (BOX, LIMITS)
    assert set(load_arm(str(tmp_path / "my-arm.yaml"), "").rest) == set(MOTORS[:5])


def test_the_arm_cools_and_reboots_within_the_time_that_its_robot_has() -> None:
    timeouts = load_robot("so101").timeouts
    assert timeouts.recover > module.COOLING_S + module.REBOOTS * len(MOTORS) * 0.5 + 60


def config_with(limits: SafetyLimits) -> SimpleNamespace:
    return SimpleNamespace(workspace=BOX, robot=SimpleNamespace(limits=limits))


def test_the_check_finds_all_corners_of_its_box_whatever_the_longest_step_may_be() -> None:
    rig = Rig()
    for limits in (LIMITS, SafetyLimits(lag_m=LIMITS.lag_m), SafetyLimits(translation_m=0.008, lag_m=LIMITS.lag_m)):
        cell: Any = SimpleNamespace(robot=SafeRobot(rig.arm, BOX, limits), config=config_with(limits))
        corners, beyond = checks._box(cell)
        assert (corners.detail, beyond.ok) == ("8 of 8 corners reached", True)
