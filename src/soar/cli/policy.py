"""`soar policy`: what is done with a policy besides training it and letting it act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from soar.cli.policy_choose import Choose
from soar.cli.policy_hub import Pull, Push
from soar.cli.policy_probe import Probe


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Policies: find out what one wants and gives before a robot moves, make one of several, publish one, fetch one."""

    command: (
        Annotated[Probe, tyro.conf.subcommand("probe", prefix_name=False)]
        | Annotated[Choose, tyro.conf.subcommand("choose", prefix_name=False)]
        | Annotated[Push, tyro.conf.subcommand("push", prefix_name=False)]
        | Annotated[Pull, tyro.conf.subcommand("pull", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
