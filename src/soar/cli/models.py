"""Commands about frozen models: ask one, measure one, write its questions, label what it is measured against."""

from __future__ import annotations

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
        from soar.cli.pictures import read_picture
        from soar.cli.tables import say
        from soar.improve.weights import default_weights
        from soar.tasks import decide
        from soar.vlm.opening import check_vlm

        model = check_vlm(self.vlm or str(default_weights("vqa")))
        (answer,) = model.answer([read_picture(self.image)], [self.question])
        verdict = {True: "yes", False: "no", None: "undecidable"}[decide(answer)]
        sure = "" if answer.p_yes is None else f", probability of yes {answer.p_yes:.3f}"
        why = answer.unreadable or answer.no_probability
        say(f"{verdict}{sure}{f' ({why})' if why else ''}\n{model.id} said: {answer.text.strip()!r}")


@dataclass(frozen=True, kw_only=True)
class EvaluateVLM:
    """Measure a success detector against labels by people or the simulator: accuracy, precision, recall, ROC, calibration.

    OUT gets report.json with intervals and every judgement, and mistakes.webp. With --answers it measures how answers
    are read: without a store and a model, on a file of answers with the right reading. A wrong one ends it with status 1.

    Example: soar vlm evaluate runs/scene1/episodes --vlm vlm.yaml --labels simulator --out runs/detector
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
        from soar import fallbacks
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_score
        from soar.episodes import EpisodeStore
        from soar.evaluation.detection import judge, mistakes_sheet, write_report
        from soar.tasks import SuccessDetector
        from soar.tasks.questions import task_finder
        from soar.vlm.opening import check_vlm

        store = EpisodeStore(folder)
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
        print_score(name, write_report(out, name, self.labels, judgements, mistakes_sheet(store, judgements)))


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


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Write the yes/no question of each task into a YAML file, for a person to review.

    What is in the file already stays as it is. A run uses it with `soar collect --questions FILE`, without any language model.

    Example: soar tasks questions --scene scene1 --out questions.yaml
    """

    out: Path
    """The file; what is missing in it is added."""
    scene: str | None = None
    """Name of a scene, or path of its YAML file."""
    task: tuple[str, ...] = ()
    """Further instructions, also ones that the rules do not understand."""
    llm: str | None = None
    """YAML file of a language model, which translates what the rules do not understand."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.sim.scene import load_scene
        from soar.tasks.questions import read_questions, translate, write_questions
        from soar.vlm.opening import open_language_model

        instructions = [*(load_scene(self.scene).tasks if self.scene else ()), *self.task]
        if not instructions:
            raise ConfigError("there is nothing to ask about: name a --scene, or a --task")
        known = read_questions(self.out) if self.out.exists() else {}
        questions = translate(instructions, known, open_language_model(self.llm) if self.llm else None)
        write_questions(self.out, questions)
        say(f"{len(questions) - len(known)} new questions of {len(questions)} in {self.out}; review them.")


@dataclass(frozen=True, kw_only=True)
class Propose:
    """Let a model look at a table and list what could be practised there, under a constitution of what is allowed.

    Example: soar tasks propose table.jpg --vlm vlm.yaml --constitution constitution.yaml
    """

    image: Annotated[Path, tyro.conf.Positional]
    """A picture of the table."""
    vlm: str
    """YAML file of a vision-language model."""
    constitution: Path
    """YAML file: `objects` and `verbs` that are allowed, `reach` in words, at most how many `tasks`."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.pictures import read_picture
        from soar.cli.tables import say
        from soar.tasks import decide
        from soar.tasks.open_vocabulary import prompt, read_constitution, read_tasks
        from soar.vlm.opening import check_vlm, open_language_model

        rules = read_constitution(self.constitution)
        image, lister, vlm = read_picture(self.image), open_language_model(self.vlm), check_vlm(self.vlm)
        tasks, refused = read_tasks(lister.reply([prompt(rules)], [image])[0], rules)
        answers = vlm.answer([image] * len(tasks), [task.question for task in tasks])
        for task, answer in zip(tasks, answers, strict=True):
            say(f"{'feasible' if decide(answer) is task.feasible_answer else 'not now '}  {task.instruction}")
        for instruction, objection in refused.items():
            say(f"refused   {instruction} ({objection})")


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Write and review what vision-language models are asked about tasks, and let them propose some."""

    command: (
        Annotated[Questions, tyro.conf.subcommand("questions", prefix_name=False)]
        | Annotated[Propose, tyro.conf.subcommand("propose", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()
