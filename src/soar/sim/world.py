"""The simulated tabletop: physics, control and rendering. Nothing here knows of policies or tasks.

Time axis: one `step` is one action of 0.2 s, that is 50 physics steps of 4 ms. The commanded pose accumulates the actions'
deltas (held within 6 cm of the real pose); the joint targets move to it in 5 chunks.

Ownership: a world owns its renderer, made when the first picture is asked for; `close` frees it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soar.errors import UnknownNameError
from soar.seeding import generator
from soar.sim import kinematics, placement
from soar.sim.appearance import Appearance, table_texture
from soar.sim.arm import FINGER_OPEN_M
from soar.sim.catalogue import find_object, find_table
from soar.sim.cloth import Cloth
from soar.sim.mjcf import CAMERAS, scene_xml
from soar.sim.rendering import Camera, mujoco
from soar.sim.scene import DRAWER_TRAVEL_M, SceneConfig, body_name
from soar.types import Action, Image

CHUNKS = 5
PHYSICS_STEPS_PER_CHUNK = 10
LEASH_M = 0.06
MAX_TILT_RAD = 0.3
MAX_YAW_RAD = 1.7
FINGER_STEP_M = 0.015
"""Travel of a finger in one control step; faster fingers kick small objects away."""
FINGER_CLOSED_M = -0.004
"""What a finger is told to close to: past the other one, so that it holds things with force."""
FINGER_CLOSED_ON_CLOTH_M = 0.002
"""The same with a cloth on the table: full force would press the fingers through it."""
PINCHED = 0.08
"""A gripper that is closed further has no cloth between its fingers, though both may touch it."""
HOME_POSITION = np.array([0.225, 0.0, 0.145])

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The complete state of a world: restoring it and repeating the actions repeats the future bit by bit.

    MuJoCo's data is kept whole: after a step, poses and contacts are those at which the last physics step began, so that
    computing them anew from the joints would give a slightly different picture.
    """

    physics: mujoco.MjData
    position: FloatArray
    rpy: FloatArray
    finger_m: float
    gripper_target: float


