"""The base models that come with SOAR; `soar pretrain` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from soar.errors import CheckpointError

Kind = Literal["policy", "language", "subgoal", "vqa"]
WEIGHTS = Path(__file__).parent / "weights"


def named(name: str, kind: Kind) -> str:
    """Return a model's name, or that of the base model where it is empty: what it means on this computer.

    Raises:
        CheckpointError: The base model is not there.
    """
    return name or str(default_weights(kind))


def unnamed(name: str, kind: Kind) -> str:
    """Return a model's name as another computer understands it: empty for the base model, which each has somewhere else."""
    return "" if name == str(WEIGHTS / kind) else name


def default_weights(kind: Kind) -> Path:
    """Return the folder of a base model.

    Raises:
        CheckpointError: It is not there.
    """
    folder = WEIGHTS / kind
    if not (folder / "model.safetensors").is_file():
        raise CheckpointError(
            f"this installation has no base {kind} model ({folder}). Train one with `soar pretrain --weights {WEIGHTS}`, "
            "or pass the folder of another one."
        )
    return folder
