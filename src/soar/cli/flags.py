"""What the flags of several commands share."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from soar.collect.rollout import RolloutConfig

T = TypeVar("T", bound="DataclassInstance")
LookEvery: TypeAlias = int | Literal["subgoal"]
"""Steps between two looks, or `subgoal` (`soar.collect.early_success`)."""
Switch = Literal["on", "off"]
"""A flag that is on, off, or what the preset says."""


def on(switch: Switch | None) -> bool | None:
    """Return what a switch says, None for what the preset says."""
    return None if switch is None else switch == "on"


def changed(config: T, **changes: object) -> T:
    """Return a dataclass with those of the changes that are not None."""
    return dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})


def opening(*what: str | Path | None) -> None:
    """Say at once what is going to be loaded, which takes a while."""
    sys.stderr.write(f"Opening {', '.join(str(name) for name in what if name is not None)} …\n")
    sys.stderr.flush()


def workcell_name(workcell: str | None, scene: str | None) -> str:
    """Return the name of the workcell that is meant: the one that is named, or the simulated one of a scene.

    Raises:
        ConfigError: Both are named.
    """
    from soar.errors import ConfigError
    from soar.robots.workcell import SIMULATED

    if workcell is not None and scene is not None:
        raise ConfigError(
            f"--scene {scene} is the simulated workcell of that scene, and --workcell {workcell} names another one: use one of "
            "them. A workcell's file says which scene is in front of its robot."
        )
    return workcell if workcell is not None else SIMULATED + (scene or "scene1")


def rollout_of(config: RolloutConfig, retries: int | None, look_every: LookEvery | None) -> RolloutConfig:
    """Return what happens in an episode with so many retries and looks, None for what is there already."""
    return dataclasses.replace(
        config,
        reflex=changed(config.reflex, times=retries),
        early_success=changed(config.early_success, every=look_every),
    )


def invocation(command: str, options: DataclassInstance, *names: str) -> str:
    """Return the command line that regenerates a result, without the options that have their defaults.

    Args:
        command: Such as `soar improve`, with what is positional.
        options: Of the command.
        names: Fields that decide the result, in the order to write them in; where it is written, or with how many processes,
            does not.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    parts = [command]
    for name in names:
        value = getattr(options, name)
        if value != defaults[name]:
            values = value if isinstance(value, tuple) else (value,)
            parts.append(f"--{name.removesuffix('_folder').replace('_', '-')} {shlex.join(map(str, values))}")
    return " ".join(parts)
