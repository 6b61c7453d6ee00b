"""Commands about vision-language models: ask one, measure one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask a vision-language model a yes/no question about a picture.

    Example: soar vlm ask table.jpg "Is the drawer open?" --vlm vlm.yaml
    """

    image: Annotated[Path, tyro.conf.Positional]
    """A picture."""
    question: Annotated[str, tyro.conf.Positional]
    """A yes/no question."""
    vlm: str | None = None
    """Folder of the VQA model, YAML file of any other model, or `human`; the one that comes with SOAR by default."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.pictures import read_picture
        from soar.cli.tables import say
        from soar.tasks import decide
        from soar.vlm.loading import check_vlm

        model = check_vlm(self.vlm or str(default_weights("vqa")))
        (answer,) = model.answer([read_picture(self.image)], [self.question])
        verdict = {True: "yes", False: "no", None: "undecidable"}[decide(answer)]
        sure = "" if answer.p_yes is None else f", probability of yes {answer.p_yes:.3f}"
        say(f"{verdict}{sure}\n{model.id} said: {answer.text.strip()!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluateVLM:
    """Measure a success detector against labels by people or the simulator: accuracy, precision, recall, ROC, calibration.

    OUT gets report.json with intervals and every judgement, and mistakes.webp.

    Example: soar vlm evaluate runs/scene1/episodes --vlm vlm.yaml --labels simulator --out runs/detector
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of a store of episodes."""
    out: Path
    """Folder of the report."""
    vlm: str | None = None
    """Folder of the VQA model, YAML file of any other model, or `human`; by default the judgements in the store count."""
    labels: Literal["simulator", "person"] = "simulator"
    """Whose labels are the truth; `soar data label` makes a person's."""
    threshold: float = 0.5
    """Least probability that counts as success."""
    questions: Path | None = None
    """YAML file of reviewed questions."""
    where: str = ""
    """SQL that selects some of the episodes."""
    limit: int | None = None
    """At most so many, the newest."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_score
        from soar.episodes import EpisodeStore
        from soar.evaluation.detector_metrics import judge, mistakes_sheet, write_report
        from soar.remote import fallbacks
        from soar.tasks import SuccessDetector
        from soar.tasks.questions import task_finder
        from soar.vlm.loading import check_vlm

        store = EpisodeStore(self.store)
        vlm = None if self.vlm is None else check_vlm(self.vlm)
        detector = None if vlm is None else SuccessDetector(vlm, self.threshold)
        with progress_bars() as report, fallbacks.forbidden():
            judgements = judge(
                store,
                self.labels,
                detector,
                task_of=task_finder(self.questions),
                where=self.where or None,
                limit=self.limit,
                on_progress=lambda done, total: report("episodes", done, total),
            )
        name = "as stored" if vlm is None else vlm.id
        print_score(name, write_report(self.out, name, self.labels, judgements, mistakes_sheet(store, judgements)))


@dataclass(frozen=True, kw_only=True)
class VLM:
    """Ask vision-language models, and measure them as success detectors."""

    command: (
        Annotated[Ask, tyro.conf.subcommand("ask", prefix_name=False)]
        | Annotated[EvaluateVLM, tyro.conf.subcommand("evaluate", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
