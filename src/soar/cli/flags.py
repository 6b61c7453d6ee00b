"""What the flags of several commands share."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Switch = Literal["on", "off"]
"""A flag that is on, off, or what the preset says."""


def on(switch: Switch | None) -> bool | None:
    """Return what a switch says, None for what the preset says."""
    return None if switch is None else switch == "on"


def changed(config: T, **changes: object) -> T:
    """Return a dataclass with those of the changes that are not None."""
    return dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})
