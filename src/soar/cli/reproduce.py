"""`soar reproduce`: the experiments behind the figures that README and docs state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run an experiment: collect once, train every arm with several seeds, evaluate all on the same starts.

    What is finished is not run again, so it can be stopped and continued. `make tables` then draws the tables.

    Example: soar reproduce scene1 --arms pretrained control improved
    """

    experiment: Annotated[str, tyro.conf.Positional]
    """Name under configs/reproduce, or path of a YAML file."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of dataset, policies and evaluations; runs/reproduce-EXPERIMENT by default."""
    arms: tuple[str, ...] = ()
    """Some of the arms; all by default."""
    results: Path | None = None
    """The results file; results/EXPERIMENT.json by default."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of the base's demonstrations; `soar pretrain --stages demonstrations` records it."""
    policy: Path | None = None
    """Folder of the base policy; the one that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, or `oracle`; the one that comes with SOAR by default."""
    vlm: str | None = None
    """Folder of the VQA model, or `oracle`; the one that comes with SOAR by default."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.improve.collecting import Models
        from soar.improve.weights import default_weights
        from soar.reproduce.arms import reproduce

        name = Path(self.experiment).stem
        results = self.results or Path("results") / f"{name}.json"
        with progress_bars() as report:
            reproduce(
                self.experiment,
                run=self.run_folder or Path("runs") / f"reproduce-{name}",
                models=Models(
                    policy=str(self.policy or default_weights("policy")),
                    subgoals=self.subgoals or str(default_weights("subgoal")),
                    vlm=self.vlm or str(default_weights("vqa")),
                ),
                preset=self.preset,
                pretraining=self.pretraining,
                results=results,
                only=self.arms,
                workers=self.workers,
                report=report,
            )
        say(f"results: {results}; `make tables` draws them in README and docs")
