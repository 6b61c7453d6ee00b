"""Where an arm's gripper is, of its joints' angles, and back: on the arm's MJCF or URDF, by `mink`.

    angles (n,) [rad] ──► pose: position (3,) [m] and rotation (3, 3) of a frame, in the model's frame, the robot's base
    pose ──► angles, within the joints' ranges, near those from which it starts

An arm with five joints cannot hold every pose. The position comes first: a radian of rotation weighs as much as a centimetre.
What was reached is for the caller to look at. Geometry and meshes of the model do not matter, and are not read.

Each iteration is a quadratic program of `mink`: the least error, within the joints' ranges. Where the least error of all lies
within them, as nearly always, it is the program's solution, and a system of equations finds it sooner than the solver.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError, UnknownNameError
from soar.rotations import apart

FloatArray = NDArray[np.float64]
ORIENTATION_M = 0.01
"""Metres of position that a radian of rotation is worth."""
_FARTHEST_RAD, _STILL_RAD = 0.3, 5e-4
_DAMPING, _ERROR_DAMPING = 1e-7, 1.0
"""The second one grows with the error: a stretched arm would swing to and fro."""
_NEAR_ITERATIONS, _FAR_ITERATIONS, _STARTS, _REACHED_M = 8, 50, 5, 0.002


class Kinematics:
    """The kinematics of one arm.

    Args:
        path: Of its MJCF or URDF.
        frame: Name of the site or body that is steered.
        joints: Names of the joints that have motors, in the order of the angles; all others stand still.

    Raises:
        ConfigError: The file is none, or some other joint moves the frame.
        UnknownNameError: It has no such frame or joint.
    """

    def __init__(self, path: Path, frame: str, joints: Sequence[str]) -> None:
        self._model = _shape(path)
        kind = next((kind for kind in ("site", "body") if frame in _names(self._model, kind)), None)
        if kind is None:
            choices = [*_names(self._model, "site"), *_names(self._model, "body")]
            raise UnknownNameError("frame", frame, choices, f"In {path}.")
        for joint in joints:
            if joint not in _names(self._model, "joint"):
                raise UnknownNameError("joint", joint, _names(self._model, "joint"), f"In {path}.")
        self._configuration = mink.Configuration(self._model)
        self._frame = frame, kind
        data, index = self._configuration.data, getattr(self._model, kind)(frame).id
        places, turns = (data.site_xpos, data.site_xmat) if kind == "site" else (data.xpos, data.xmat)
        self._place, self._turn = places[index], turns[index].reshape(3, 3)  # MuJoCo's own memory
        self._columns = np.array([self._model.joint(joint).qposadr[0] for joint in joints])
        self._motors = np.array([self._model.joint(joint).dofadr[0] for joint in joints])
        self._check(path, joints)
        ranges = np.array([self._model.joint(joint).range for joint in joints])
        limited = np.array([bool(self._model.joint(joint).limited) for joint in joints])
        self.low = np.where(limited, ranges[:, 0], -np.pi)
        self.high = np.where(limited, ranges[:, 1], np.pi)
        self._task = mink.FrameTask(frame, kind, position_cost=1.0, orientation_cost=ORIENTATION_M, lm_damping=_ERROR_DAMPING)
        self._limits = [mink.ConfigurationLimit(self._model, gain=1.0)]

    def pose(self, angles: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return position (3,) [m] and rotation (3, 3) of the frame."""
        self._at(angles)
        return self._place.copy(), self._turn.copy()

    def solve(
        self, position: FloatArray, rotation: FloatArray, start: FloatArray, iterations: int = _NEAR_ITERATIONS
    ) -> FloatArray:
        """Return the angles (n,) near `start` (n,) that bring the frame as near to a pose as they can."""
        self._task.set_target(mink.SE3.from_rotation_and_translation(mink.SO3.from_matrix(rotation), position))
        self._at(np.clip(start, self.low, self.high))
        for _ in range(iterations):
            change = self._change()
            largest = float(np.abs(change).max())
            self._configuration.integrate_inplace(change * min(1.0, _FARTHEST_RAD / max(largest, 1e-12)), 1.0)
            if largest < _STILL_RAD:
                break
        return np.asarray(np.clip(self._configuration.q[self._columns], self.low, self.high), np.float64)

    def find(self, position: FloatArray, rotation: FloatArray, starts: Iterable[FloatArray] = ()) -> FloatArray:
        """Return the angles (n,) that bring the frame nearest to a pose from anywhere: position first, then rotation.

        Args:
            position: (3,) [m].
            rotation: (3, 3).
            starts: Angles (n,) to begin from. Others, always the same, follow when these come not within `_REACHED_M`.
        """
        draw = np.random.default_rng(0)
        others = [(self.low + self.high) / 2, *(draw.uniform(self.low, self.high) for _ in range(_STARTS))]
        given, best, best_cost = list(starts), others[0], np.inf
        for number, start in enumerate([*given, *others]):
            angles = self.solve(position, rotation, start, _FAR_ITERATIONS)
            reached, turned = self.pose(angles)
            away = float(np.linalg.norm(reached - position))
            cost = away + ORIENTATION_M * apart(turned, rotation)
            if cost < best_cost - 1e-6:
                best, best_cost = angles, cost
            if best_cost < _REACHED_M / 10 or (number < len(given) and away < _REACHED_M):
                break
        return best

    def _change(self) -> FloatArray:
        """Return how each joint of the model turns next (nv,)."""
        hessian, linear = self._task.compute_qp_objective(self._configuration)
        hessian.flat[:: len(linear) + 1] += _DAMPING
        change: FloatArray = np.linalg.solve(hessian, -linear)
        angles = self._configuration.data.qpos[self._columns] + change[self._motors]
        if (angles >= self.low).all() and (angles <= self.high).all():
            return change
        return mink.solve_ik(self._configuration, [self._task], 1.0, solver="daqp", damping=_DAMPING, limits=self._limits)

    def _at(self, angles: FloatArray) -> None:
        whole = self._configuration.q
        whole[self._columns] = angles
        self._configuration.update(whole)

    def _check(self, path: Path, joints: Sequence[str]) -> None:
        """Refuse a joint that moves the frame and that nobody turns, and one that is no hinge."""
        if len({*joints}) != len(joints):
            raise ConfigError(f"{path}: two motors turn the same joint: {', '.join(joints)}")
        for joint in joints:
            if self._model.joint(joint).type[0] != mujoco.mjtJoint.mjJNT_HINGE:
                raise ConfigError(f"{path}: {joint} is no hinge; joints that turn are what can be steered")
        jacobian = self._configuration.get_frame_jacobian(*self._frame)
        moving = {self._model.joint(self._model.dof_jntid[dof]).name for dof in np.flatnonzero(np.abs(jacobian).max(0) > 1e-9)}
        if free := sorted(moving - set(joints)):
            raise ConfigError(
                f"{path}: the frame {self._frame[0]} is moved by {', '.join(free)} too, which no motor of `joints` turns"
            )


def _shape(path: Path) -> mujoco.MjModel:
    """Return the model of a file without its geometry, whose meshes may be missing.

    Raises:
        ConfigError: It is none.
    """
    try:
        spec = mujoco.MjSpec.from_file(str(path))
        for geom in list(spec.geoms):
            spec.delete(geom)
        for mesh in list(spec.meshes):
            spec.delete(mesh)
        spec.compiler.fusestatic = False  # frames on fixed links keep their names
        spec.compiler.boundmass, spec.compiler.boundinertia = 1e-6, 1e-9
        return spec.compile()
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: no MJCF or URDF that MuJoCo reads: {' '.join(str(error).split())[:200]}") from error


def _names(model: mujoco.MjModel, kind: str) -> list[str]:
    count = {"site": model.nsite, "body": model.nbody, "joint": model.njnt}[kind]
    return [getattr(model, kind)(index).name for index in range(count)]
