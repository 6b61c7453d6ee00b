"""The objects and the table settings that scenes are made of, from `configs/objects.yaml` and `configs/tables.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from soar.configuration import CONFIGS, read_yaml, validate
from soar.errors import UnknownNameError

Shape = Literal["block", "ball", "disc", "bar", "spoon", "mushroom", "bowl", "plate", "drawer", "cloth"]
Rgb = tuple[float, float, float]
CONTAINERS = ("bowl", "plate")
LONG = ("bar", "spoon")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSpec:
    """Shape, size [m] and colour of an object; the meaning of `size` depends on the shape, see `configs/objects.yaml`."""

    shape: Shape
    size: tuple[float, ...]
    rgb: Rgb
    pretraining: bool = False

    @property
    def is_container(self) -> bool:
        """Whether other objects are put in or on it."""
        return self.shape in CONTAINERS

    @property
    def is_graspable(self) -> bool:
        """Whether the gripper can pick it up."""
        return not self.is_container and self.shape not in ("drawer", "cloth")

    @property
    def is_cloth(self) -> bool:
        """Whether it is folded and unfolded."""
        return self.shape == "cloth"

    @property
    def half_height_m(self) -> float:
        """Half the height of a graspable object that lies on the table."""
        return self.size[0] if self.shape == "block" else self.size[1]

    @property
    def radius_m(self) -> float:
        """Radius of the circle around the object, seen from above."""
        extra = {"block": 0.42 * self.size[0], "spoon": 0.017, "bowl": 0.008, "plate": 0.008}
        return self.size[0] + extra.get(self.shape, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    """Pattern and colours of a table top, and the colour of the wall behind the robot."""

    pattern: Literal["grain", "speckle", "check", "weave", "plain"]
    rgb: Rgb
    rgb2: Rgb
    wall: Rgb
    pretraining: bool = False


def _load(file: str, cls: type[T]) -> dict[str, T]:
    path = CONFIGS / file
    return {name: validate(cls, value, f"{path}: {name}") for name, value in read_yaml(path).items()}


@cache
def objects() -> dict[str, ObjectSpec]:
    """Return all objects by name."""
    return _load("objects.yaml", ObjectSpec)


@cache
def tables() -> dict[str, TableSpec]:
    """Return all table settings by name."""
    return _load("tables.yaml", TableSpec)


def find_object(name: str, where: str) -> ObjectSpec:
    """Return an object by name; raises `UnknownNameError` that names `where` the object was asked for."""
    if name not in objects():
        raise UnknownNameError("object", name, objects(), f"In {where}.")
    return objects()[name]


def find_table(name: str, where: str) -> TableSpec:
    """Return a table setting by name; raises `UnknownNameError` that names `where` it was asked for."""
    if name not in tables():
        raise UnknownNameError("table", name, tables(), f"In {where}.")
    return tables()[name]
