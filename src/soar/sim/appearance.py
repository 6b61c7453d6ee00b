"""What the camera sees besides the objects: table, wall, camera pose, light, barriers.

These are the knobs of distribution shift; none of them changes the physics.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from soar.errors import ConfigError
from soar.sim.catalogue import TableSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """The appearance of a scene.

    Attributes:
        table: Name of a table setting.
        camera_position: (3,) [m] in the base frame; the camera faces the robot from the far side of the table.
        camera_target: (3,) [m], the point in the middle of the image.
        field_of_view_deg: Vertical field of view.
        light: Brightness; 1 is normal.
        light_direction: (3,) towards which the light shines.
        barrier_opacity: Of the plexiglass around the workspace; 0 is invisible (the barriers are always there).
        tint: (3,) factors on the table's colour.
        object_tint: Factors on each object's colour, drawn from 1 ± this.
        seed: Of the pattern on the table.
    """

    table: str = "maple"
    camera_position: tuple[float, float, float] = (0.70, 0.0, 0.44)
    camera_target: tuple[float, float, float] = (0.275, 0.0, 0.035)
    field_of_view_deg: float = 34.0
    light: float = 1.0
    light_direction: tuple[float, float, float] = (-0.4, 0.2, -1.0)
    barrier_opacity: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    object_tint: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        sideways = np.subtract(self.camera_target, self.camera_position)[:2]
        if not np.hypot(*sideways) > 1e-3:
            raise ConfigError(
                f"appearance: camera_target {self.camera_target} must not be straight below or above camera_position"
            )
        if not 0 < self.field_of_view_deg < 180:
            raise ConfigError(f"appearance: field_of_view_deg is {self.field_of_view_deg}; it must be between 0 and 180")
        if not np.linalg.norm(self.light_direction) > 1e-6:
            raise ConfigError("appearance: light_direction is zero; give the direction towards which the light shines")
        if not (self.light >= 0 and 0 <= self.barrier_opacity <= 1):
            raise ConfigError(
                f"appearance: light is {self.light} and barrier_opacity {self.barrier_opacity}; at least 0, and in 0..1"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppearanceJitter:
    """How far appearances vary around a nominal one; all standard deviations, all normal, clipped at two of them."""

    camera_position_m: float = 0.0
    camera_target_m: float = 0.0
    field_of_view_deg: float = 0.0
    light: float = 0.0
    light_direction: float = 0.0
    tint: float = 0.0
    object_tint: float = 0.0
    barrier_probability: float = 0.0

    def draw(self, nominal: Appearance, rng: np.random.Generator) -> Appearance:
        """Return an appearance near `nominal`."""

        def near(values: tuple[float, ...], sigma: float) -> tuple[float, float, float]:
            moved = np.asarray(values) + sigma * np.clip(rng.standard_normal(3), -2, 2)
            return (float(moved[0]), float(moved[1]), float(moved[2]))

        return replace(
            nominal,
            camera_position=near(nominal.camera_position, self.camera_position_m),
            camera_target=near(nominal.camera_target, self.camera_target_m),
            field_of_view_deg=nominal.field_of_view_deg + self.field_of_view_deg * float(np.clip(rng.standard_normal(), -2, 2)),
            light=max(0.4, nominal.light + self.light * float(np.clip(rng.standard_normal(), -2, 2))),
            light_direction=near(nominal.light_direction, self.light_direction),
            tint=near(nominal.tint, self.tint),
            object_tint=self.object_tint,
            barrier_opacity=float(rng.uniform(0.05, 0.3))
            if rng.random() < self.barrier_probability
            else nominal.barrier_opacity,
            seed=int(rng.integers(2**31)),
        )


def table_texture(spec: TableSpec, seed: int, size: int = 128) -> bytes:
    """Return a procedural table top as PNG bytes, `size` pixels square."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    noise = rng.random((size, size))
    mix: NDArray[np.float64]
    if spec.pattern == "grain":
        waves = np.sin(2 * np.pi * (y / rng.uniform(7, 13) + 0.35 * np.sin(x / rng.uniform(15, 30) + rng.uniform(0, 6))))
        mix = 0.5 + 0.5 * waves * rng.random((size, 1)) + 0.15 * (noise - 0.5)
    elif spec.pattern == "speckle":
        mix = (noise < 0.22).astype(np.float64) * rng.random((size, size))
    elif spec.pattern == "check":
        cell = int(rng.integers(10, 16))
        mix = (((x // cell) % 2) + ((y // cell) % 2)) / 2
    elif spec.pattern == "weave":
        mix = 0.5 + 0.25 * np.sin(x * 1.6) + 0.25 * np.sin(y * 1.6) + 0.2 * (noise - 0.5)
    else:
        mix = 0.2 * noise
    mix = np.clip(mix, 0, 1)[..., None]
    rgb = (1 - mix) * np.array(spec.rgb) + mix * np.array(spec.rgb2)
    buffer = io.BytesIO()
    PILImage.fromarray((255 * np.clip(rgb, 0, 1)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
