"""Commands about what vision-language models are asked, and what they propose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


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
        from soar.scenes import read_questions, read_scene
        from soar.tasks.questions import translate, write_questions
        from soar.vlm.loading import load_language_model

        instructions = [*(read_scene(self.scene).instructions if self.scene else ()), *self.task]
        if not instructions:
            raise ConfigError("there is nothing to ask about: name a --scene, or a --task")
        known = read_questions(self.out) if self.out.exists() else {}
        questions = translate(instructions, known, load_language_model(self.llm) if self.llm else None)
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
        from soar.vlm.loading import check_vlm, load_language_model

        rules = read_constitution(self.constitution)
        image, lister, vlm = read_picture(self.image), load_language_model(self.vlm), check_vlm(self.vlm)
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
