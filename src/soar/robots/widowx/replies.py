"""What comes back from a WidowX server: numbers, motors, pictures. Checked, not believed: what is none of these is a fault."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.errors import RobotFault
from soar.remote.wire import Limits, WireError, decode
from soar.types import Image

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
PICTURES = Limits(side=4096)
SMALLEST_PX = 16
FloatArray = NDArray[np.float64]


def numbers(value: Any, count: int | None, name: str) -> FloatArray:
    """Return a row of finite numbers; `count` of them, if that is said.

    Raises:
        RobotFault: `connection`: it is something else; `motor`: they are not finite.
    """
    try:
        numbers = np.array(value, np.float64)
    except (ValueError, TypeError) as error:
        raise RobotFault("connection", f"the server's {name} is no numbers: {str(value)[:60]}") from error
    if numbers.ndim != 1 or (count is not None and len(numbers) != count):
        raise RobotFault("connection", f"the server's {name} has shape {numbers.shape}; {count} numbers were expected")
    if not np.all(np.isfinite(numbers)):
        raise RobotFault("motor", f"the server's {name} is not finite: {numbers}")
    return numbers


def motor_errors(value: Any) -> str:
    """Return what the error registers of the motors tell: one that is in an error often cannot be read at all."""
    status = numbers(value, None, "motor_status")
    if len(status) < len(JOINTS):
        return f"{len(status)} of {len(JOINTS)} motors answer"
    wrong = [f"{joint} (error {int(code)})" for joint, code in zip(JOINTS, status, strict=False) if code]
    return f"in an error, without torque: {', '.join(wrong)}" if wrong else ""


def opening(raw: float, scale: tuple[float, float]) -> float:
    """Return the opening 0..1 of what a server says, whose scale is (closed, open)."""
    closed, opened = scale
    return float(np.clip((raw - closed) / (opened - closed), 0.0, 1.0))


def picture(value: Any, view: int) -> Image:
    """Return a camera's whole picture, of its own: a JPEG whose encoder took red for blue, or pixels."""
    if isinstance(value, list | tuple):
        if view >= len(value):
            raise RobotFault("camera", f"the server has {len(value)} cameras, and number {view} is wanted")
        value = value[view]
    if isinstance(value, bytes | bytearray):
        try:
            image = decode(bytes(value), PICTURES, swapped=True)
        except WireError as error:
            raise RobotFault("camera", f"the server's picture cannot be read: {error}") from error
    elif isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3:
        image = value.copy()  # it is part of the message, and cannot be written to
    else:
        raise RobotFault("camera", f"the server's picture is a {type(value).__name__} and no picture: its camera may be away")
    if min(image.shape[:2]) < SMALLEST_PX:
        raise RobotFault("camera", f"the server's picture is {image.shape[0]} x {image.shape[1]} px: its camera has not begun")
    return image


def square(value: Any, view: int) -> Image:
    """Return a picture from rows of numbers 0..1, one a camera: red, green and blue after each other."""
    right = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2 and view < len(value)
    side = round((value.shape[1] / 3) ** 0.5) if right else 0
    if not right or side < SMALLEST_PX or 3 * side * side != value.shape[1]:
        raise RobotFault(
            "camera", f"the server's image is {str(getattr(value, 'shape', value))[:60]} and no picture: its camera may be away"
        )
    pixels = np.nan_to_num(value[view]).reshape(3, side, side).transpose(1, 2, 0)
    return np.ascontiguousarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
