"""The base models that come with SOAR; `soar pretrain` makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from soar.errors import CheckpointError

Kind = Literal["policy", "language", "subgoal", "vqa"]
WEIGHTS = Path(__file__).parent / "weights"


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
