"""`soar evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a policy: seeded trials in simulation, judged by the simulator's state, the same starts for every policy.

    Example: soar evaluate --scene scene1 --policy runs/scene1/policies/001 --trials 50 --out runs/scene1/evaluations/mine.json
    """

    scene: str = "scene1"
    """Name of a scene, or path of its YAML file."""
    policy: str | None = None
    """Folder of the policy, or URL of one behind `soar serve`; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, or `oracle`; the one that comes with SOAR by default. A
    language-conditioned policy needs none."""
    trials: int = 50
    """Of each task."""
    out: Path
    """The JSON file of the evaluation; what it holds already is not run again."""
    arm: str = ""
    """What the policy is in a comparison; the file's name by default."""
    task: tuple[str, ...] = ()
    """Some of the scene's instructions; all by default."""
    action_scale: float = 1.0
    """Factor on the policy's motions."""
    image_size: int = 64
    """Of the camera [px]."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_rates
        from soar.evaluation.runner import evaluate

        with progress_bars() as report:
            evaluation = evaluate(
                self.policy or default_weights("policy"),
                scene=self.scene,
                subgoals=self.subgoals or str(default_weights("subgoal")),
                trials=self.trials,
                out=self.out,
                arm=self.arm or self.out.stem,
                tasks=self.task,
                workers=self.workers,
                action_scale=self.action_scale,
                image_size=self.image_size,
                on_trial=lambda done, total, rate: report("trials", done, total, f"success {rate:.2f}"),
            )
        print_rates([evaluation])
