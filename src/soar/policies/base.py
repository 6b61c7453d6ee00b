"""The protocol of policies: actions that bring an observation closer to a goal, which is an image or an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from soar.types import Goal, Observation


@runtime_checkable
class Policy(Protocol):
    """A policy, batched over robots: goal i is for robot i. `id` is what provenance records."""

    @property
    def id(self) -> str:
        """Name and version of the policy."""
        ...

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7) in physical units, see `soar.types.Action`."""
        ...

    def reset(self) -> None:
        """Forget the last episode."""
        ...
