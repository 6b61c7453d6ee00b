"""The base models that come with SOAR; `soar pretrain` makes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from soar.errors import CheckpointError, ConfigError

Kind = Literal["policy", "language", "both", "subgoal", "vqa"]
WEIGHTS = Path(__file__).parent / "weights"
_OWN: dict[str, Kind] = {"base": "policy", "language": "language", "both": "both"}


def named(name: str, kind: Kind) -> str:
    """Return a model's name, or that of the base model where it is empty: what it means on this computer.

    Raises:
        CheckpointError: The base model is not there.
    """
    return name or str(default_weights(kind))


def unnamed(name: str, kind: Kind) -> str:
    """Return a model's name as another computer understands it: empty for the base model, which each has somewhere else."""
    return "" if name == str(WEIGHTS / kind) else name


def policy_named(name: str) -> str:
    """Return a policy's name as `soar.policies.loading` takes it: no name and `base` mean the base policy that comes with SOAR,
    `language` the one that follows instructions, `both` one that takes goal images and instructions.

    Raises:
        CheckpointError: That is not there.
        ConfigError: Something of that name is in the current directory, too.
    """
    if not name:
        return str(default_weights("policy"))
    return str(default_weights(_OWN[name])) if is_own(name) else name


def is_own(name: str) -> bool:
    """Whether a policy's name is that of one that comes with SOAR, wherever that is on the computer which opens it.

    Raises:
        ConfigError: Something of that name is in the current directory, too.
    """
    if name in _OWN and os.path.exists(name):
        raise ConfigError(
            f"policy {name}: one of SOAR's own is called that, and {name} in this folder, too. Say ./{name} for the latter, or "
            f"{WEIGHTS / _OWN[name]} for SOAR's"
        )
    return name in _OWN


def default_weights(kind: Kind) -> Path:
    """Return the folder of a base model.

    Raises:
        CheckpointError: It is not there.
    """
    folder = WEIGHTS / kind
    if not (folder / "model.safetensors").is_file():
        stages = " --stages demonstrations both" if kind == "both" else ""
        raise CheckpointError(
            f"this installation has no base {kind} model ({folder}). Train one with `soar pretrain{stages} --weights "
            f"{WEIGHTS}`, or pass the folder of another one."
        )
    return folder
