"""The protocol of policies: actions that bring an observation closer to a goal, which is an image or an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from soar.types import Goal, Observation


@runtime_checkable
class Instructed(Protocol):
    """A policy that reaches images of goals and wants to know, too, what for. It is told after each `reset`."""

    def instruct(self, instruction: str) -> None:
        """Be told what the coming episode is about."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A policy, batched over robots: goal i is for robot i. `id` is what provenance records."""

    @property
    def id(self) -> str:
        """Name and version of the policy."""
        ...

    @property
    def conditioning(self) -> Literal["goal", "language"]:
        """What its goals are: images to reach, or instructions to follow."""
        ...

    @property
    def action_std(self) -> NDArray[np.float32]:
        """(7,) standard deviation of the actions that it learned from: the unit of exploration."""
        ...

    @property
    def image_size(self) -> int | None:
        """Height and width of the pictures that it looks at [px], which others are brought to; None: any."""
        ...

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7) in physical units, see `soar.types.Action`."""
        ...

    def reset(self) -> None:
        """Forget the last episode."""
        ...
