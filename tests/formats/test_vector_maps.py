"""Maps of vectors, and what names say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from soar.errors import ConfigError, FormatError
from soar.formats.vector_maps import PLAIN, ROTATIONS, VECTOR, Term, VectorMap, parse_map
from soar.formats.vector_names import names_of, read_names

ANGLES = np.array([0.3, -0.4, 1.2])
TURN = Rotation.from_euler("xyz", ANGLES)
MATRIX = TURN.as_matrix()
WAYS = {
    "roll pitch yaw": ANGLES,
    "qx qy qz qw": TURN.as_quat(),
    "rx ry rz": TURN.as_rotvec(),
    "c1 c2 c3 c4 c5 c6": MATRIX[:, :2].T.ravel(),
    "r1 r2 r3 r4 r5 r6": MATRIX[:2].ravel(),
}
terms = st.builds(
    Term,
    source=st.none() | st.integers(0, 11),
    factor=st.sampled_from([1.0, -1.0, math.pi / 180]) | st.floats(-1e3, 1e3).filter(bool),
    offset=st.floats(-1e3, 1e3),
)


def vector_map(names: Any, dim: int, what: str = "action") -> tuple[VectorMap, str]:
    return read_names(what, names_of(names, dim), dim, "", flag=f"--{what}-map", place="here")


@given(st.sampled_from(ROTATIONS), st.data())
def test_a_map_that_is_written_and_read_is_the_same(kind: tuple[str, ...], data: st.DataObject) -> None:
    targets = ("x", "y", "z", *kind, "gripper")
    written = {target: data.draw(terms) for target in targets}
    # What has no source is its offset.
    written = {
        name: term if term.source is not None else Term(source=None, offset=term.offset + 0.0) for name, term in written.items()
    }
    read = parse_map(str(VectorMap(terms=written, count=12)), [""] * 12, flag="--state-map")
    for target, term in written.items():
        other = read.terms[target]
        assert (other.source, other.offset) == (term.source, term.offset)
        assert other.factor == pytest.approx(term.factor, rel=1e-15)


@given(arrays.arrays(np.float32, (4, 7), elements=st.floats(-1, 1, width=32)), st.permutations(range(7)))
def test_vectors_in_another_order_come_back_to_the_bit(values: np.ndarray, order: list[int]) -> None:
    names = [VECTOR[place] for place in order]
    mapped, _ = vector_map(names, 7)
    assert mapped(values[:, order], "here").tobytes() == values.tobytes()
    by_name = parse_map(",".join(f"{name}={name}" for name in VECTOR), names, flag="--action-map")
    assert by_name.terms == mapped.terms


@given(arrays.arrays(np.float64, 4, elements=st.floats(-1, 1)).filter(lambda values: np.linalg.norm(values) > 0.1))
def test_a_quaternion_keeps_its_rotation(values: np.ndarray) -> None:
    quaternion = values / np.linalg.norm(values)
    mapped, _ = vector_map(["x", "y", "z", "qw", "qx", "qy", "qz", "gripper"], 8)
    row = np.array([[0, 0, 0, quaternion[3], *quaternion[:3], 1]])
    turned = Rotation.from_euler("xyz", mapped(row, "here")[0, 3:6])
    assert (turned.inv() * Rotation.from_quat(quaternion)).magnitude() < 1e-3


@pytest.mark.parametrize("targets", WAYS)
def test_every_way_to_write_a_rotation_gives_the_same_angles(targets: str) -> None:
    numbers = WAYS[targets]
    names = targets.split()
    text = "x=0,y=1,z=2,gripper=3," + ",".join(f"{name}={place + 4}" for place, name in enumerate(names))
    mapped = parse_map(text, [""] * (4 + len(names)), flag="--state-map")
    got = mapped(np.array([[1.0, 2.0, 3.0, 0.5, *numbers]]), "here")
    np.testing.assert_allclose(got, [[1, 2, 3, *ANGLES, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "row", "expected"),
    [
        ("x=0*0.001,y=1*0.001+0.5,z=-2,roll=3*deg,pitch=-4*deg,yaw=5,gripper=-6+1", [500, 500, 3, 180, 90, 1, 1],
         [0.5, 1, -3, np.pi, -np.pi / 2, 1, 0]),
        ("x=0,y=1,z=2,roll=const:0,pitch=const:-1.5,yaw=3,gripper=const:1", [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 0, -1.5, 4, 1]),
        (" x = 0 , y = 1, z=2, roll=3 , pitch=4, yaw=5, gripper=6 * 0.5 - 1", [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 2.5]),
    ],
)  # fmt: skip
def test_numbers_are_scaled_negated_moved_and_made_up(text: str, row: list[float], expected: list[float]) -> None:
    got = parse_map(text, [""] * 7, flag="--state-map")(np.array([row]), "here")
    np.testing.assert_allclose(got, [expected], atol=1e-6)


def test_the_longest_name_counts_and_odd_names_are_read() -> None:
    names = ["a", "a-b", "a-b*2", "c[0]", "c[1]", "d.pos", "e/f"]
    text = "x=a-b,y=a,z=a-b*2*3-1,roll=-c[1]*deg,pitch=c[0],yaw=d.pos,gripper=e/f*0.5"
    mapped = parse_map(text, names, flag="--action-map")
    assert [term.source for term in mapped.terms.values()] == [1, 0, 2, 4, 3, 5, 6]
    assert mapped.terms["z"] == Term(source=2, factor=3, offset=-1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x=0,y=1", "--action-map lacks z, roll, pitch, yaw, gripper; there is 0 a, 1 b"),
        ("x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=9", "'9' is none of the numbers that are there"),
        ("x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=grip", "'grip' is none of the numbers that are there, .* there is 0 a, 1 b"),
        ("x=0,x=1", "x is there twice"),
        ("x=0,y=1,z=2,roll=3,qx=4,gripper=5", "a rotation is said twice, as roll pitch yaw and as qx qy qz qw"),
        ("forward=0", "'forward=0' must be TARGET=SOURCE"),
        ("x", "'x' must be TARGET=SOURCE"),
        ("x=g", "'g' is the name of 2 numbers; give the place"),
        ("x=0*two", "'0\\*two' is none of the numbers"),
        ("x=const:many", "'const:many' is none of"),
    ],
)
def test_a_text_that_is_no_map_is_refused_with_what_is_there(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_map(text, ["a", "b", "c", "d", "e", "f", "g", "g"], flag="--action-map")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (list(VECTOR), str(PLAIN)),
        (["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"], str(PLAIN)),
        ({"motors": list(VECTOR)}, str(PLAIN)),
        ({"position": ["x", "y", "z"], "angles": ["roll", "pitch", "yaw"], "gripper": ["width"]}, None),
        ({"position": ["x", "y", "z"], "angles": ["roll", "pitch", "yaw"], "gripper": ["gripper_width"]}, str(PLAIN)),
        ({name: place for place, name in enumerate(VECTOR)}, str(PLAIN)),
        ([list(VECTOR)], str(PLAIN)),
        (["x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper"], "x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=7"),
        (["gripper", "x", "y", "z", "roll", "pitch", "yaw"], "x=1,y=2,z=3,roll=4,pitch=5,yaw=6,gripper=0"),
        (["x", "y", "z", "yaw", "pitch", "roll", "gripper"], "x=0,y=1,z=2,roll=5,pitch=4,yaw=3,gripper=6"),
        (["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"], "x=0,y=1,z=2,qx=3,qy=4,qz=5,qw=6,gripper=7"),
        (["x", "y", "z", "rx", "ry", "rz", "rw", "gripper"], "x=0,y=1,z=2,qx=3,qy=4,qz=5,qw=6,gripper=7"),
        ([f"eef_quat_{axis}" for axis in "wxyz"] + [f"eef_pos_{axis}" for axis in "xyz"] + ["gripper_width"],
         "x=4,y=5,z=6,qx=1,qy=2,qz=3,qw=0,gripper=7"),
        (["position.x", "position.y", "position.z", *(f"orientation.{axis}" for axis in "xyzw"), "gripper"],
         "x=0,y=1,z=2,qx=3,qy=4,qz=5,qw=6,gripper=7"),
        (["ee.x", "ee.y", "ee.z", "ee.wx", "ee.wy", "ee.wz", "ee.gripper_pos"], "x=0,y=1,z=2,rx=3,ry=4,rz=5,gripper=6"),
        (["x", "y", "z", *(f"axis_angle_{axis}" for axis in "xyz"), "gripper"], "x=0,y=1,z=2,rx=3,ry=4,rz=5,gripper=6"),
        (["tcpPoseX", "tcpPoseY", "tcpPoseZ", "tcpRoll", "tcpPitch", "tcpYaw", "gripperOpening"], str(PLAIN)),
        (["x_mm", "y_mm", "z_mm", "roll_deg", "pitch_deg", "yaw_deg", "gripper"],
         "x=0*0.001,y=1*0.001,z=2*0.001,roll=3*deg,pitch=4*deg,yaw=5*deg,gripper=6"),
        ([*(f"joint_{n}" for n in range(7)), *VECTOR], "x=7,y=8,z=9,roll=10,pitch=11,yaw=12,gripper=13"),
        (None, str(PLAIN)),
        (["state"], str(PLAIN)),
        ([f"dim_{n}" for n in range(7)], str(PLAIN)),
        ([f"joint_{n}" for n in range(6)] + ["gripper"], None),
        ([f"motor_{n}" for n in range(7)], None),
        ([f"{name}.pos" for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_roll", "gripper")], None),
        ({"motors": ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper"]}, None),
        (["x", "y", "z", "qx", "qy", "qz", "qw"], None),
        (["x", "y", "z", "rx", "ry", "rz", "gripper"], None),
        (["x", "y", "z", "wx", "wy", "wz", "gripper"], None),
        (["vx", "vy", "vz", "roll", "pitch", "yaw", "gripper"], None),
        (["x_vel", "y_vel", "z_vel", "roll", "pitch", "yaw", "gripper"], None),
        (["x", "y", "z", *(f"rot6d_{n}" for n in range(6)), "gripper"], None),
        (["x", "y", "z", *(f"quat_{n}" for n in range(4)), "gripper"], None),
        (["left_x", "left_y", "left_z", "roll", "pitch", "yaw", "gripper", "right_x"], None),
        (["x", "y", "z", "roll", "pitch", "yaw", "left_gripper", "right_gripper"], None),
        (["x", "y", "z", "roll", "pitch", "yaw", "qx", "qy", "qz", "qw", "gripper"], None),
        (["x", "y", "z", "roll", "pitch", "yaw", "something"], None),
        (["x", "y", "z", "yaw", "gripper"], None),
    ],
)  # fmt: skip
def test_names_are_read_or_refused_with_the_list_of_them(names: Any, expected: str | None) -> None:
    dim = len(names_of(names, 7) or range(7))
    if expected is not None:
        assert str(vector_map(names, dim)[0]) == expected
        return
    with pytest.raises(FormatError, match="names of the action are not those") as refused:
        vector_map(names, dim)
    found = names_of(names, dim) or []
    assert ", ".join(f"{place} {name}" for place, name in enumerate(found)) in str(refused.value)
    assert "--action-map x=0,y=1" in str(refused.value)


def test_what_is_read_otherwise_than_it_stands_is_said() -> None:
    assert vector_map(list(VECTOR), 7)[1] == ""
    assert (
        "read as x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=7; left out: pad" in vector_map([*VECTOR[:6], "pad", "gripper"], 8)[1]
    )
    assert "nothing names the seven numbers of the action" in vector_map(None, 7)[1]
    with pytest.raises(FormatError, match="the action has 8 numbers without names, and not 7"):
        vector_map(None, 8)
    with pytest.raises(FormatError, match="the action has 8 numbers, and its names are 7"):
        vector_map(list(VECTOR), 8)


def test_a_state_of_changes_is_no_pose() -> None:
    with pytest.raises(FormatError, match="names of the state are not those"):
        vector_map(["dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper"], 7, "state")


@pytest.mark.parametrize("name", ["gripper_closed", "gripper_closedness", "gripperIsClosed"])
def test_a_gripper_that_is_named_closed_says_so(name: str) -> None:
    assert vector_map([*VECTOR[:6], name], 7)[0].closed
    assert not vector_map([*VECTOR[:6], "gripper_open"], 7)[0].closed


def test_numbers_that_are_no_rotation_are_refused() -> None:
    mapped, _ = vector_map(["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"], 8)
    with pytest.raises(FormatError, match="here: the quaternion of step 1 has length 2, which should be 1"):
        mapped(np.array([[0, 0, 0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0, 2, 1]]), "here")
    columns = parse_map("x=0,y=1,z=2,c1=3,c2=4,c3=5,c4=6,c5=7,c6=8,gripper=9", [""] * 10, flag="--state-map")
    with pytest.raises(FormatError, match="not at right angles"):
        columns(np.array([[0, 0, 0, 1, 0, 0, 1, 0, 0, 1]]), "here")
    with pytest.raises(FormatError, match=r"vectors of 8 numbers were expected, got shape \(2, 7\)"):
        mapped(np.zeros((2, 7)), "here")


def test_a_last_action_that_is_none_stays_none() -> None:
    mapped, _ = vector_map(["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"], 8)
    got = mapped(np.array([[0, 0, 0, 0, 0, 0, 1, 1], [np.nan] * 8]), "here")
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()
