"""The protocol of subgoal models: edit the camera image into what it should look like 20 steps later (paper §B.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from soar.errors import NumericalError
from soar.types import Image

_COLOURS = 3
"""Grey levels between the darkest and the brightest pixel of a channel up to which a picture is of one colour."""


def check_imagined(goals: Sequence[Image], images: Sequence[Image], model: str) -> None:
    """Refuse subgoals of one colour, of images that are not: black from a filter for pictures, grey from a failed computation.

    Raises:
        NumericalError: There is one.
    """
    for goal_HWC, image_HWC in zip(goals, images, strict=True):
        if _flat(goal_HWC) and not _flat(image_HWC):
            colour = ", ".join(str(round(float(level))) for level in goal_HWC.reshape(-1, 3).mean(0))
            raise NumericalError(
                f"{model} imagined a picture of one colour ({colour}), which is no subgoal. That is what a failed computation "
                "and a filter for pictures (safety checker) leave behind: set `dtype: float32`, and switch the filter off."
            )


def _flat(image_HWC: Image) -> bool:
    pixels = image_HWC.reshape(-1, image_HWC.shape[-1])
    return bool((pixels.max(0).astype(int) - pixels.min(0) <= _COLOURS).all())


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
