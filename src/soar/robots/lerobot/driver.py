"""Options of `driver: lerobot`, and what is wrong with them; all of it is found out before a motor is told anything.

robot:
  driver: lerobot
  options:
    type: so101_follower
    config:
      port: /dev/ttyACM0
      id: arm
      cameras: {front: {type: opencv, index_or_path: 0, width: 640, height: 480, fps: 30}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soar.errors import ConfigError
from soar.robots.lerobot.arms import ArmConfig, load_arm
from soar.robots.lerobot.connecting import connect, let_go, make_robot
from soar.robots.lerobot.kinematics import Kinematics
from soar.robots.lerobot.reach import check_reach
from soar.robots.lerobot.robot import LeRobotArm
from soar.robots.lerobot.steering import Steering
from soar.robots.safety import SafetyLimits
from soar.types import STEP_S, WorkspaceBox


def open_lerobot(
    type: str,
    config: Mapping[str, Any] | None = None,
    *,
    arm: str | Mapping[str, Any] | None = None,
    camera: str | None = None,
    cameras: Sequence[str] = (),
    home: tuple[float, ...] | None = None,
    move_s: float = 0.1,
    period_s: float = STEP_S,
    lag_rad: float = 0.5,
    image_size: tuple[int, int] | None = None,
    limits: SafetyLimits | None = None,
    workspace: WorkspaceBox | None = None,
) -> LeRobotArm:
    """Connect to a robot of LeRobot. Its motors lose their torque for a moment, as LeRobot sets them up: the arm may sink.

    Args:
        type: Of the robot, as on LeRobot's command lines; those of plug-ins, too.
        config: What its configuration holds.
        arm: Name of its arm, path of its file, or what stands in one (`soar.robots.lerobot.arms`); by default that of the type.
        camera: Which of its cameras is the main one; the only one by default, or the one that is left beside `cameras`.
        cameras: Which of its cameras come along as further ones: those that the workcell names.
        home: State (7,) from which every episode starts; the arm's by default.
        move_s: How long the targets of one action are interpolated [s].
        period_s: Time from one action to the next, at least [s].
        lag_rad: How far a target may be ahead of its joint [rad].
        image_size: Height and width of the pictures; the camera's by default.
        limits: Those of the shell around it.
        workspace: The box that the shell keeps it in.

    Raises:
        ConfigError: An option is wrong, the arm cannot reach its box, or it is not there or not calibrated; it has not moved.
    """
    robot = make_robot(type, config or {})
    shape = load_arm(arm, type)
    kinematics = Kinematics(shape.model_path(), shape.frame, list(shape.joints.values()))
    lag_m = (limits or SafetyLimits()).lag_m
    if not (0.02 <= move_s <= period_s and lag_rad > 0 and lag_m >= 0.01):
        raise ConfigError(
            "lerobot: move_s must lie between 0.02 and period_s, lag_rad be positive, limits.lag_m at least 0.01 (arms sag); "
            f"got {move_s}, {period_s}, {lag_rad}, {lag_m}"
        )
    steering = Steering(shape, kinematics, workspace=workspace, lag_m=lag_m, lag_rad=lag_rad)
    start = np.array(shape.home if home is None else home, np.float64)
    home_angles = check_reach(steering, start, workspace)
    camera = _camera(robot, camera, type, cameras)
    _check_motors(robot, shape, type)
    connect(robot, type, config or {})
    try:
        return LeRobotArm(
            robot,
            shape,
            steering,
            camera=camera,
            cameras=cameras,
            home=(start, home_angles),
            move_s=move_s,
            period_s=period_s,
            image_size=image_size,
        )
    except BaseException:
        let_go(robot)
        raise


def _camera(robot: Any, said: str | None, kind: str, further: Sequence[str] = ()) -> str:
    """Return which of a robot's pictures is the main one."""
    pictures = [name for name, shape in robot.observation_features.items() if isinstance(shape, tuple) and len(shape) == 3]
    there = ", ".join(pictures) or "none: add one to `cameras` of its config"
    if missing := sorted(set(further) - set(pictures)):
        raise ConfigError(f"{kind}: the workcell names the camera {missing[0]!r} (`cameras`), and there are {there}")
    left = [name for name in pictures if name not in further]
    if said is None and len(left) == 1:
        return str(left[0])
    if said in left:
        return str(said)
    if said in further:
        raise ConfigError(f"{kind}: {said!r} is the main camera (`camera`), and cannot be a further one (`cameras`), too")
    raise ConfigError(f"{kind}: which camera? `camera` is {said!r}, and there are {there}")


def _check_motors(robot: Any, arm: ArmConfig, kind: str) -> None:
    """Refuse a robot that is not told joints, or other ones than its arm's file says."""
    told = set(robot.action_features)
    wanted = {f"{motor}.pos" for motor in (*arm.joints, arm.gripper)}
    if told != wanted:
        raise ConfigError(
            f"{kind} is told {', '.join(sorted(told))}, and the arm's file names {', '.join(sorted(wanted))}: correct "
            "its `joints` and `gripper` (soar.robots.lerobot.arms); what is not told joints cannot be steered here"
        )
