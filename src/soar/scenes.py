"""Scenes from YAML: what stands in front of a robot and what it may practise there, in anybody's words.

    objects: [carrot, lemon, blue plate]
    tasks:
      - put the carrot on the blue plate          # the question follows from the paper's patterns (`soar.instruction_grammar`)
      - instruction: put the carrot next to the lemon
        question: Is the carrot next to the lemon?
        feasible_answer: no                       # the answer while there is still something to do
    questions: questions.yaml                     # more of those, as `soar tasks questions` writes them
    workspace: {low: [0.15, -0.2, 0.01], high: [0.4, 0.2, 0.25]}

`extends: NAME` (or the path of a file beside it) takes over what another scene says; what stands here counts more.

A question of the task itself counts more than one of the file, and that more than the patterns. Nothing here draws: what a
simulator needs besides is under `appearance`, and the simulator alone reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soar.configuration import find, layers, merged, read_yaml, validate
from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.types import Scene, Task, WorkspaceBox


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How a vision-language model is asked about an instruction.

    Attributes:
        question: A yes/no question about a picture of the workspace.
        feasible_answer: The answer while there is still something to do; the opposite one means done (§B.1.2).
        objects: What must be on the table.
        by: Who wrote it: `rules`, a model's id, or a person.
    """

    question: str
    feasible_answer: bool
    objects: tuple[str, ...] = ()
    by: str = ""

    def __post_init__(self) -> None:
        if not self.question.strip().endswith("?"):
            raise ConfigError(f"a question ends with a question mark, got {self.question!r}")

    def task(self, instruction: str) -> Task:
        """Return the task."""
        return Task(instruction=instruction, question=self.question, feasible_answer=self.feasible_answer, objects=self.objects)


def read_questions(path: Path) -> dict[str, Question]:
    """Return the questions in a file, by instruction.

    Raises:
        ConfigError: It cannot be read; the message names the instruction and what is wrong.
    """
    entries = {}
    for instruction, entry in read_yaml(path).items():
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{path}: {instruction!r} needs `question` and `feasible_answer` below it")
        entries[_sentence(str(instruction))] = _question(entry, f"{path}: {instruction}")
    return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneFile:
    """What a scene's YAML file says; tasks are not looked at yet.

    Attributes:
        name: Of the scene; the file's by default.
        tasks: Instructions, or mappings with `instruction`, `question`, `feasible_answer` and `objects`.
        objects: Names of what stands on the table.
        questions: A file of questions, relative to this one.
        workspace: The box that the gripper never leaves; a workcell's or a robot's file can say so instead.
        appearance: What a simulator needs to draw it.
        path: Of the file; None for a scene that stands in another file.
    """

    name: str
    tasks: tuple[str | dict[str, Any], ...]
    objects: tuple[str, ...] = ()
    questions: str = ""
    workspace: WorkspaceBox | None = None
    appearance: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.path or f"scene {self.name!r}")

    @property
    def instructions(self) -> tuple[str, ...]:
        """The commands, in the file's order."""
        return tuple(_sentence(str(entry.get("instruction", "")) if isinstance(entry, dict) else entry) for entry in self.tasks)

    def scene(self, questions: Path | None = None) -> Scene:
        """Return the scene with a question for each task.

        Args:
            questions: A file of questions that counts more than the scene's own.

        Raises:
            ConfigError: There are no tasks, a task occurs twice, or there is no question for one; the message says how to
                write one.
        """
        known: dict[str, Question] = {}
        if self.questions:
            known |= read_questions((self.path.parent if self.path else Path()) / self.questions)
        tasks = [self._task(entry, known) for entry in self.tasks]
        if questions is not None:
            ours = read_questions(questions)
            tasks = [ours[task.instruction].task(task.instruction) if task.instruction in ours else task for task in tasks]
        unknown = [task.instruction for task in tasks if not task.question]
        if unknown:
            raise ConfigError(
                f"{self.where}: no question for {'; '.join(repr(text) for text in unknown)}. Write it below the task:\n"
                f"  tasks:\n    - instruction: {unknown[0]}\n"
                "      question: Is …?   # yes or no, about a picture of the table\n"
                "      feasible_answer: no   # the answer while there is still something to do\n"
                "or let a language model write a file of them (soar tasks questions --llm MODEL.yaml) and name it under "
                "`questions`."
            )
        if not tasks:
            raise ConfigError(f"{self.where}: no tasks. List instructions under `tasks`, such as: put the carrot on the plate")
        twice = {task.instruction for task in tasks if [other.instruction for other in tasks].count(task.instruction) > 1}
        if twice:
            raise ConfigError(f"{self.where}: {', '.join(sorted(twice))} stands more than once under `tasks`")
        self._check_objects(tasks)
        return Scene(name=self.name, objects=self.objects, tasks=tuple(tasks), workspace=self.workspace)

    def _task(self, entry: str | dict[str, Any], known: Mapping[str, Question]) -> Task:
        if isinstance(entry, dict):
            rest = dict(entry)
            instruction = _sentence(str(rest.pop("instruction", "")))
            if not instruction:
                raise ConfigError(f"{self.where}: a task needs `instruction`, got {entry}")
            if rest:
                return _question(rest, f"{self.where}: {instruction}").task(instruction)
        else:
            instruction = _sentence(entry)
        if instruction in known:
            return known[instruction].task(instruction)
        try:
            return task_from_instruction(instruction)
        except ConfigError:
            return Task(instruction=instruction, question="", feasible_answer=False)

    def _check_objects(self, tasks: list[Task]) -> None:
        for task in tasks:
            for name in task.objects:
                if self.objects and name not in self.objects:
                    raise ConfigError(
                        f"{self.where}: task {task.instruction!r} names {name!r}, which is not among its objects: "
                        f"{', '.join(self.objects)}. Add it under `objects` or remove the task."
                    )


def read_scene(name: str) -> SceneFile:
    """Read a scene by name (`scene1` … `scene10`) or by the path of a YAML file.

    Raises:
        UnknownNameError: There is no such scene, also none of those that it extends, or a key in its file is unknown.
        ConfigError: The file cannot be read, or it extends itself in the end.
    """
    path = find("scenes", name)
    said = []
    for layer, part in layers("scenes", name):
        if questions := part.get("questions"):
            part["questions"] = str(Path(layer).parent.absolute() / str(questions))
        said.append(part)
    return scene_file(merged(said), path.stem, path)


def scene_file(data: Mapping[str, Any], name: str, path: Path | None = None) -> SceneFile:
    """Return a scene from what stands in a YAML file.

    Raises:
        UnknownNameError: A key is unknown.
        ConfigError: A value is of the wrong kind.
    """
    where = str(path or f"scene {name!r}")
    if "robot" in data:
        raise ConfigError(f"{where}: a scene has no robot; a workcell's file names both (docs/how-to/your-robot.md)")
    return validate(SceneFile, {"name": name} | dict(data) | {"path": path}, where)


def load_scene(name: str, questions: Path | None = None) -> Scene:
    """Return a scene, see `read_scene` and `SceneFile.scene`.

    Raises:
        ConfigError: It cannot be read, or a task has no question.
    """
    return read_scene(name).scene(questions)


def _question(entry: Mapping[str, Any], where: str) -> Question:
    return validate(Question, entry, where)


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(". ")
