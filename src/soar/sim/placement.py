"""Where things start: at random, apart, and so that a gripper that points down can take them.

Or, on a *used* table, as practice leaves them: anywhere within the barriers, turned anyhow, some
fallen over, some against others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from soar.seeding import generator
from soar.sim.catalogue import LONG, ObjectSpec
from soar.sim.cloth import Cloth
from soar.sim.rendering import mujoco
from soar.sim.scene import BARRIER_HIGH, BARRIER_LOW, BOWL_FLOOR_M

FloatArray = NDArray[np.float64]
Disc = tuple[float, float, float]
"""x, y, radius [m]."""
ATTEMPTS = 50
FINGER_ROOM_M = 0.036
"""Radius of the disc that keeps room for the fingers beside the middle of a long thing."""
Manner = Literal["used", "apart", "closer"]
"""As practice leaves things; as people put them down; so, but with long things beside others where it is too full for that."""
STREAMS: dict[Manner, str] = {"used": "used placement", "apart": "placement", "closer": "closer placement"}
USED_GAP_M = 0.001
BESIDE_PROBABILITY = 0.3
FALLEN_PROBABILITY = 0.3
FALLING = ("mushroom", "disc")
"""Shapes that fall over when the gripper runs into them."""


class Things(Protocol):
    """What is to be placed: a world, as far as it matters here."""

    @property
    def containers(self) -> Sequence[str]:
        """Names of those that hold others."""

    @property
    def graspable(self) -> Sequence[str]:
        """Names of those that are grasped."""

    @property
    def specs(self) -> Mapping[str, ObjectSpec]:
        """What each is."""

    def object_position(self, name: str) -> FloatArray:
        """Where one is (3,) [m]."""

    def set_container(self, name: str, x: float, y: float, yaw: float) -> None:
        """Put a container somewhere."""

    def set_object(self, name: str, position: tuple[float, float, float], yaw: float, *, fallen: bool = False) -> None:
        """Put an object somewhere."""


def place(world: Things, seed: int, inside: dict[str, str], gap_m: float, *, used: bool = False) -> None:
    """Place all containers and free objects of a world.

    Args:
        world: Its joints are written.
        seed: Of the placement.
        inside: Objects that start in (or on) a container: name of the object → name of the container.
        gap_m: Least distance between things.
        used: As practice leaves them.
    """
    manners: list[Manner] = ["used", "apart", "closer"] if used else ["apart", "closer"]
    for manner in manners:
        for attempt in range(ATTEMPTS):
            if _place(world, generator(seed, STREAMS[manner], attempt), inside, gap_m, manner):
                return


def lay_cloth(cloth: Cloth, data: mujoco.MjData, rng: np.random.Generator, folded: bool | None) -> None:
    """Lay a cloth somewhere in the middle of the table; whether it is folded is drawn when None."""
    drawn, yaw, shift_m = bool(rng.random() < 0.5), float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.006, 0.012))
    folded = drawn if folded is None else folded
    width = cloth.half_m[1] * (0.5 if folded else 1.0)
    reach = max(0.0, min(0.05, BARRIER_HIGH[1] - 0.02 - width))
    x, y = float(rng.uniform(0.26, 0.31)), float(rng.uniform(-1, 1)) * reach
    cloth.lay(data, (x, y), yaw, folded=folded, shift_m=shift_m)


def _place(world: Things, rng: np.random.Generator, inside: dict[str, str], gap_m: float, manner: Manner) -> bool:
    """Draw a layout; False when something did not fit."""
    placed: list[Disc] = []
    crowded, used = False, manner == "used"
    for name in [*world.containers, *world.graspable]:
        spec = world.specs[name]
        # People put things down so that the next grasp is easy; a square would need a turn of up to 45 degrees.
        yaw = float(rng.uniform(-1, 1)) * (np.pi if used else 0.6 if spec.shape in LONG else 0.25)
        fallen = used and name not in inside and spec.shape in FALLING and rng.random() < FALLEN_PROBABILITY
        if name in inside:
            holder = world.specs[inside[name]]
            center = world.object_position(inside[name])[:2]
            room = max(0.0, holder.size[0] - spec.radius_m - 0.02)
            x, y = center + room * np.sqrt(rng.random()) * _direction(rng)
            z = BOWL_FLOOR_M + spec.half_height_m + 0.002
        else:
            footprint = [(0.0, 0.0, spec.radius_m)] if manner == "apart" else _footprint(spec, yaw, used=used)
            beside = used and bool(placed) and rng.random() < BESIDE_PROBABILITY
            spot = _free_spot(rng, footprint, placed, USED_GAP_M if used else gap_m, used=used, beside=beside)
            crowded = crowded or spot is None
            x, y = spot if spot is not None else (0.28, 0.0)
            z = spec.half_height_m + 0.001
            placed += [(float(x) + dx, float(y) + dy, radius) for dx, dy, radius in footprint]
        if spec.is_container:
            world.set_container(name, float(x), float(y), yaw)
        else:
            world.set_object(name, (float(x), float(y), spec.radius_m + 0.001 if fallen else float(z)), yaw, fallen=fallen)
    return not crowded


def _free_spot(
    rng: np.random.Generator,
    footprint: list[Disc],
    placed: list[Disc],
    gap_m: float,
    *,
    used: bool = False,
    beside: bool = False,
) -> FloatArray | None:
    reach = np.max([[abs(dx) + radius, abs(dy) + radius] for dx, dy, radius in footprint], axis=0)
    margin = USED_GAP_M if used else 0.008
    low = np.array(BARRIER_LOW) + reach + margin
    high = np.array(BARRIER_HIGH) - reach - margin
    if not used:
        # The base's side is hard to reach with a gripper that points down, and the arm hides it from the camera.
        low[0] = max(low[0], 0.205)
    for _ in range(60):
        spot = np.asarray(rng.uniform(low, high))
        if beside:
            x, y, radius = placed[int(rng.integers(len(placed)))]
            spot = np.array([x, y]) + (radius + reach.max() + rng.uniform(gap_m, 0.008)) * _direction(rng)
            if np.any(spot < low) or np.any(spot > high):
                continue
        if all(
            np.hypot(spot[0] + dx - x, spot[1] + dy - y) > radius + other + gap_m
            for dx, dy, radius in footprint
            for x, y, other in placed
        ):
            return spot
    return None


def _footprint(spec: ObjectSpec, yaw: float, *, used: bool = False) -> list[Disc]:
    """Return discs that cover an object that lies at the origin, and the room for fingers beside it unless it is `used`."""
    if spec.shape not in LONG:
        return [(0.0, 0.0, spec.radius_m)]
    width = 0.015
    ends = np.linspace(-1, 1, 5) * (spec.radius_m - width)
    middle = width if used else FINGER_ROOM_M
    return [(float(np.cos(yaw) * s), float(np.sin(yaw) * s), middle if abs(s) < 1e-6 else width) for s in ends]


def _direction(rng: np.random.Generator) -> FloatArray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
