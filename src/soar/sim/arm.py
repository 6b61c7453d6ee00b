"""The WidowX 250s as MuJoCo XML: true kinematics, primitive geoms, a parallel gripper that holds by friction.

Contacts are sorted by bits: only the gripper touches the world; the rest of the arm is for the eye. The gripper passes through
the barriers (objects do not), as a policy that is kept inside its workspace box would otherwise get stuck at them.
"""

from __future__ import annotations

from soar.sim import kinematics as k

TABLE_BIT, OBJECT_BIT, CONTAINER_BIT, GRIPPER_BIT, BARRIER_BIT = 1, 2, 4, 8, 16
FINGER_OPEN_M = 0.030
ARM_RGBA = "0.16 0.16 0.18 1"
TIP_RGBA = "0.1 0.85 0.9 1"
"""The finger tips contrast with everything else: at 64 px they are the only sign of where the gripper is and if it is open."""

_PAD = (
    f'contype="{GRIPPER_BIT}" conaffinity="{TABLE_BIT | CONTAINER_BIT}" condim="4" friction="2.0 0.05 0.001" '
    'solref="0.006 1" priority="1"'
)
_EYE = 'contype="0" conaffinity="0"'
WRIST_CAMERA = '<camera name="wrist" pos="-0.02 0 0.07" xyaxes="0 -1 0 0.474 0 0.88" fovy="60"/>'
"""Beside the gripper, on the side away from the base; it looks past the finger tips."""


def _joint(index: int, axis: str, position: str) -> str:
    low, high = k.LOWER_RAD[index], k.UPPER_RAD[index]
    return (
        f'<joint name="{k.JOINTS[index]}" axis="{axis}" pos="{position}" range="{low} {high}" '
        'damping="4" armature="0.1" limited="true"/>'
    )


def _finger(name: str, side: int) -> str:
    return f"""
    <body name="{name}_finger" pos="0 {side * 0.004} 0" gravcomp="1">
      <joint name="{name}_finger" type="slide" axis="0 {side} 0" range="0 0.030" damping="30" armature="0.05"/>
      <inertial pos="0.07 0 0" mass="0.02" diaginertia="1e-5 1e-5 1e-5"/>
      <geom type="box" pos="0.055 0 0" size="0.024 0.004 0.007" rgba="{ARM_RGBA}" {_EYE}/>
      <geom name="{name}_tip" type="box" pos="0.0885 0 0" size="0.0145 0.004 0.009" rgba="{TIP_RGBA}" {_PAD}/>
    </body>"""


def arm_body(on_gripper: str = "") -> str:
    """Return the arm as a `<body>`; the finger joints measure half the opening between the pads [m].

    Args:
        on_gripper: What is mounted on the gripper besides.
    """
    return f"""
<body name="base" pos="0 0 0">
  <geom type="cylinder" size="0.055 0.035" pos="0 0 0.035" rgba="{ARM_RGBA}" {_EYE}/>
  <body name="shoulder_link" pos="0 0 0.072" gravcomp="1">
    {_joint(0, "0 0 1", "0 0 0")}
    <inertial pos="0 0 0.02" mass="0.48" diaginertia="5e-4 5e-4 5e-4"/>
    <geom type="cylinder" size="0.038 0.03" pos="0 0 0.02" rgba="{ARM_RGBA}" {_EYE}/>
    <body name="upper_arm_link" pos="0 0 {k.SHOULDER_HEIGHT_M - 0.072}" gravcomp="1">
      {_joint(1, "0 1 0", "0 0 0")}
      <inertial pos="0.02 0 0.15" mass="0.75" diaginertia="4e-3 4e-3 6e-4"/>
      <geom type="capsule" fromto="0 0 0 0 0 {k.ELBOW_UP_M}" size="0.022" rgba="{ARM_RGBA}" {_EYE}/>
      <geom type="capsule" fromto="0 0 {k.ELBOW_UP_M} {k.ELBOW_FORWARD_M} 0 {k.ELBOW_UP_M}" size="0.022" rgba="{ARM_RGBA}"
        {_EYE}/>
      <body name="forearm_link" pos="{k.ELBOW_FORWARD_M} 0 {k.ELBOW_UP_M}" gravcomp="1">
        {_joint(2, "0 -1 0", "0 0 0")}
        <inertial pos="0.1 0 0" mass="0.32" diaginertia="3e-4 1e-3 1e-3"/>
        <geom type="capsule" fromto="0 0 0 0.16 0 0" size="0.02" rgba="{ARM_RGBA}" {_EYE}/>
        <body name="forearm_roll_link" pos="0.175 0 0" gravcomp="1">
          {_joint(3, "1 0 0", "0 0 0")}
          <inertial pos="0.04 0 0" mass="0.12" diaginertia="1e-4 1e-4 1e-4"/>
          <geom type="capsule" fromto="0 0 0 0.07 0 0" size="0.018" rgba="{ARM_RGBA}" {_EYE}/>
          <body name="wrist_link" pos="0.075 0 0" gravcomp="1">
            {_joint(4, "0 -1 0", "0 0 0")}
            <inertial pos="0.03 0 0" mass="0.11" diaginertia="1e-4 1e-4 1e-4"/>
            <geom type="capsule" fromto="0 0 0 0.05 0 0" size="0.017" rgba="{ARM_RGBA}" {_EYE}/>
            <body name="gripper_link" pos="0.065 0 0" gravcomp="1">
              {_joint(5, "1 0 0", "0 0 0")}
              <inertial pos="0.03 0 0" mass="0.18" diaginertia="2e-4 2e-4 2e-4"/>
              <geom type="box" pos="0.018 0 0" size="0.016 0.042 0.014" rgba="{ARM_RGBA}" {_EYE}/>
              <site name="grip" pos="0.093575 0 0" size="0.003" rgba="0 0 0 0"/>{on_gripper}
              {_finger("left", 1)}
              {_finger("right", -1)}
            </body>
          </body>
        </body>
      </body>
    </body>
  </body>
</body>"""


def arm_actuators() -> str:
    """Return the servos: six joint positions, and one finger position that the other finger mirrors."""
    gains = (600, 900, 700, 200, 250, 120)
    servos = "".join(
        f'<position name="{name}" joint="{name}" kp="{gain}" kv="{gain * 0.05}"/>'
        for name, gain in zip(k.JOINTS, gains, strict=True)
    )
    return (
        f'<actuator>{servos}<position name="fingers" joint="left_finger" kp="900" kv="20" forcerange="-22 22"/></actuator>'
        '<equality><joint joint1="right_finger" joint2="left_finger" polycoef="0 1 0 0 0" solref="0.006 1"/></equality>'
        '<contact><exclude body1="left_finger" body2="right_finger"/></contact>'
    )
