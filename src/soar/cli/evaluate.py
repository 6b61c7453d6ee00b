"""`soar evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soar.cli.flags import rollout_of, workcell_name


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a policy: seeded trials on a workcell, the same starts for every policy, judged by its truth or by a model.

    Example: soar evaluate --scene scene1 --policy runs/scene1/policies/001 --trials 50 --out runs/scene1/evaluations/mine.json
    """

    workcell: str | None = None
    """A robot in front of a scene: name of a workcell, or path of its YAML file (docs/how-to/your-robot.md)."""
    scene: str | None = None
    """The simulated workcell of a scene: its name, or path of its YAML file. scene1, when no workcell is named."""
    policy: str | None = None
    """Folder of the policy, or URL of one behind `soar serve`; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, or `oracle`; the one that comes with SOAR by default. A
    language-conditioned policy needs none."""
    trials: int = 50
    """Of each task."""
    first_trial: int = 0
    """Index of the first start of each task; tune on other starts than those that you report."""
    out: Path
    """The JSON file of the evaluation; what it holds already is not run again."""
    variant: str = ""
    """What the policy is in a comparison; the file's name by default."""
    task: tuple[str, ...] = ()
    """Some of the scene's instructions; all by default."""
    action_scale: float = 1.0
    """Factor on the policy's motions."""
    image_size: int | None = None
    """Of a simulated camera [px]; the policy's by default."""
    judge: Literal["truth", "vlm"] = "truth"
    """Who says whether it worked: the workcell's truth (a simulator's state), or the vision-language model."""
    vlm: str | None = None
    """The model that judges with --judge vlm, and that looks with --look-every: folder, YAML file, or MODULE:NAME; the one that
    comes with SOAR by default."""
    threshold: float = 0.5
    """Least probability at which it says success."""
    questions: Path | None = None
    """YAML file of reviewed questions (`soar tasks questions` writes one); the scene's by default."""
    retries: int = 0
    """How often in an episode a robot that stands still may open its hand, back off and get a new subgoal."""
    look_every: int = 0
    """Steps between two looks of the VLM; two in a row that see success end the attempt. 0 for no looks."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_rates
        from soar.collect.rollout import RolloutConfig
        from soar.evaluation.runner import evaluate

        with progress_bars() as report:
            evaluation = evaluate(
                self.policy or default_weights("policy"),
                workcell=workcell_name(self.workcell, self.scene),
                subgoals=self.subgoals or str(default_weights("subgoal")),
                trials=self.trials,
                first_trial=self.first_trial,
                out=self.out,
                variant=self.variant or self.out.stem,
                tasks=self.task,
                workers=self.workers,
                action_scale=self.action_scale,
                image_size=self.image_size,
                judge=self.judge,
                vlm=self.vlm or str(default_weights("vqa")),
                threshold=self.threshold,
                questions=self.questions,
                rollout=rollout_of(RolloutConfig(), self.retries, self.look_every),
                on_trial=lambda done, total, rate: report("trials", done, total, f"success {rate:.2f}"),
            )
        print_rates([evaluation])
