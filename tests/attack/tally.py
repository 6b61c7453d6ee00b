"""What an attack did, as a row of docs/reliability.md; all but the first two columns should be 0."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class Tally:
    """A row of results/reliability.json.

    Attributes:
        what: The attack, in a few words.
        count: How often.
        lost: Acknowledged, and not there afterwards.
        doubled: There twice, or told twice that it was stored.
        half: There, and not whole.
        orphans: Processes that are left when nobody needs them.
        unclear: Ends that are neither success nor one clear message: tracebacks, hangs, limits that were passed.
    """

    what: str
    count: int = 0
    lost: int = 0
    doubled: int = 0
    half: int = 0
    orphans: int = 0
    unclear: int = 0

    def row(self) -> dict[str, Any]:
        """Return it for JSON."""
        return dataclasses.asdict(self)

    def add(self, other: Tally) -> None:
        """Add the counts of a later run of the same attack."""
        for field in dataclasses.fields(self)[1:]:
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def bad(self) -> dict[str, int]:
        """What is not 0 and should be."""
        return {field.name: value for field in dataclasses.fields(self)[2:] if (value := getattr(self, field.name))}
