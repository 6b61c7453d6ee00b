"""`soar pretrain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Make the base models from nothing: record demonstrations and pictures in simulation, train policy, subgoals and VQA.

    Stages that are finished are skipped; DATA/manifest.json says what each made and saw. Hours on two cores. With torchrun the
    policies are trained by several processes together.

    Example: soar pretrain --preset laptop --out data --weights src/soar/weights

    Example: torchrun --nproc-per-node 2 -m soar.cli pretrain --stages policy language
    """

    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    out: Path = Path("data")
    """Folder of recordings, training runs and the manifest."""
    weights: Path = Path("data/weights")
    """Folder that gets the finished models: policy, language, both, subgoal, vqa."""
    initial: Path | None = None
    """Folder of earlier models that the training continues from, such as src/soar/weights; fresh networks by default."""
    stages: tuple[
        Literal[
            "demonstrations", "pictures", "policy", "language", "both", "subgoal", "corrections", "subgoal_correction", "vqa"
        ],
        ...,
    ] = (
        "demonstrations",
        "pictures",
        "policy",
        "language",
        "subgoal",
        "corrections",
        "subgoal_correction",
        "vqa",
    )
    """Which stages; all by default but `both`, which is a policy that takes goal images and instructions. `corrections` records
    where the models go astray, `subgoal_correction` learns from it."""
    corrections: str = "corrections"
    """How these are recorded: `corrections`; `words`, where things look alike and every task is shown; or a YAML file."""
    worlds: int | None = None
    """In which demonstrations are recorded, 10 episodes each; the preset's number by default."""
    workers: int | None = None
    """Processes that record; the preset's number by default."""
    device: str = "cpu"
    """Of torch."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.flags import changed
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.improve.preset import load_preset
        from soar.pretraining.pretrain import pretrain
        from soar.training.distributed import joined

        preset = load_preset(self.preset)
        config = changed(preset.pretraining, demonstration_worlds=self.worlds)
        with joined(self.device) as (group, device), progress_bars() as report:
            pretrain(
                config,
                self.out,
                self.weights,
                stages=self.stages,
                corrections=self.corrections,
                initial=self.initial,
                workers=self.workers or preset.workers,
                device=device,
                on_progress=report if group.leads else None,
            )
            if not group.leads:
                return
        models = f"models: {self.weights}, what they saw: " if self.weights.exists() else "what was recorded: "
        say(f"{models}{self.out / 'manifest.json'}")
