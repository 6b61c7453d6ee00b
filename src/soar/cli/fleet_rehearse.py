"""`soar fleet rehearse`: faults on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Rehearse:
    """Let a fleet go wrong on purpose, with robots that move nothing, and count what became of its promises.

    Each robot of the file is replaced by one that only takes its time; coordinator, processes, network, store and supervision
    are those of `soar fleet up`. Killed at any point, the same command goes on with the next fault.

    Example: soar fleet rehearse lab.yaml --plan plan.yaml --run runs/rehearsal
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The fleet's YAML file (docs/fleet.md)."""
    plan: Path
    """YAML file of what goes wrong (docs/fleet.md)."""
    run_folder: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the rehearsal."""
    faults: int | None = None
    """How many in all; the plan's number by default."""
    results: Path | None = None
    """Results file for the tables, such as results/fleet_faults.json; none by default."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.flags import changed, invocation
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.evaluation.results import write_results
        from soar.fleet.config import load_fleet
        from soar.fleet.rehearsal.plan import load_plan
        from soar.fleet.rehearsal.rehearsing import rehearse

        plan = changed(load_plan(self.plan), faults=self.faults)
        with progress_bars() as report:
            came = rehearse(load_fleet(self.file), plan, self.run_folder, lambda *said: report("faults", *said))
        for row in came.rows():
            say(f"{row['ours'] if row['ours'] is not None else '-':>12}  {row['metric']}")
        for promise in came.promises:
            for example in promise.examples:
                say(f"broken: {promise.what}: {example}")
        if self.results is not None:
            command = invocation(f"soar fleet rehearse {self.file}", self, "plan", "faults")
            write_results(self.results, command, came.rows())
        if not came.kept:
            raise SystemExit(1)
