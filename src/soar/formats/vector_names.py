"""What the names of a vector's numbers say: a map, or that they are something else than a pose.

Known are the words that data sets use for positions, angles, quaternions, rotation vectors and grippers, with whatever stands
around them (`ee_pos.x`, `delta_roll`, `x_mm`). Names of joints are no pose; nor are those that leave two readings open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from soar.errors import FormatError
from soar.formats.vector_maps import (
    EULER,
    EXAMPLE,
    PLAIN,
    POSITION,
    QUATERNION,
    ROTATION_VECTOR,
    VECTOR,
    Term,
    VectorMap,
    listed,
    parse_map,
)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_AROUND = _set(
    "ee eef eff tcp tool end effector endeffector hand arm robot left right pose pos position cartesian cart xyz trans "
    "translation target goal desired commanded command cmd action actions state states obs observation world base frame m "
    "meter meters metre metres rad radian radians current is main follower leader"
)
_DELTA = _set("d delta rel relative diff displacement")
_UNITS = {"deg": math.pi / 180, "degree": math.pi / 180, "degrees": math.pi / 180, "mm": 1e-3, "cm": 1e-2}
_GRIPPER = _set("gripper grip open opening openness width closed close closedness closing closure finger jaw")
_CLOSED = _set("closed close closedness closing closure")
_PADDING = _set("pad padding unused reserved dummy")
_KINDS = {
    **dict.fromkeys(("quat", "quaternion", "q"), "quaternion"),
    **dict.fromkeys(("euler", "rpy"), "euler"),
    **dict.fromkeys(("rotvec", "axisangle", "vector", "axis"), "vector"),
    **dict.fromkeys(("rot", "rotation", "orientation", "ori", "orn", "r", "angle", "angular", "w"), "turn"),
}
_SHORT = {f"{kind}{axis}": (kind, axis) for kind in ("q", "r", "w", "d") for axis in (*"xyz", *EULER)} | {
    "qw": ("q", "w"),
    "rw": ("r", "w"),
    "tx": ("x",),
    "ty": ("y",),
    "tz": ("z",),
    "px": ("x",),
    "py": ("y",),
    "pz": ("z",),
    "drx": ("d", "r", "x"),
    "dry": ("d", "r", "y"),
    "drz": ("d", "r", "z"),
    "dgripper": ("gripper",),
}
_ANONYMOUS = re.compile(r"(?:(?:dim|state|states|action|actions|value|feature|element|d|s|a|v)[_. ]?)?\d+")
_Found = tuple[str, float]
"""A target, or a target that only others make clear, and the factor of its unit."""


def read_names(
    what: str, names: Sequence[str] | None, count: int, text: str, *, flag: str, place: str
) -> tuple[VectorMap, str]:
    """Return the map of a vector, and what is to be said about it.

    Args:
        what: `state` or `action`.
        names: Of its numbers, None where the data set says nothing.
        count: How many there are.
        text: A map that somebody wrote, which counts more than names do; empty for none.
        flag: How to write one.
        place: What it is in, for messages.

    Raises:
        FormatError: The names are not those of a pose and a gripper, or there are none and not seven numbers.
        ConfigError: The text is no map.
    """
    if text:
        return parse_map(text, names or [""] * count, flag=flag), ""
    if names is None or all(_ANONYMOUS.fullmatch(name.strip().lower()) for name in names):
        if count != len(VECTOR):
            raise FormatError(
                f"{place}: the {what} has {count} numbers without names, and not {len(VECTOR)}; {_help(flag, names or ())}"
            )
        return (
            PLAIN,
            f"{place}: nothing names the seven numbers of the {what}; they are taken for {' '.join(VECTOR)}, "
            f"{flag} says otherwise",
        )
    if len(names) != count:
        raise FormatError(f"{place}: the {what} has {count} numbers, and its names are {len(names)}: {', '.join(names)}")
    found = [_meaning(name, what) for name in names]
    targets: dict[str, list[int]] = {}
    for number, meaning in enumerate(found):
        if meaning:
            targets.setdefault(meaning[0], []).append(number)
    targets = _rotation(targets)
    kind = next((kind for kind in (EULER, QUATERNION, ROTATION_VECTOR) if all(name in targets for name in kind)), EULER)
    wanted = (*POSITION, *kind, "gripper")
    twice = [name for name in wanted if len(targets.get(name, ())) > 1]
    missing = [name for name in wanted if name not in targets]
    rotations = [kind for kind in (EULER, QUATERNION, ROTATION_VECTOR) if all(name in targets for name in kind)]
    if twice or missing or len(rotations) > 1:
        why = (
            f"{twice[0]} is there {len(targets[twice[0]])} times"
            if twice
            else f"none is {', '.join(missing)} for certain"
            if missing
            else f"the rotation is there {len(rotations)} times"
        )
        raise FormatError(
            f"{place}: the names of the {what} are not those of one pose and one gripper, {why}; {_help(flag, names)}"
        )
    terms = {}
    for name in wanted:
        source = targets[name][0]
        meaning = found[source]
        factor = 1.0 if name == "gripper" or meaning is None else meaning[1]
        terms[name] = Term(source=source, factor=factor)
    closed = bool(_CLOSED.intersection(_words(names[targets["gripper"][0]])))
    made = VectorMap(terms=terms, count=count, closed=closed)
    if made == replace(PLAIN, count=count) and count == len(VECTOR):
        return made, ""
    left = [name for number, name in enumerate(names) if number not in made.used]
    return made, f"{place}: by its names the {what} is read as {made}" + (f"; left out: {', '.join(left)}" if left else "")


def names_of(names: Any, count: int) -> list[str] | None:
    """Return the names of `count` numbers as any of the forms in which files have them; None where they say nothing.

    They are a list, lists by group (`{"motors": […]}`), or places by name (`{"x": 0, …}`). One word for a whole vector is the
    name of its axis.
    """
    if isinstance(names, dict) and all(type(place) is int for place in names.values()):
        # Places that leave a gap say nothing for certain.
        names = sorted(names, key=names.__getitem__) if sorted(names.values()) == list(range(len(names))) else None
    elif isinstance(names, dict):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list | dict):
        return names_of(names[0], count)
    if not isinstance(names, list) or not names or any(name is None for name in names) or (len(names) == 1 and count > 1):
        return None
    return [str(name) for name in names]


def _help(flag: str, names: Sequence[str]) -> str:
    there = f"there is {listed(names)}. " if names else ""
    return (
        f"{there}Say which is which: {flag} {EXAMPLE} (a quaternion: qx= qy= qz= qw=, a rotation vector: rx= ry= rz=; "
        "docs/datasets.md), and joints are no pose"
    )


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+|\d+", apart.lower())


def _meaning(name: str, what: str) -> _Found | None:
    """Return what a name means by itself; None for anything that is not known."""
    words = [part for word in _words(name) for part in _SHORT.get(word, (word,))]
    if _PADDING.intersection(words):
        return None
    if what == "action":
        words = [word for word in words if word not in _DELTA]
    if "gripper" in words or "grip" in words:
        rest = [word for word in words if word not in _GRIPPER and word not in _AROUND and word not in ("0", *_UNITS)]
        return None if rest else ("gripper", 1.0)
    factor = 1.0
    for word in words:
        factor *= _UNITS.get(word, 1.0)
    kinds = {_KINDS[word] for word in words if word in _KINDS and not (word == "w" and words[-1] == "w")}
    if "wx" in _words(name) or "wy" in _words(name) or "wz" in _words(name):
        # LeRobot's own kinematics write the rotation vector of the end effector as `ee.wx`, `ee.wy`, `ee.wz`.
        kinds = {"vector"} if {"ee", "eef"}.intersection(_words(name)) else kinds
    axes = [word for word in words if word in ("x", "y", "z", "roll", "pitch", "yaw")]
    if not axes and words and words[-1] == "w":
        axes = ["w"]
    rest = [word for word in words if word not in _AROUND and word not in _KINDS and word not in axes and word not in _UNITS]
    if rest or len(axes) != 1:
        return None
    axis = axes[0]
    target: str | None
    if axis in EULER:
        target = axis if kinds <= {"euler", "turn"} else None
    elif "quaternion" in kinds or axis == "w":
        target = f"q{axis}" if kinds <= {"quaternion", "turn"} else None
    elif "vector" in kinds:
        target = f"r{axis}"
    elif "euler" in kinds:
        target = EULER["xyz".index(axis)]
    else:
        target = f"turn {axis}" if "turn" in kinds else axis
    return (target, factor) if target else None


def _rotation(targets: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the targets with the rotation that three turns and a fourth number are: a quaternion.

    Three alone are either angles or a rotation vector, which differ.
    """
    turns = {f"turn {axis}": f"q{axis}" for axis in "xyz"}
    if "qw" in targets and all(turn in targets for turn in turns):
        return {turns.get(name, name): places for name, places in targets.items()}
    return targets
