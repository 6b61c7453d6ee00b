"""`soar config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Config:
    """Print every value of a preset as YAML, with where it comes from: a file, the command line, or nowhere (a default).

    A YAML file that says `extends: laptop` and a few values is a preset of your own. Any value can be set for one run:
    soar improve --improvement.collection.exploration.sigma 0.5

    Example: soar config show laptop
    """

    action: Annotated[Literal["show"], tyro.conf.Positional]
    """What to do."""
    preset: Annotated[str, tyro.conf.Positional] = "laptop"
    """Name of a preset, or path of its YAML file."""
    set: tuple[str, ...] = ()
    """NAME=VALUE that count more; --NAME VALUE is the same, for a NAME with a dot."""

    def run(self) -> None:
        """Run it."""
        import sys

        from soar.improve.preset import explained

        sys.stdout.write(explained(self.preset, self.set))
