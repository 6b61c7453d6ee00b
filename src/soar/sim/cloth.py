"""A cloth: a grid of point masses joined by threads that hardly stretch, that touches itself (a MuJoCo flex).

The grid runs along x, away from the robot, and along y. The camera faces the robot, so that the *left* of the image is at
negative y: folding from right to left carries the edge at positive y onto the one at negative y.

How far a cloth is folded is read from three columns of points, along the cloth's own y and in units of its width. `span` is the
way from the left edge to the right one: 1 when flat, 0 when folded. `depth` is the way from the edges to the middle, where the
fold is: 0.5 when folded neatly, about 0 when flat or crumpled, negative when folded the other way.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from soar.sim import arm
from soar.sim.catalogue import ObjectSpec
from soar.sim.rendering import mujoco

FloatArray = NDArray[np.float64]
RADIUS_M = 0.004
"""Half the thickness of the cloth; thinner ones slip out of the grip and through themselves."""
MASS_PER_M2 = 2.0
FOLD_RADIUS_M = 0.008
"""Of the bend of a cloth that is laid folded."""
MEMORY = "32M"


def cloth_xml(body: str, spec: ObjectSpec) -> str:
    """Return the flex of a cloth that lies in the middle of the workspace.

    Threads are equality constraints along every edge of the triangles: a cloth that is soft in tension can be pulled out from
    under its own fold. Bending is elastic and weak.
    """
    half_x, half_y, rows, columns = *spec.size[:2], int(spec.size[2]), int(spec.size[3])
    spacing = f"{2 * half_x / (rows - 1)} {2 * half_y / (columns - 1)} 1"
    mass = MASS_PER_M2 * 4 * half_x * half_y
    rgba = " ".join(f"{c:.3f}" for c in spec.rgb) + " 1"
    return f"""<flexcomp name="{body}" type="grid" count="{rows} {columns} 1" spacing="{spacing}" pos="0.28 0 {RADIUS_M}"
      radius="{RADIUS_M}" mass="{mass}" dim="2" rgba="{rgba}">
      <edge equality="true" damping="0.001"/>
      <elasticity young="3e5" poisson="0.2" thickness="0.002" elastic2d="bend" damping="0.002"/>
      <contact selfcollide="auto" contype="{arm.OBJECT_BIT}" conaffinity="31" condim="1" friction="0.7 0.005 0.0001"
        solref="0.01 1"/>
    </flexcomp>"""


class Cloth:
    """Reads and lays the cloth of a compiled scene.

    Args:
        model: The compiled scene.
        name: Of the object.
        body: Name of the flex.
        spec: What was compiled.
    """

    def __init__(self, model: mujoco.MjModel, name: str, body: str, spec: ObjectSpec) -> None:
        self.name = name
        self.half_m = (spec.size[0], spec.size[1])
        self.shape = (int(spec.size[2]), int(spec.size[3]))
        count = self.shape[0] * self.shape[1]
        self.flex = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_FLEX, body)
        first = int(model.flex_vertadr[self.flex])
        self._vertices = slice(first, first + count)
        bodies = model.flex_vertbodyid[self._vertices]
        joints = model.body_jntadr[bodies]
        self._qpos = model.jnt_qposadr[joints][:, None] + np.arange(3)
        self._qvel = model.jnt_dofadr[joints][:, None] + np.arange(3)
        self._rest = model.body_pos[bodies].copy()
        local = self._rest - self._rest.mean(0)
        self._local = local[:, :2]

    def vertices(self, data: mujoco.MjData) -> FloatArray:
        """Return (rows along x, columns along y, 3) positions [m]."""
        return np.asarray(data.flexvert_xpos[self._vertices]).reshape(*self.shape, 3)

    def edges(self, data: mujoco.MjData) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (rows, 3) positions of the left edge, the middle and the right edge, as seen flat in the image."""
        grid = self.vertices(data)
        return grid[:, 0], grid[:, (self.shape[1] - 1) // 2], grid[:, -1]

    def axis(self, data: mujoco.MjData) -> FloatArray:
        """Return (2,) the horizontal direction across the cloth, from its left edge to its right edge when flat.

        It is square to the threads along x, which no fold turns over.
        """
        grid = self.vertices(data)
        along = (grid[-1] - grid[0]).mean(0)[:2]
        along /= max(1e-9, float(np.linalg.norm(along)))
        return np.array([-along[1], along[0]])

    def span(self, data: mujoco.MjData) -> float:
        """Return the way from the left edge to the right edge in units of the width: 1 flat, 0 folded."""
        left, _, right = self.edges(data)
        return float((right - left).mean(0)[:2] @ self.axis(data) / (2 * self.half_m[1]))

    def depth(self, data: mujoco.MjData) -> float:
        """Return how far the middle lies right of both edges, in units of the width: 0.5 when folded right to left."""
        left, middle, right = self.edges(data)
        return float((middle - 0.5 * (left + right)).mean(0)[:2] @ self.axis(data) / (2 * self.half_m[1]))

    def touches(self, data: mujoco.MjData, geom: int) -> bool:
        """Whether a geom touches the cloth."""
        contact = data.contact
        mine = contact.flex[: data.ncon, 1] == self.flex
        return bool(np.any(mine & (contact.geom[: data.ncon, 0] == geom)))

    def lay(
        self, data: mujoco.MjData, position: tuple[float, float], yaw: float, *, folded: bool, shift_m: float = 0.0
    ) -> None:
        """Lay the cloth at rest, flat or folded from right to left.

        Args:
            data: Its joints are written; the caller computes what follows from them.
            position: x, y of the middle of the area that it covers [m].
            yaw: Heading [rad].
            folded: Whether the right half lies on the left half.
            shift_m: By how much the upper edge falls short of the lower one, when folded.
        """
        across, height = self._local[:, 1].copy(), np.full(len(self._local), RADIUS_M)
        along = self._local[:, 0]
        if folded:
            across, height = _fold(across - 0.5 * shift_m)
            across -= 0.5 * (across.min() + across.max())
        cos, sin = math.cos(yaw), math.sin(yaw)
        target = np.stack([position[0] + cos * along - sin * across, position[1] + sin * along + cos * across, height], axis=1)
        data.qpos[self._qpos] = target - self._rest
        data.qvel[self._qvel] = 0


def _fold(across: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return where material at `across` [m] from the fold lies: (across, height), the right half back over the left one."""
    bend = math.pi * FOLD_RADIUS_M
    angle = np.clip((across + bend / 2) / FOLD_RADIUS_M, 0, math.pi)
    beyond = np.maximum(0, across - bend / 2)
    before = np.minimum(0, across + bend / 2)
    return before + FOLD_RADIUS_M * np.sin(angle) - beyond, RADIUS_M + FOLD_RADIUS_M * (1 - np.cos(angle))