class World:
    """One compiled scene.

    Args:
        config: The scene.
        image_size: Height and width of the camera image in pixels.
        cameras: Further ones, some of `soar.sim.mjcf.CAMERAS`. What is not asked for is neither there nor drawn.

    Raises:
        UnknownNameError: There is no such camera.
    """

    def __init__(self, config: SceneConfig, *, image_size: int = 256, cameras: Sequence[str] = ()) -> None:
        self.config = config
        self.image_size = image_size
        self.cameras = tuple(cameras)
        if unknown := sorted(set(cameras) - set(CAMERAS)):
            raise UnknownNameError("simulated camera", unknown[0], CAMERAS)
        texture = table_texture(find_table(config.appearance.table, config.name), config.appearance.seed)
        self.model = mujoco.MjModel.from_xml_string(scene_xml(config, self.cameras), {"table.png": texture})
        self.data = mujoco.MjData(self.model)
        self.specs = {name: find_object(name, config.name) for name in config.objects}
        self.graspable = [name for name, spec in self.specs.items() if spec.is_graspable]
        self.containers = [name for name, spec in self.specs.items() if spec.is_container]
        cloths = [name for name, spec in self.specs.items() if spec.is_cloth]
        self.cloth = Cloth(self.model, cloths[0], body_name(cloths[0]), self.specs[cloths[0]]) if cloths else None
        self._grip_site = self.model.site("grip").id
        self.tips = (self.model.geom("left_tip").id, self.model.geom("right_tip").id)
        self._base_rgba, self._base_flex_rgba = self.model.geom_rgba.copy(), self.model.flex_rgba.copy()
        self._camera: Camera | None = None
        self.apply_appearance(config.appearance)
        self.reset(0)

    # --- state -----------------------------------------------------------------------------------------------------------

    @property
    def grip_position(self) -> FloatArray:
        """(3,) point between the finger tips in the base frame [m]."""
        return np.array(self.data.site_xpos[self._grip_site])

    @property
    def commanded_position(self) -> FloatArray:
        """(3,) where the servos were told to bring the grip point [m]."""
        return self._position.copy()

    @property
    def grip_rpy(self) -> FloatArray:
        """(3,) roll, pitch, yaw [rad]; (0, 0, 0) points straight down."""
        rotation = self.data.site_xmat[self._grip_site].reshape(3, 3)
        return kinematics.rpy_from_rotation(rotation @ kinematics.POINTING_DOWN.T)

    @property
    def opening(self) -> float:
        """Opening of the gripper, 0 closed to 1 open."""
        return float(np.clip(self.data.qpos[6] / FINGER_OPEN_M, 0.0, 1.0))

    def proprioception(self) -> NDArray[np.float32]:
        """Return (7,) gripper x y z [m], roll pitch yaw [rad], opening 0..1."""
        return np.concatenate([self.grip_position, self.grip_rpy, [self.opening]]).astype(np.float32)

    def object_position(self, name: str) -> FloatArray:
        """Return (3,) the centre of an object in the base frame [m]; the drawer gives its knob."""
        if self.specs[name].shape == "drawer":
            return np.array(self.data.geom("knob").xpos)
        if self.cloth is not None and self.specs[name].is_cloth:
            return np.asarray(self.cloth.vertices(self.data).mean((0, 1)))
        return np.array(self.data.body(body_name(name)).xpos)

    def object_yaw(self, name: str) -> float:
        """Return the heading of an object [rad]."""
        rotation = self.data.body(body_name(name)).xmat.reshape(3, 3)
        return float(np.arctan2(rotation[1, 0], rotation[0, 0]))

    def drawer_opening(self) -> float:
        """Return how far the drawer is open, 0 to 1."""
        return float(self.data.joint("drawer").qpos[0] / DRAWER_TRAVEL_M)

    def is_grasped(self, name: str) -> bool:
        """Whether both finger tips touch the object."""
        if self.cloth is not None and self.specs[name].is_cloth:
            return self.opening > PINCHED and all(self.cloth.touches(self.data, tip) for tip in self.tips)
        if self.specs[name].shape == "drawer":
            first = self.model.geom("knob").id
            last = first + 1
        else:
            body = self.model.body(body_name(name))
            first, last = int(body.geomadr[0]), int(body.geomadr[0] + body.geomnum[0])
        pairs = self.data.contact.geom[: self.data.ncon]
        for tip in self.tips:
            other = np.where(pairs[:, 0] == tip, pairs[:, 1], np.where(pairs[:, 1] == tip, pairs[:, 0], -1))
            if not np.any((other >= first) & (other < last)):
                return False
        return True

    def snapshot(self) -> Snapshot:
        """Return the complete state."""
        return Snapshot(copy.copy(self.data), self._position.copy(), self._rpy.copy(), self._finger_m, self._gripper_target)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this world."""
        mujoco.mj_copyData(self.data, self.model, snapshot.physics)
        self._position, self._rpy = snapshot.position.copy(), snapshot.rpy.copy()
        self._finger_m, self._gripper_target = snapshot.finger_m, snapshot.gripper_target

    # --- control ---------------------------------------------------------------------------------------------------------

    def step(self, action: Action) -> None:
        """Execute one action (7,), see `soar.types.Action`; takes 0.2 simulated seconds."""
        delta = np.asarray(action, np.float64)
        target = self._position + delta[:3]
        here = self.grip_position
        away = target - here
        distance = float(np.linalg.norm(away))
        if distance > LEASH_M:
            target = here + away * (LEASH_M / distance)
        self._position = self.config.workspace.clip(target)
        limits = np.array([MAX_TILT_RAD, MAX_TILT_RAD, MAX_YAW_RAD])
        self._rpy = np.clip(self._rpy + delta[3:6], -limits, limits)
        self._gripper_target = 1.0 if delta[6] > 0.5 else 0.0
        self._servo()

    def _servo(self) -> None:
        start = self.data.ctrl[:6].copy()
        goal = kinematics.inverse(self._position, self._rpy)
        closed_m = FINGER_CLOSED_M if self.cloth is None else FINGER_CLOSED_ON_CLOTH_M
        finger_goal = FINGER_OPEN_M if self._gripper_target > 0.5 else closed_m
        finger_start = self._finger_m
        self._finger_m += float(np.clip(finger_goal - finger_start, -FINGER_STEP_M, FINGER_STEP_M))
        for chunk in range(1, CHUNKS + 1):
            share = chunk / CHUNKS
            self.data.ctrl[:6] = start + share * (goal - start)
            self.data.ctrl[6] = finger_start + share * (self._finger_m - finger_start)
            mujoco.mj_step(self.model, self.data, PHYSICS_STEPS_PER_CHUNK)

    def home(self) -> None:
        """Open the gripper, rise, and go to the home pose, as the real robot does between episodes."""
        for _ in range(3):
            self.step(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        for waypoint in (np.array([*self._position[:2], HOME_POSITION[2]]), HOME_POSITION):
            for _ in range(12):
                move = waypoint - self._position
                distance = float(np.linalg.norm(move))
                turn = np.clip(-self._rpy, -0.3, 0.3)
                if distance < 0.002 and np.abs(turn).max() < 0.01:
                    break
                move *= min(1.0, 0.04 / max(distance, 1e-9))
                self.step(np.array([*move, *turn, 1], np.float32))
        for _ in range(2):
            self.step(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))

    # --- placement -------------------------------------------------------------------------------------------------------

    def reset(
        self,
        seed: int,
        *,
        inside: dict[str, str] | None = None,
        drawer_open: float | None = None,
        folded: bool | None = None,
        gap_m: float = 0.014,
        used: bool = False,
        arm: FloatArray = HOME_POSITION,
    ) -> None:
        """Put the arm home and the objects at random places.

        Args:
            seed: Of the placement.
            inside: Objects that start in (or on) a container: name of the object → name of the container.
            drawer_open: Opening of the drawer, 0 to 1; random (closed or open) when None.
            folded: Whether the cloth starts folded; random when None.
            gap_m: Least distance between things.
            used: Leave things as practice does, see `soar.sim.placement`, not as a person sets them.
            arm: (3,) where the grip point is instead of home [m]; nothing checks that it is free.
        """
        mujoco.mj_resetData(self.model, self.data)
        self._position, self._rpy = np.array(arm), np.zeros(3)
        self._finger_m, self._gripper_target = FINGER_OPEN_M, 1.0
        joints = kinematics.inverse(self._position, self._rpy)
        self.data.qpos[:6] = joints
        self.data.qpos[6:8] = FINGER_OPEN_M
        self.data.ctrl[:6], self.data.ctrl[6] = joints, FINGER_OPEN_M
        placement.place(self, seed, inside or {}, gap_m, used=used)
        rng = generator(seed, "drawer")
        if "drawer" in self.specs:
            opening = drawer_open if drawer_open is not None else float(rng.integers(2))
            opening = float(np.clip(opening + 0.06 * rng.standard_normal(), 0.0, 0.97 if opening > 0.5 else 0.08))
            self.data.joint("drawer").qpos[0] = opening * DRAWER_TRAVEL_M
        if self.cloth is not None:
            placement.lay_cloth(self.cloth, self.data, generator(seed, "cloth"), folded)
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_step(self.model, self.data, 60)

    def set_object(self, name: str, position: tuple[float, float, float], yaw: float, *, fallen: bool = False) -> None:
        """Place a free object at a position [m] and heading [rad], upright or lying on its side."""
        joint = self.data.joint(body_name(name))
        turn = np.array([np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)])
        # A quarter turn about the x axis, then the heading.
        quarter = np.sqrt(0.5) * np.array([turn[0], turn[0], turn[3], turn[3]])
        joint.qpos[:] = [*position, *(quarter if fallen else turn)]
        joint.qvel[:] = 0

    def set_container(self, name: str, x: float, y: float, yaw: float) -> None:
        """Place a container at x, y [m] and heading [rad]."""
        for axis, value in (("x", x), ("y", y), ("yaw", yaw)):
            self.data.joint(f"{body_name(name)}_{axis}").qpos[0] = value
        mujoco.mj_kinematics(self.model, self.data)

    # --- rendering -------------------------------------------------------------------------------------------------------

    def apply_appearance(self, appearance: Appearance) -> None:
        """Change camera, light, tints and barriers without recompiling (the table's pattern stays)."""
        model = self.model
        camera = model.camera("front").id
        position, target = np.array(appearance.camera_position), np.array(appearance.camera_target)
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(right, forward), -forward], axis=1)
        mujoco.mju_mat2Quat(model.cam_quat[camera], rotation.reshape(-1))
        model.cam_pos[camera] = position
        model.cam_fovy[camera] = appearance.field_of_view_deg
        light = model.light("lamp").id
        direction = np.array(appearance.light_direction)
        model.light_dir[light] = direction / np.linalg.norm(direction)
        model.light_diffuse[light] = 0.5 * appearance.light
        model.geom_rgba[:], model.flex_rgba[:] = self._base_rgba, self._base_flex_rgba
        model.mat_rgba[model.material("table").id, :3] = np.clip(appearance.tint, 0, 1.3)
        model.geom_rgba[model.geom("table_top").id, :3] = np.clip(appearance.tint, 0, 1.3)
        for side in range(4):
            model.geom_rgba[model.geom(f"barrier{side}").id, 3] = appearance.barrier_opacity
        if appearance.object_tint > 0:
            rng = generator(appearance.seed, "object tint")
            for name in self.config.objects:
                if self.cloth is not None and self.specs[name].is_cloth:
                    tinted = self.specs[name].rgb * (1 + appearance.object_tint * rng.uniform(-1, 1, 3))
                    model.flex_rgba[self.cloth.flex, :3] = np.clip(tinted, 0, 1)
                    continue
                body = model.body("cabinet" if self.specs[name].shape == "drawer" else body_name(name))
                first, count = int(body.geomadr[0]), int(body.geomnum[0])
                factors = 1 + appearance.object_tint * rng.uniform(-1, 1, 3)
                colours = model.geom_rgba[first : first + count, :3] * factors
                model.geom_rgba[first : first + count, :3] = np.clip(colours, 0, 1)

    def render(self, camera: str = "front") -> Image:
        """Return the image (image_size, image_size, 3) uint8 RGB of the main camera, `front`, or of another one."""
        if self._camera is None:
            self._camera = Camera(self.model, self.image_size)
        return self._camera.render(self.data, camera)

    def close(self) -> None:
        """Free the renderer."""
        if self._camera is not None:
            self._camera.close()
            self._camera = None
