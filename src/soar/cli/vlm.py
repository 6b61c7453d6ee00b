"""Commands about vision-language models: ask one, measure one."""

from __future__ import annotations

import functools
import json
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
        why = answer.unreadable or answer.no_probability
        say(f"{verdict}{sure}{f' ({why})' if why else ''}\n{model.id} said: {answer.text.strip()!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluateVLM:
    """Measure a success detector against labels by people or the simulator: accuracy, precision, recall, ROC, calibration.

    OUT gets report.json with intervals and every judgement, and mistakes.webp. Several judges (--sees) are compared on the same
    episodes, each with the first: a folder each, and judges.json with the table, which --results writes elsewhere, too. With
    --answers it measures how answers are read: without a store and a model, on a file of answers with the right reading. A
    wrong one ends it with status 1.

    Example: soar vlm evaluate runs/scene1/episodes --vlm vlm.yaml --labels simulator --out runs/detector

    Example: soar vlm evaluate runs/scene1/episodes --vlm vlm.yaml --sees last changed looks:21 last+changed --out runs/judges
    """

    store: Annotated[Path | None, tyro.conf.Positional] = None
    """Folder of a store of episodes."""
    out: Path | None = None
    """Folder of the report; with --answers it gets readings.jsonl, each answer with what was read, and is not needed."""
    answers: str | None = None
    """A file of answers (`soar.vlm.answer_file`), or `shipped`: the one that comes with SOAR."""
    vlm: str | None = None
    """Folder of the VQA model, YAML file of any other model, or `human`; by default the judgements in the store count."""
    labels: Literal["simulator", "person"] = "simulator"
    """Whose labels are the truth; `soar data label` makes a person's."""
    threshold: float = 0.5
    """Least probability that counts as success."""
    sees: tuple[str, ...] = ("last",)
    """What of an attempt it judges by, `last` frame, `changed`, `looks:8`, `film:8` … (docs/how-to/foundation-models.md);
    several are compared."""
    results: Path | None = None
    """Results file for the table of several judges, such as results/judges.json."""
    let_go: bool = False
    """What the model sees done is not done while the hand holds something, as `early_success.let_go` has it."""
    questions: Path | None = None
    """YAML file of reviewed questions."""
    where: str = ""
    """SQL that selects some of the episodes."""
    limit: int | None = None
    """At most so many, the newest."""

    def run(self) -> None:
        """Run it."""
        from soar.errors import ConfigError

        if self.answers is not None:
            self._measure_reading(self.answers)
        elif self.store is None or self.out is None:
            raise ConfigError("name a store and a folder for the report with --out, or a file of answers with --answers")
        else:
            self._measure_detector(self.store, self.out)

    def _measure_reading(self, name: str) -> None:
        from soar.cli.tables import print_readings
        from soar.files import write_text
        from soar.vlm.answer_file import read_examples, score

        scores, rows = score(read_examples(name))
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(self.out / "readings.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        print_readings(scores)
        if any(score.wrong for score in scores.values()):
            raise SystemExit(1)

    def _measure_detector(self, folder: Path, out: Path) -> None:
        from soar.cli.flags import invocation
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_score, say
        from soar.episodes import EpisodeStore
        from soar.errors import ConfigError
        from soar.evaluation.detector_metrics import Judgement, judge, mistakes_sheet, write_report
        from soar.evaluation.judge_comparison import caption, comparison_rows
        from soar.evaluation.results import write_results
        from soar.remote import fallbacks
        from soar.reports.docs_tables import results_to_markdown
        from soar.tasks import SuccessDetector
        from soar.tasks.questions import task_finder
        from soar.tasks.views import with_let_go
        from soar.vlm.loading import load_vlm

        store = EpisodeStore(folder)
        seen = tuple(with_let_go(one) for one in self.sees) if self.let_go else self.sees
        if self.vlm is None and seen != ("last",):
            raise ConfigError("without --vlm the judgements in the store count, whatever was seen: name one to use --sees")
        if len(set(seen)) < len(seen):
            raise ConfigError(f"--sees {' '.join(self.sees)} names a judge twice")
        detectors = {}
        if self.vlm is not None:
            detectors = {one: SuccessDetector(load_vlm(self.vlm), self.threshold, sees=one) for one in seen}
        for detector in detectors.values():
            detector.check()
        judged: dict[str, list[Judgement]] = {}
        with progress_bars() as report, fallbacks.forbidden():
            for one in seen:
                judged[one] = judge(
                    store,
                    self.labels,
                    detectors.get(one),
                    task_of=task_finder(self.questions),
                    where=self.where or None,
                    limit=self.limit,
                    on_progress=functools.partial(report, f"episodes, {one}" if len(seen) > 1 else "episodes"),
                )
        several = len(seen) > 1
        for number, (one, judgements) in enumerate(judged.items(), start=1):
            name = detectors[one].id if detectors else "as stored"
            into = out / f"{number:02d}" if several else out
            score = write_report(into, name, self.labels, judgements, mistakes_sheet(store, judgements))
            if not several:
                print_score(name, score)
        if several:
            options = ("vlm", "labels", "threshold", "sees", "let_go", "questions", "where", "limit")
            command, rows = invocation(f"soar vlm evaluate {folder}", self, *options), comparison_rows(judged)
            about = caption(judged, self.labels, self.threshold)
            for path in filter(None, (out / "judges.json", self.results)):
                write_results(path, command, rows, about)
            say(results_to_markdown({"rows": rows, "command": command, "caption": about}))


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
