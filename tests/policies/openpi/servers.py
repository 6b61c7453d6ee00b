"""Servers of openpi's protocol, and policies behind them, as tests want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from soar.configuration import validate
from soar.policies.openpi.maps import OpenPIConfig
from soar.policies.openpi.policy import OpenPIPolicy
from soar.testing.openpi_server import Infer, OpenPIServer
from soar.types import Observation

FILE: dict[str, Any] = {
    "images": {"observation/image": {"size": 32}},
    "state": {"observation/state": ["x", "y", "z", "roll", "pitch", "yaw", {"opening": [0, 1]}]},
    "action": ["x", "y", "z", "roll", "pitch", "yaw", {"gripper": [0, 1]}],
    "execute": 2,
    "patience_s": 0.0,
}
CHUNK = np.array([[0.01, 0, 0, 0, 0, 0, 1], [0.02, 0, 0, 0, 0, 0, 0], [0.03, 0, 0, 0, 0, 0, 1]], np.float32)


FASTER = np.array([1, 1, 1, 1, 1, 1, 0], np.float32)
"""What makes a chunk's motions longer, and leaves the gripper: CHUNK + 9 * FASTER."""


def saying(answer: Any = CHUNK) -> Infer:
    """What answers with this chunk, or this message as a whole."""
    message = answer if isinstance(answer, Mapping | bytes | str) else {"actions": answer}
    return lambda observation: message


def answering(answer: Any = CHUNK, **metadata: Any) -> OpenPIServer:
    """A server that does."""
    return OpenPIServer(saying(answer), metadata)


def config(url: str, **changes: Any) -> OpenPIConfig:
    return validate(OpenPIConfig, {**FILE, "url": url, **changes}, "policy.yaml")


def opened(server: OpenPIServer, **changes: Any) -> OpenPIPolicy:
    return OpenPIPolicy(config(server.url, **changes), sleep=lambda seconds: None)


def seen(x: float = 0.2, opening: float = 1.0, size: tuple[int, int] = (48, 64)) -> Observation:
    state = np.array([x, 0, 0.1, 0.1, 0.2, 0.3, opening], np.float32)
    return Observation(image_HWC=np.full((*size, 3), 77, np.uint8), state=state)
