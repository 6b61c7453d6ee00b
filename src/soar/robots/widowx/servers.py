"""What each kind of WidowX server is told, and what it tells. Which one it is, it says itself; its port does not matter.

    bridge         bridge_data_robot: init, move, gripper, reset, step_action, reboot_motor | image, state, full_image
    bridge-motors  the same with what SOAR's lab added: sleep | motor_status
    manipulator    manipulator_gym: reset, step_action, configure, move_eef, custom_fn | eef_pose, gripper_state, …

Answers are checked, not believed: a status that is no success is a fault, and so is a state or a picture that is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from soar.errors import ConfigError
from soar.robots.widowx.bridge import Bridge
from soar.robots.widowx.manipulator import Manipulator
from soar.robots.widowx.server import Ask, Server, Settings
from soar.untrusted import parse_json

_BRIDGE = frozenset({"init", "move", "gripper", "reset", "step_action", "reboot_motor"})
_KINDS: tuple[tuple[str, frozenset[str], frozenset[str], Callable[[Ask, Settings, str], Server]], ...] = (
    ("bridge-motors", _BRIDGE | {"sleep"}, frozenset({"image", "state", "motor_status"}), Bridge),
    ("bridge", _BRIDGE, frozenset({"image", "state"}), Bridge),
    (
        "manipulator",
        frozenset({"reset", "step_action", "configure", "custom_fn"}),
        frozenset({"eef_pose", "gripper_state", "primary_img"}),
        Manipulator,
    ),
)


def server_of(description: Any, ask: Ask, settings: Settings, where: str) -> Server:
    """Return how to talk to the server that describes itself like this.

    Raises:
        ConfigError: It is none that is known; the message says what it offers.
    """
    actions, observations = _offers(description, where)
    for kind, needs, sees, make in _KINDS:
        if needs <= actions and sees <= observations:
            return make(ask, settings, kind)
    raise ConfigError(
        f"{where} is a server of an unknown dialect: it offers {', '.join(sorted(actions)) or 'no actions'} | "
        f"{', '.join(sorted(observations)) or 'no observations'}. Known are {', '.join(kind for kind, *_ in _KINDS)} "
        "(soar.robots.widowx.servers)"
    )


def _offers(description: Any, where: str) -> tuple[frozenset[str], frozenset[str]]:
    try:
        said = parse_json(description["payload"])
        offers = [frozenset(str(key)[:40] for key in said[part][:50]) for part in ("action_keys", "observation_keys")]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"{where} is no WidowX server: it answers {str(description)[:60]!r}. Correct host and port in the workcell's file."
        ) from error
    return offers[0], offers[1]
