"""`soar benchmark`: somebody else's method on our scenes."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from soar.cli.flags import invocation


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Run a learner or a policy of your own on the ten scenes, and print its row for the table (docs/baselines.md).

    A learner gets the demonstrations and the episodes that `soar reproduce figure5` collected, without what only the simulator
    knows, and is trained with three seeds; a policy is measured as it is. Starts, tasks and budgets are those of our tables.
    What is finished is not run again.

    Example: soar benchmark my_lab.method:MyLearner

    Example: soar benchmark my_lab.method:MyLearner --scenes scene1 --trials 8 --seeds 1
    """

    method: Annotated[str, tyro.conf.Positional]
    """MODULE:NAME of a learner or a policy, or a policy by any other name."""
    base: Path | None = None
    """Folder of a policy that the learner may go on from; none by default: it begins with nothing."""
    episodes: Path = Path("runs/reproduce-figure5/episodes")
    """Store of the collected episodes: your own collection, or the published store."""
    checksum: str = ""
    """Digest that the shared episodes must have (it is in RUN/shared.json and in the results file); any by default."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of the demonstrations."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of the run; by default runs/benchmark-NAME."""
    results: Path | None = None
    """The results file; results/benchmark-NAME.json by default."""
    subgoals: str | None = None
    """Subgoal model for a policy that reaches images of goals; the one that comes with SOAR by default."""
    scenes: tuple[str, ...] = ()
    """Some of the scenes; all ten by default, which the table needs."""
    trials: int = 100
    """Of each seed in each scene, shared out over its tasks: as many of each, rounded up."""
    seeds: int = 3
    """Training seeds of a learner."""
    workers: int = 2
    """Processes that simulate."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.experiments.benchmark import SCENES, benchmark, label_of, table_row

        if self.trials < 1 or self.seeds < 1:
            raise ConfigError(f"benchmark: trials and seeds must be at least 1, got {self.trials} and {self.seeds}")
        label = label_of(self.method)
        name = label.lower()
        results = self.results or Path("results") / f"benchmark-{name}.json"
        run = self.run_folder or Path("runs") / f"benchmark-{name}"
        decide = ("base", "episodes", "checksum", "pretraining", "subgoals", "scenes", "trials", "seeds")
        with progress_bars() as report:
            rows = benchmark(
                self.method,
                run=run,
                results=results,
                pretraining=self.pretraining,
                collected=self.episodes,
                subgoals=self.subgoals or str(default_weights("subgoal")),
                base=self.base,
                checksum=self.checksum,
                scenes=self.scenes or SCENES,
                trials=self.trials,
                seeds=self.seeds,
                workers=self.workers,
                command=invocation(f"soar benchmark {shlex.quote(self.method)}", self, *decide),
                report=report,
            )
        say(table_row(label, rows))
        say(f"every trial is in {run}/evaluations, the rates and what was learned from are in {results}")
