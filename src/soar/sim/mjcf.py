"""The MuJoCo XML of a scene.

Containers slide and turn on the table but cannot tip; objects are free bodies; plexiglass barriers keep objects (not the
gripper) on the table, so that a scene stays solvable for a whole night without resets.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from soar.sim import arm
from soar.sim.catalogue import ObjectSpec, find_object, find_table
from soar.sim.cloth import MEMORY, cloth_xml
from soar.sim.scene import BARRIER_HIGH, BARRIER_LOW, BOWL_FLOOR_M, DRAWER_POSITION, DRAWER_TRAVEL_M, SceneConfig, body_name

_WALLS = 12
_SIDE_CAMERA = '<camera name="side" pos="0.28 -0.55 0.5" xyaxes="1 0 0 0 0.65 0.76" fovy="36"/>'
CAMERAS = ("side", "wrist")
"""Further cameras that a scene may have beside the one that faces the robot."""


def _rgba(spec: ObjectSpec, shade: float = 1.0) -> str:
    return " ".join(f"{min(1.0, c * shade):.3f}" for c in spec.rgb) + " 1"


def _graspable(name: str, spec: ObjectSpec) -> str:
    body, rgba = body_name(name), _rgba(spec)
    touch = f'contype="{arm.OBJECT_BIT}" conaffinity="{31}" condim="4" friction="0.9 0.02 0.001" solref="0.006 1"'
    eye = 'contype="0" conaffinity="0" mass="0"'
    half = spec.size[0]
    height = spec.half_height_m
    if spec.shape == "block":
        geoms = f'<geom type="box" size="{half} {half} {half}" rgba="{rgba}" mass="0.04" {touch}/>'
    elif spec.shape in ("ball", "disc", "mushroom"):
        square = 0.86 * half
        geoms = f'<geom type="box" size="{square} {square} {height}" rgba="0 0 0 0" mass="0.04" {touch}/>'
        if spec.shape == "ball":
            geoms += f'<geom type="ellipsoid" size="{half} {half} {height}" rgba="{rgba}" {eye}/>'
        elif spec.shape == "disc":
            geoms += f'<geom type="cylinder" size="{half} {height}" rgba="{rgba}" {eye}/>'
        else:
            geoms += (
                f'<geom type="ellipsoid" pos="0 0 {0.3 * height}" size="{half} {half} {0.7 * height}" rgba="{rgba}" {eye}/>'
            )
            geoms += (
                f'<geom type="cylinder" pos="0 0 {-0.4 * height}" size="{0.45 * half} {0.6 * height}" '
                f'rgba="{_rgba(spec, 1.1)}" {eye}/>'
            )
    else:
        length = half - height if spec.shape == "bar" else half
        geoms = f'<geom type="box" size="{half} {height} {height}" rgba="0 0 0 0" mass="0.04" {touch}/>'
        geoms += f'<geom type="capsule" fromto="{-length} 0 0 {length} 0 0" size="{height}" rgba="{rgba}" {eye}/>'
        if spec.shape == "spoon":
            geoms += f'<geom type="ellipsoid" pos="{half} 0 0" size="0.017 0.014 {height}" rgba="{rgba}" {eye}/>'
    return f'<body name="{body}"><freejoint name="{body}"/>{geoms}</body>'


def _container(name: str, spec: ObjectSpec) -> str:
    body, radius, height = body_name(name), spec.size[0], spec.size[1]
    touch = f'contype="{arm.CONTAINER_BIT}" conaffinity="0" friction="0.8 0.02 0.001" solref="0.006 1"'
    parts = [
        f'<geom type="cylinder" pos="0 0 {BOWL_FLOOR_M / 2}" size="{radius} {BOWL_FLOOR_M / 2}" mass="0.25" '
        f'rgba="{_rgba(spec, 0.85 if spec.shape == "bowl" else 1.0)}" {touch}/>'
    ]
    width = 1.04 * radius * math.tan(math.pi / _WALLS)
    for index in range(_WALLS):
        angle = 2 * math.pi * index / _WALLS
        parts.append(
            f'<geom type="box" pos="{radius * math.cos(angle):.5f} {radius * math.sin(angle):.5f} {height / 2}" '
            f'euler="0 0 {angle:.5f}" size="0.003 {width:.5f} {height / 2}" mass="0.005" rgba="{_rgba(spec)}" {touch}/>'
        )
    margin = radius + 0.006
    x_range = f"{BARRIER_LOW[0] + margin} {BARRIER_HIGH[0] - margin}"
    y_range = f"{BARRIER_LOW[1] + margin} {BARRIER_HIGH[1] - margin}"
    resist = 'frictionloss="0.5" damping="4"'
    return f"""<body name="{body}" pos="0 0 0">
      <joint name="{body}_x" type="slide" axis="1 0 0" range="{x_range}" limited="true" {resist}/>
      <joint name="{body}_y" type="slide" axis="0 1 0" range="{y_range}" limited="true" {resist}/>
      <joint name="{body}_yaw" type="hinge" axis="0 0 1" frictionloss="0.02" damping="0.02"/>
      {"".join(parts)}</body>"""


def _drawer(spec: ObjectSpec) -> str:
    half_x, half_y = spec.size[0], spec.size[1]
    height = 0.052
    shell, tray = _rgba(spec), _rgba(spec, 1.3)
    touch = f'contype="{arm.CONTAINER_BIT}" conaffinity="0" friction="1.0 0.02 0.001"'
    x, y = DRAWER_POSITION
    return f"""<body name="cabinet" pos="{x} {y} 0">
      <geom type="box" pos="0 0 {height - 0.002}" size="{half_x} {half_y} 0.002" rgba="{shell}" {touch}/>
      <geom type="box" pos="{half_x} 0 {height / 2}" size="0.002 {half_y} {height / 2}" rgba="{shell}" {touch}/>
      <geom type="box" pos="{-half_x} 0 {height / 2}" size="0.002 {half_y} {height / 2}" rgba="{shell}" {touch}/>
      <geom type="box" pos="0 {-half_y} {height / 2}" size="{half_x} 0.002 {height / 2}" rgba="{shell}" {touch}/>
      <body name="drawer">
        <joint name="drawer" type="slide" axis="0 1 0" range="0 {DRAWER_TRAVEL_M}" limited="true" frictionloss="5"
          damping="12"/>
        <geom type="box" pos="0 0 0.004" size="{half_x - 0.005} {half_y - 0.004} 0.002" rgba="{tray}" mass="0.2" {touch}/>
        <geom type="box" pos="{half_x - 0.006} 0 0.02" size="0.002 {half_y - 0.004} 0.018" rgba="{tray}" mass="0.02" {touch}/>
        <geom type="box" pos="{-half_x + 0.006} 0 0.02" size="0.002 {half_y - 0.004} 0.018" rgba="{tray}" mass="0.02" {touch}/>
        <geom type="box" pos="0 {half_y} 0.026" size="{half_x} 0.003 0.026" rgba="{tray}" mass="0.05" {touch}/>
        <geom name="knob" type="box" pos="0 {half_y} 0.068" size="0.011 0.006 0.019" rgba="0.9 0.25 0.15 1" mass="0.02"
          {touch} priority="1" condim="4"/>
      </body>
    </body>"""


def _barriers() -> str:
    (x0, y0), (x1, y1) = BARRIER_LOW, BARRIER_HIGH
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    half_x, half_y = (x1 - x0) / 2, (y1 - y0) / 2
    sides = [
        (middle_x, y0 - 0.002, half_x, 0.002),
        (middle_x, y1 + 0.002, half_x, 0.002),
        (x0 - 0.002, middle_y, 0.002, half_y),
        (x1 + 0.002, middle_y, 0.002, half_y),
    ]
    touch = f'contype="{arm.BARRIER_BIT}" conaffinity="0" friction="0.1 0.005 0.0001"'
    return "".join(
        # An invisible wall stands on the visible one: an object that the gripper drops outside would be lost for the night.
        f'<geom name="barrier{i}" type="box" pos="{x} {y} 0.03" size="{sx} {sy} 0.03" rgba="0.8 0.92 0.95 0" {touch}/>'
        f'<geom type="box" pos="{x} {y} 0.2" size="{sx} {sy} 0.2" rgba="0 0 0 0" {touch}/>'
        for i, (x, y, sx, sy) in enumerate(sides)
    )


def scene_xml(config: SceneConfig, cameras: Collection[str] = ()) -> str:
    """Return the MuJoCo XML of a scene; its asset `table.png` is `soar.sim.appearance.table_texture`.

    Args:
        config: The scene.
        cameras: Some of `CAMERAS`; what the main one sees does not depend on them.
    """
    parts = []
    for name in config.objects:
        spec = find_object(name, f"scene {config.name!r}")
        if spec.shape == "drawer":
            parts.append(_drawer(spec))
        elif spec.is_cloth:
            parts.append(cloth_xml(body_name(name), spec))
        else:
            parts.append(_container(name, spec) if spec.is_container else _graspable(name, spec))
    memory = MEMORY if any(find_object(name, config.name).is_cloth for name in config.objects) else "8M"
    wall = " ".join(str(c) for c in find_table(config.appearance.table, config.name).wall)
    table_bits = f'contype="{arm.TABLE_BIT}" conaffinity="0"'
    return f"""<mujoco model="{config.name}">
  <compiler angle="radian"/>
  <option timestep="0.004" integrator="Euler" cone="elliptic" impratio="10" solver="Newton" iterations="30"/>
  <size memory="{memory}"/>
  <visual>
    <quality shadowsize="0" offsamples="0"/>
    <global offwidth="512" offheight="512"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.25 0.25 0.25" specular="0 0 0"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <asset>
    <texture name="table" type="2d" file="table.png"/>
    <material name="table" texture="table" texrepeat="3 3" specular="0" shininess="0"/>
  </asset>
  <worldbody>
    <light name="lamp" pos="0.3 0 1.5" dir="-0.4 0.2 -1" directional="true" diffuse="0.5 0.5 0.5" specular="0 0 0"
      castshadow="false"/>
    <camera name="front" pos="0.7 0 0.44" fovy="34"/>{_SIDE_CAMERA if "side" in cameras else ""}
    <geom type="plane" size="1 1 0.1" rgba="0 0 0 0" friction="0.9 0.02 0.001" {table_bits}/>
    <geom name="table_top" type="box" pos="0.25 0 -0.011" size="0.42 0.5 0.01" material="table" contype="0" conaffinity="0"/>
    <geom name="wall" type="box" pos="-0.6 0 0.4" size="0.02 1.6 1.0" rgba="{wall} 1" contype="0" conaffinity="0"/>
    <geom name="floor" type="box" pos="0 0 -0.5" size="2 2 0.02" rgba="{wall} 1" contype="0" conaffinity="0"/>
    {arm.arm_body(arm.WRIST_CAMERA if "wrist" in cameras else "")}
    {_barriers()}
    {"".join(parts)}
  </worldbody>
  {arm.arm_actuators()}
</mujoco>"""
