"""How long work says how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What long work calls as it goes on; the command line draws bars, the library knows nothing of them."""

    def __call__(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` of a phase are done."""
        ...
