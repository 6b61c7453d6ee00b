"""How long the steps of a training run take."""

from __future__ import annotations

from collections.abc import Callable


class Enough(Exception):
    """Ends a training run when enough steps were timed."""


def timed(steps: int, clock: Callable[[], float]) -> tuple[Callable[..., None], list[float]]:
    """Return an `on_step` that ends a run after so many steps, and the durations of all but the first."""
    marks: list[float] = []
    durations: list[float] = []

    def on_step(done: int, *_: object) -> None:
        marks.append(clock())
        if len(marks) > 1:
            durations.append(marks[-1] - marks[-2])
        if len(marks) > steps:
            raise Enough

    return on_step, durations
