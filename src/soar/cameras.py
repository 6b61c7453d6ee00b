"""Names of cameras. Every robot has a main camera, whose picture is `Observation.image_HWC`; further ones have names.

`main` is the main camera, wherever a camera is named. A further one is called what its robot calls it: `wrist`, `side`,
`image_1`. A name becomes a key, a column and a part of a path, so it is short and plain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from soar.errors import ConfigError

MAIN = "main"
MOST = 16
"""Further cameras of a robot."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}")
_TAKEN = (MAIN, "black")


def is_camera_name(name: object) -> bool:
    """Whether a further camera may be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name not in _TAKEN


def check_camera_names(names: Iterable[object], where: str) -> tuple[str, ...]:
    """Return the names of further cameras.

    Args:
        names: As somebody wrote or sent them.
        where: That was, for messages.

    Raises:
        ConfigError: One is no name, stands there twice, or there are too many.
    """
    found = list(names)
    for name in found:
        if not is_camera_name(name):
            raise ConfigError(
                f"{where}: {str(name)[:60]!r} is no name of a further camera: up to 60 letters, digits, _, - and dots, such as "
                f"wrist; {' and '.join(_TAKEN)} have a meaning of their own"
            )
    if len(set(found)) < len(found) or len(found) > MOST:
        raise ConfigError(f"{where}: up to {MOST} different names of cameras, got {', '.join(map(str, found))[:200]}")
    return tuple(str(name) for name in found)


def listed(further: Iterable[str]) -> str:
    """Return all cameras in words: the main one, and further ones."""
    return ", ".join([MAIN, *sorted(further)])


def differences(named: Sequence[str], given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the further cameras that are named and not given, and those that are given and not named."""
    return sorted(set(named) - set(given)), sorted(set(given) - set(named))
