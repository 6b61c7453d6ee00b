"""Which numbers of a file are x, y, z, roll, pitch, yaw and the gripper.

A map is written `TARGET=SOURCE` for each of them, with commas in between:

```
x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=6            by place in the vector
x=world_vector[0],…,gripper=-closedness+1             by name, here turned round: 1 - closedness
roll=3*deg,pitch=4*deg,yaw=5*deg,z=2*0.001            degrees, millimetres
qx=4,qy=5,qz=6,qw=3                                   a quaternion instead of roll, pitch and yaw
gripper=const:1                                       there is none
```

SOURCE is a place, a name that the data set gives, or `const:NUMBER`; `-` before it negates, `*FACTOR` scales (`deg` is pi/180),
and `+OFFSET` or `-OFFSET` is added last. `rx ry rz` is a rotation vector (axis times angle), `c1…c6` the first two columns of a
rotation matrix, `r1…r6` its first two rows.

Shape suffixes: N steps, D numbers of the file.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.errors import ConfigError, FormatError

POSITION = ("x", "y", "z")
EULER = ("roll", "pitch", "yaw")
QUATERNION = ("qx", "qy", "qz", "qw")
ROTATION_VECTOR = ("rx", "ry", "rz")
COLUMNS = ("c1", "c2", "c3", "c4", "c5", "c6")
ROWS = ("r1", "r2", "r3", "r4", "r5", "r6")
ROTATIONS = (EULER, QUATERNION, ROTATION_VECTOR, COLUMNS, ROWS)
VECTOR = (*POSITION, *EULER, "gripper")
EXAMPLE = ",".join(f"{name}={place}" for place, name in enumerate(VECTOR))
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_CONSTANT = re.compile(rf"const:([+-]?{_NUMBER})")
_CHANGE = re.compile(rf"(?:\*(deg|{_NUMBER}))?([+-]{_NUMBER})?")
_UNIT_TOLERANCE = 0.1
"""How far a quaternion's length, or that of a rotation matrix's column, may be from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorConfig:
    """What somebody who imports vectors says about them; what is empty is found out, or refused.

    Attributes:
        state_map: Which numbers of a state are which, see the module.
        action_map: The same of an action.
        gripper_range: CLOSED:OPEN, the commands at which the gripper is closed and open.
        opening_range: CLOSED:OPEN, the measured openings at which it is closed and open.
    """

    state_map: str = ""
    action_map: str = ""
    gripper_range: str = ""
    opening_range: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`factor * source + offset`; the offset alone where `source` is None."""

    source: int | None
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorMap:
    """How vectors of D numbers become x y z, roll pitch yaw, gripper.

    Attributes:
        terms: By target: x, y, z, one of `ROTATIONS` and the gripper.
        count: D.
        closed: The gripper's number says how far it is closed, and not how far it is open.
    """

    terms: Mapping[str, Term] = field(hash=False)
    count: int
    closed: bool = False

    @property
    def used(self) -> frozenset[int]:
        """The places in the vector that play a role."""
        return frozenset(term.source for term in self.terms.values() if term.source is not None)

    def __str__(self) -> str:
        return ",".join(f"{target}={_written(term)}" for target, term in self.terms.items())

    def __call__(self, values_ND: NDArray[np.floating[Any]], place: str) -> NDArray[np.float32]:
        """Return the vectors as (N, 7).

        Args:
            values_ND: (N, D).
            place: File and offset, for messages.

        Raises:
            FormatError: They have another size, or what should be a rotation is none.
        """
        values_ND = np.asarray(values_ND)
        if values_ND.ndim != 2 or values_ND.shape[1] != self.count:
            raise FormatError(f"{place}: vectors of {self.count} numbers were expected, got shape {values_ND.shape}")
        if self.terms == PLAIN.terms:
            return np.ascontiguousarray(values_ND[:, : len(VECTOR)], np.float32)
        return np.stack(
            [
                *(self._column(values_ND, name) for name in POSITION),
                *self._angles(values_ND, place),
                self._column(values_ND, "gripper"),
            ],
            axis=1,
        ).astype(np.float32)

    def measured(self, values_ND: NDArray[Any]) -> NDArray[np.float32]:
        """Return what is judged by its size (N, 7): position, rotation and the gripper.

        Angles and rotation vectors are as they are. Of a quaternion it is the angle that it turns by, and zeros; of a matrix
        zeros: these have no unit, and are checked when they are converted.
        """
        if values_ND.shape[1:] != (self.count,):
            raise ValueError(f"vectors of {self.count} numbers were expected, got shape {values_ND.shape}")
        if self.terms == PLAIN.terms:
            return np.asarray(values_ND[:, : len(VECTOR)], np.float32)
        turns = [np.zeros(len(values_ND))] * 3
        kind = next(targets for targets in ROTATIONS if targets[0] in self.terms)
        if kind in (EULER, ROTATION_VECTOR):
            turns = [self._column(values_ND, name) for name in kind]
        elif kind == QUATERNION:
            turns[0] = 2 * np.arccos(np.clip(np.abs(self._column(values_ND, "qw")), 0, 1))
        columns = [self._column(values_ND, name) for name in POSITION]
        return np.stack([*columns, *turns, self._column(values_ND, "gripper")], axis=1).astype(np.float32)

    def scaled(self, targets: Sequence[str], factor: float) -> VectorMap:
        """Return a map by which some targets are `factor` times what they are by this one."""
        terms = {
            target: replace(term, factor=term.factor * factor, offset=term.offset * factor) if target in targets else term
            for target, term in self.terms.items()
        }
        return replace(self, terms=terms)

    def _column(self, values_ND: NDArray[Any], target: str) -> NDArray[Any]:
        term = self.terms[target]
        if term.source is None:
            return np.full(len(values_ND), term.offset)
        column: NDArray[Any] = values_ND[:, term.source]
        if (term.factor, term.offset) == (1.0, 0.0):
            return column
        return column.astype(np.float64) * term.factor + term.offset

    def _angles(self, values_ND: NDArray[Any], place: str) -> Sequence[NDArray[Any]]:
        kind = next(targets for targets in ROTATIONS if targets[0] in self.terms)
        columns = [self._column(values_ND, target) for target in kind]
        if kind == EULER:
            return columns
        from scipy.spatial.transform import Rotation

        parts = np.stack(columns, axis=1).astype(np.float64)
        # The last action of some datasets is none; whether that is so here is checked when it is stored.
        whole = np.isfinite(parts).all(1)
        angles = np.full((len(parts), 3), np.nan)
        if whole.any():
            found = parts[whole]
            if kind == QUATERNION:
                rotations = Rotation.from_quat(_units(found, "quaternion", place))
            elif kind == ROTATION_VECTOR:
                rotations = Rotation.from_rotvec(found)
            else:
                matrices = _matrices(found, place)
                rotations = Rotation.from_matrix(matrices if kind == COLUMNS else np.swapaxes(matrices, 1, 2))
            with warnings.catch_warnings():
                # Where the pitch is 90 degrees roll and yaw are one: any pair that makes the rotation is right.
                warnings.simplefilter("ignore", UserWarning)
                angles[whole] = rotations.as_euler("xyz")
        return list(angles.T)


PLAIN = VectorMap(terms={name: Term(source=place) for place, name in enumerate(VECTOR)}, count=len(VECTOR))
"""Seven numbers, in our order."""


def parse_map(text: str, names: Sequence[str], *, flag: str) -> VectorMap:
    """Return the map that somebody wrote.

    Args:
        text: See the module.
        names: What the data set calls the D numbers, in their order; empty texts where it does not say.
        flag: Where the text comes from, for messages.

    Raises:
        ConfigError: It is no map, or names what is not there.
    """
    terms: dict[str, Term] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        target, equals, source = (part.strip() for part in entry.partition("="))
        if not equals or not any(target in kind for kind in (VECTOR, *ROTATIONS)):
            raise ConfigError(
                f"{flag}: {entry!r} must be TARGET=SOURCE, where TARGET is one of {', '.join(VECTOR)}, qx qy qz qw, rx ry rz, "
                f"c1 to c6, r1 to r6; for example {EXAMPLE}"
            )
        if target in terms:
            raise ConfigError(f"{flag}: {target} is there twice; {target}={source} must go, or the one before it")
        terms[target] = _term(source, names, flag)
    kinds = [kind for kind in ROTATIONS if any(target in terms for target in kind)]
    missing = [target for target in (*POSITION, *(kinds[0] if kinds else EULER), "gripper") if target not in terms]
    if len(kinds) > 1:
        raise ConfigError(f"{flag}: a rotation is said twice, as {' and as '.join(' '.join(kind) for kind in kinds)}; take one")
    if missing:
        raise ConfigError(
            f"{flag} lacks {', '.join(missing)}; there is {listed(names)}. What the data does not have can be a constant, for "
            f"example {missing[-1]}=const:{'1' if missing[-1] == 'gripper' else '0'}"
        )
    order = (*POSITION, *kinds[0], "gripper")
    return VectorMap(terms={target: terms[target] for target in order}, count=len(names))


def listed(names: Sequence[str]) -> str:
    """Return the numbers of a vector as a message lists them, with their places."""
    shown = [f"{place} {name}".strip() for place, name in enumerate(names)]
    return ", ".join(shown if len(shown) <= 40 else [*shown[:40], f"… {len(shown)} in all"]) or "nothing"


def _term(text: str, names: Sequence[str], flag: str) -> Term:
    if constant := _CONSTANT.fullmatch(text):
        return Term(source=None, offset=float(constant[1]))
    sign, rest = (-1.0, text[1:].strip()) if text.startswith("-") else (1.0, text)
    digits = re.match(r"\d+", rest)
    # The longest name first: one may be the beginning of another.
    known = [name for name in sorted(set(names), key=len, reverse=True) if name and rest.startswith(name)]
    for source in ([digits[0]] if digits else []) + known:
        change = _CHANGE.fullmatch("".join(rest[len(source) :].split()))
        if change is None:
            continue
        if source in names and not source.isdigit():
            places = [place for place, name in enumerate(names) if name == source]
            if len(places) > 1:
                raise ConfigError(f"{flag}: {source!r} is the name of {len(places)} numbers; give the place: {places}")
            place = places[0]
        elif int(source) < len(names):
            place = int(source)
        else:
            continue
        factor = {None: 1.0, "deg": math.pi / 180}.get(change[1])
        factor = float(change[1]) if factor is None else factor
        return Term(source=place, factor=sign * factor, offset=float(change[2] or 0))
    raise ConfigError(
        f"{flag}: {text!r} is none of the numbers that are there, [-]SOURCE[*FACTOR][+OFFSET] or const:NUMBER; there is "
        f"{listed(names)}"
    )


def _written(term: Term) -> str:
    if term.source is None:
        return f"const:{term.offset!r}"
    sign = "-" if math.copysign(1, term.factor) < 0 else ""
    factor = "" if abs(term.factor) == 1 else f"*{'deg' if abs(term.factor) == math.pi / 180 else repr(abs(term.factor))}"
    return f"{sign}{term.source}{factor}" + (f"{term.offset:+}" if term.offset else "")


def _units(vectors_ND: NDArray[np.float64], what: str, place: str) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors_ND, axis=1)
    wrong = np.flatnonzero(np.abs(lengths - 1) > _UNIT_TOLERANCE)
    if wrong.size:
        raise FormatError(
            f"{place}: the {what} of step {wrong[0]} has length {lengths[wrong[0]]:.3g}, which should be 1; the map takes the "
            "wrong numbers for it"
        )
    return vectors_ND


def _matrices(parts_N6: NDArray[np.float64], place: str) -> NDArray[np.float64]:
    """Return rotations whose first two columns, nearly, are given."""
    first, second = _units(parts_N6[:, :3], "rotation", place), _units(parts_N6[:, 3:], "rotation", place)
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = second - (first * second).sum(1, keepdims=True) * first
    lengths = np.linalg.norm(second, axis=1, keepdims=True)
    if (lengths < 1 - 2 * _UNIT_TOLERANCE).any():
        raise FormatError(
            f"{place}: two columns of a rotation are not at right angles; the map takes the wrong numbers for them"
        )
    second = second / lengths
    return np.stack([first, second, np.cross(first, second)], axis=2)
