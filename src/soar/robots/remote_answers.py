"""What comes back from a robot behind HTTP, as what it is to be: whatever is something else raises, and is not believed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from soar.cameras import check_camera_names
from soar.errors import ConfigError
from soar.remote.wire import Limits, plain, unpack
from soar.robots.base import Health
from soar.types import ACTION_DIM, Action, Image, Observation

LIMITS = Limits(side=4096)
LONGEST_TEXT = 1000


def numbers(values: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return seven numbers."""
    if not isinstance(values, list) or len(values) != ACTION_DIM or any(type(value) not in (int, float) for value in values):
        raise ValueError("not seven numbers")
    return np.array(values, np.float32)


def observation(result: Any) -> Observation:
    """Return what was perceived; pictures of further cameras are in `images`, by name."""
    images = result.get("images", {}) if isinstance(result, dict) else None
    if not isinstance(images, dict):
        raise ValueError("images are no pictures by name")
    try:
        names = check_camera_names(images, "images")
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return Observation(
        image_HWC=unpack(result["image"], LIMITS),
        state=numbers(result["state"]),
        extra_images={name: unpack(images[name], LIMITS) for name in names},
    )


def action_of(result: Any) -> Action:
    """Return the action (7,) that was executed."""
    return numbers(result["executed"])


def health(result: Any) -> Health:
    """Return how the robot says that it is."""
    if type(result["ok"]) is not bool:
        raise ValueError("no health")
    return Health(ok=result["ok"], fault=plain(str(result["fault"]), 40), detail=plain(str(result["detail"]), LONGEST_TEXT))


def nothing(_result: Any) -> None:
    """Return nothing."""
    return None


def text(result: Any) -> str:
    """Return a short text."""
    if not isinstance(result, str):
        raise ValueError("no text")
    return plain(result, LONGEST_TEXT)


def verdict(result: Any, *, unknown: bool) -> bool | None:
    """Return yes or no; None when that is allowed."""
    if type(result) is bool or (unknown and result is None):
        return bool(result) if result is not None else None
    raise ValueError("no verdict")


def image(result: Any) -> Image:
    """Return a picture."""
    return unpack(result, LIMITS)


RESULTS: dict[str, Callable[[Any], Any]] = {
    "reset_for": nothing,
    "set_table": nothing,
    "truth": functools.partial(verdict, unknown=True),
    "imagine": image,
    "answer": functools.partial(verdict, unknown=False),
    "motors": text,
    "reboot": nothing,
}
