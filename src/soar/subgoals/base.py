"""The protocol of subgoal models: edit the camera image into what it should look like 20 steps later (paper §B.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from soar.types import Image


@runtime_checkable
class SubgoalModel(Protocol):
    """A frozen language-conditioned image-editing model; `id` is what provenance records."""

    @property
    def id(self) -> str:
        """Name and version of the model."""
        ...

    def reset(self) -> None:
        """Forget the last episode, if anything of it is kept."""
        ...

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal a (image, instruction), of the image's own size; equal seeds give equal subgoals."""
        ...
