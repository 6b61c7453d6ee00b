"""Subgoals that the simulator imagines by itself. For tests and ablations only: no robot has this."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from soar.cameras import MAIN
from soar.types import Image


class OracleSubgoals:
    """A subgoal model that asks the simulator, for tests and ablations (see `soar.subgoals.base.SubgoalModel`).

    Args:
        imagine: Renders what an expert's scene looks like 20 steps from the simulator's present state, given an
            instruction and a seed. The images passed to `generate` must therefore be of the present.
    """

    camera = MAIN
    """Whose pictures it imagines."""

    def __init__(self, imagine: Callable[[str, int], Image]) -> None:
        self._imagine = imagine

    @property
    def id(self) -> str:
        """Always `oracle`."""
        return "oracle"

    def reset(self) -> None:
        """Nothing is kept."""

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one imagined image an instruction."""
        return [self._imagine(text, seed) for _, text, seed in zip(images, instructions, seeds, strict=True)]
