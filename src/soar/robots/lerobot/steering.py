"""Delta poses of the gripper become targets of joints, a fiftieth of a second apart; LeRobot and motors are not known here.

    action ─► where the gripper is to be ─► a straight line to it, in ticks ─► angles a tick (`kinematics`) ─► limited, sent
              (what was told so far + delta)                                   speed; distance from the measured joints

Commanded, not measured. A delta is added to what was told before, so that the sag of an arm does not add up. What was told is
never more than `lag_m` and `lag_rad` away from where the arm is: one that was held does not leap when it comes free.

Reached, not wanted. A pose that the arm cannot hold (five joints) is told as near as it can be; what is reported as executed is
the way from one told pose to the next. What is wanted and cannot be reached is remembered up to `_SLACK_M` and `_SLACK_RAD`,
so that a hand that had to tilt far out comes back upright, and a wish that cannot come true does not add up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.robots.lerobot.arms import ArmConfig
from soar.robots.lerobot.kinematics import Kinematics
from soar.rotations import angles as rpy
from soar.rotations import apart, matrix
from soar.types import WorkspaceBox

FloatArray = NDArray[np.float64]
RATE_HZ = 50.0
"""Targets a second."""
_SLACK_M, _SLACK_RAD = 0.005, 0.45
_OPENING_S = 0.4
"""How long the gripper takes to open, at least [s]."""
_GOING_M_S, _GOING_RAD_S = 0.15, 0.8
"""How fast the arm goes home, and to its rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the motors are told at one tick: angles (n,) [rad] of the joints, and the opening 0..1."""

    angles: FloatArray
    opening: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """What one action becomes.

    Attributes:
        targets: One a tick.
        executed: The action (7,) that this is.
        held: Whether it is shorter than it could be, since the arm is far behind what it was told.
    """

    targets: list[Target]
    executed: FloatArray
    held: bool


class Steering:
    """Steers one arm; remembers what it was told.

    Args:
        arm: Its joints, speed and frame.
        kinematics: Of it.
        workspace: The box in which no wish goes beyond what is told; None: nobody said.
        lag_m: How far what is told may be ahead of the gripper [m].
        lag_rad: How far it may be ahead of each joint [rad].
    """

    def __init__(
        self, arm: ArmConfig, kinematics: Kinematics, *, workspace: WorkspaceBox | None, lag_m: float, lag_rad: float
    ) -> None:
        self._arm, self._kinematics, self._workspace = arm, kinematics, workspace
        self._lag_m, self._lag_rad = lag_m, lag_rad
        self._down = matrix(arm.down)
        self._told: FloatArray | None = None
        self._opening = 1.0
        self._position, self._rotation = np.zeros(3), np.eye(3)

    def forget(self) -> None:
        """The arm was moved in another way: where it is measured next is what it was told."""
        self._told = None

    def state(self, angles: FloatArray, opening: float) -> FloatArray:
        """Return the state (7,) of measured angles (n,); see `soar.types.Observation`."""
        position, rotation = self._kinematics.pose(angles)
        return np.concatenate([position, rpy(rotation @ self._down.T), [opening]])

    def angles_at(self, state: FloatArray, near: FloatArray | None = None) -> tuple[FloatArray, float]:
        """Return the angles (n,) of a state (7,), and how far from its position they bring the gripper [m]."""
        starts = [] if near is None else [near]
        angles = self._kinematics.find(state[:3], matrix(state[3:6]) @ self._down, starts)
        return angles, float(np.linalg.norm(self._kinematics.pose(angles)[0] - state[:3]))

    def motion(self, action: FloatArray, angles: FloatArray, opening: float, duration_s: float) -> Motion:
        """Return what an action becomes.

        Args:
            action: (7,), see `soar.types.Action`.
            angles: Where the joints are (n,) [rad].
            opening: How far the gripper is open.
            duration_s: How long the motion may take [s].
        """
        measured, _ = self._kinematics.pose(angles)
        told = self._begin(angles, opening)
        before, rotation_before = self._kinematics.pose(told)
        near = self._near(self._position + action[:3], measured)
        held = not np.array_equal(near, self._position + action[:3])
        goal = self._within_box(near, before)
        ticks = max(1, round(duration_s * RATE_HZ))
        targets, share = [], 0.0
        start, rotation = self._position, self._rotation
        for _ in range(ticks):
            further = min(1.0, share + 1 / ticks)
            wanted = matrix(action[3:6] * further) @ rotation
            possible = self._kinematics.solve(start + further * (goal - start), wanted, told)
            solved = np.clip(possible, angles - self._lag_rad, angles + self._lag_rad)
            held = held or not np.array_equal(solved, possible)
            speed = float(np.abs(solved - told).max()) * RATE_HZ
            if speed > self._arm.speed_rad:  # as far as it gets in a tick
                part = self._arm.speed_rad / speed
                solved, further = told + part * (solved - told), share + part * (further - share)
            told, share = solved, further
            self._open_towards(float(action[6]))
            targets.append(Target(angles=told, opening=self._opening))
        self._told = told
        reached, turned = self._kinematics.pose(told)
        self._remember(start + share * (goal - start), matrix(action[3:6] * share) @ rotation, reached, turned)
        return Motion(
            targets=targets,
            executed=np.concatenate([reached - before, rpy(turned @ rotation_before.T), [np.clip(action[6], 0.0, 1.0)]]),
            held=held,
        )

    def way(self, goal: FloatArray, angles: FloatArray, opening: float, *, opened: float | None = None) -> Iterator[Target]:
        """Yield targets on the way to angles (n,), gently; the gripper opens first.

        Where both ends lie in the workspace the gripper goes along a straight line between them, which stays inside; else the
        joints turn evenly.

        Args:
            goal: Where the joints are to be (n,) [rad].
            angles: Where they are.
            opening: How far the gripper is open.
            opened: How far it is to be; None: as it is.
        """
        self.forget()
        told = self._begin(angles, opening)
        while opened is not None and abs(self._opening - opened) > 1e-9:
            self._open_towards(opened)
            yield Target(angles=told, opening=self._opening)
        (start, rotation), (end, _) = self._kinematics.pose(told), self._kinematics.pose(goal)
        box = self._workspace
        if box is not None and box.contains(start, _SLACK_M) and box.contains(end, _SLACK_M):
            turn = rpy(self._kinematics.pose(goal)[1] @ rotation.T)
            duration_s = max(float(np.linalg.norm(end - start)) / _GOING_M_S, float(np.abs(turn).max()) / _GOING_RAD_S)
            ticks = int(np.ceil(duration_s * RATE_HZ))
            for tick in range(ticks):
                share = (tick + 1) / ticks
                solved = self._kinematics.solve(start + share * (end - start), matrix(turn * share) @ rotation, told)
                if np.abs(solved - told).max() * RATE_HZ > self._arm.speed_rad:
                    break  # the other way to bend: the joints go there evenly
                told = solved
                yield Target(angles=told, opening=self._opening)
        ticks = int(np.ceil(float(np.abs(goal - told).max()) / _GOING_RAD_S * RATE_HZ))
        for tick in range(ticks):
            yield Target(angles=told + (goal - told) * (tick + 1) / ticks, opening=self._opening)
        self._told = goal
        self._position, self._rotation = self._kinematics.pose(goal)

    def _begin(self, angles: FloatArray, opening: float) -> FloatArray:
        """Return what the joints were told last; where they are, when that is not known."""
        if self._told is None:
            self._told, self._opening = np.clip(angles, self._kinematics.low, self._kinematics.high), opening
            self._position, self._rotation = self._kinematics.pose(self._told)
        return self._told

    def _near(self, goal: FloatArray, measured: FloatArray) -> FloatArray:
        away = goal - measured
        distance = float(np.linalg.norm(away))
        return goal if distance <= self._lag_m else measured + away * (self._lag_m / distance)

    def _within_box(self, goal: FloatArray, told: FloatArray) -> FloatArray:
        """Return a goal that is no further outside of the box than what was told already."""
        if self._workspace is None:
            return goal
        return np.clip(goal, np.minimum(self._workspace.low, told), np.maximum(self._workspace.high, told))

    def _remember(self, goal: FloatArray, wanted: FloatArray, reached: FloatArray, turned: FloatArray) -> None:
        """Keep what was wanted, as near to what was reached as the slack says."""
        away = goal - reached
        distance = float(np.linalg.norm(away))
        self._position = goal if distance <= _SLACK_M else reached + away * (_SLACK_M / distance)
        angle = apart(wanted, turned)
        self._rotation = wanted if angle <= _SLACK_RAD else _between(turned, wanted, _SLACK_RAD / angle)

    def _open_towards(self, opening: float) -> None:
        most = 1 / (_OPENING_S * RATE_HZ)
        self._opening += float(np.clip(np.clip(opening, 0.0, 1.0) - self._opening, -most, most))


def _between(one: FloatArray, other: FloatArray, share: float) -> FloatArray:
    """Return the rotation (3, 3) that is a share of the way from one to the other."""
    whole = other @ one.T
    angle = apart(other, one)
    skew = (whole - whole.T) / 2
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    length = float(np.linalg.norm(axis))
    if length < 1e-9:  # the same, or opposite, where no way is shorter than the others
        return other if angle < 1.0 else one
    cross = skew / length
    turn = angle * share
    return np.asarray((np.eye(3) + np.sin(turn) * cross + (1 - np.cos(turn)) * (cross @ cross)) @ one, np.float64)
