"""The box in which a gripper may be, measured by driving it there, and written into a workcell's file."""

from __future__ import annotations

import re
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from soar.errors import ConfigError, RobotFault
from soar.files import replacing, write_text
from soar.robots.safety import SafeRobot
from soar.types import Image, WorkspaceBox

_STEP_M = 0.01
_LEAST_M = 0.02
_WAYS = {"w": (0, 1), "s": (0, -1), "a": (1, 1), "d": (1, -1), "r": (2, 1), "f": (2, -1)}
KEYS = "w s forward and back, a d left and right, r f up and down, a centimetre each; Enter when it was everywhere, q to leave"
TERMINAL = Path("/dev/tty")


@contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """Yield a function that waits for a key in the terminal and returns it.

    Raises:
        ConfigError: There is no terminal.
    """
    try:
        terminal = TERMINAL.open("rb", buffering=0)
    except OSError as error:
        raise ConfigError(f"no key can be pressed: there is no terminal ({error.strerror}). Run the command in one.") from error
    with terminal:
        before = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal.fileno(), termios.TCSADRAIN)  # what was typed ahead counts
            yield lambda: terminal.read(1).decode("ascii", "replace")
        finally:
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def measure(robot: SafeRobot, pressed: Callable[[], str], say: Callable[[str], object]) -> WorkspaceBox | None:
    """Drive by keys, and return the box of where the gripper was; None when it is not wanted.

    Args:
        robot: At home.
        pressed: Waits for a key.
        say: Shows a line.

    Raises:
        ConfigError: The gripper was hardly moved.
    """
    places = [robot.observe().state[:3].astype(np.float64)]
    while (key := pressed()) not in ("\n", "\r"):
        if key in ("q", ""):
            return None
        action = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
        if key in _WAYS:
            axis, sign = _WAYS[key]
            action[axis] = sign * _STEP_M
        try:
            robot.act(action)
        except RobotFault as fault:
            say(f"\r{fault.detail}: going home\n")
            robot.recover()
        places.append(robot.observe().state[:3].astype(np.float64))
        say("\rx {:.3f}  y {:+.3f}  z {:.3f} m ".format(*places[-1]))
    low, high = np.min(places, 0), np.max(places, 0)
    if (high - low).min() < _LEAST_M:
        raise ConfigError(
            f"the gripper was between {low.round(3).tolist()} and {high.round(3).tolist()}, which is no box: drive it along "
            "every axis. Nothing was changed."
        )
    return WorkspaceBox(low=_rounded(low), high=_rounded(high))


def write_box(path: Path, box: WorkspaceBox, image_HWC: Image) -> Path:
    """Write box and reference picture into a workcell's file, of which all else stays as it is; returns the picture's path.

    Raises:
        SoarError: A file cannot be written.
    """
    picture = path.with_name(f"{path.stem}-reference.png")
    encoded = cv2.imencode(".png", cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR))[1].tobytes()
    with replacing(picture) as temporary:
        temporary.write_bytes(encoded)
    text = path.read_text(encoding="utf-8")
    text = _set(text, "workspace", f"{{low: {list(box.low)}, high: {list(box.high)}}}")
    write_text(path, _set(text, "reference", picture.name))
    return picture


def _set(text: str, key: str, value: str) -> str:
    """Return a YAML text with another value of a key at its top level, and what was below that key gone."""
    line = f"{key}: {value}\n"
    found = re.compile(rf"^{key}:.*(?:\n[ \t]+\S.*)*\n?", re.MULTILINE)
    if found.search(text):
        return found.sub(lambda _: line, text, count=1)
    return text + ("" if text.endswith("\n") or not text else "\n") + line


def _rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 3) for value in values)
    return x, y, z
