"""Tasks that nobody listed: a vision-language model says what could be practised, under a constitution.

    image ─► "list tasks" ─► one instruction a line ─► constitution ─► near-duplicates merged ─► feasible? ─► selector

A step beyond the paper, whose model had to be given a list (§B.1.1). The constitution is a list of what is allowed, not of
what is forbidden: an instruction that the grammar does not understand, or that names another object or verb, is refused,
whatever the model says. Counts are kept by what a task means, so the same task in other words is the same task, after a restart
too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError
from soar.instruction_grammar import Instruction, parse_instruction, task_from_instruction
from soar.tasks.detection import SuccessDetector
from soar.tasks.proposal import Proposal, TaskProposer
from soar.tasks.selection import Selector
from soar.types import Image, Task
from soar.vlm.base import LanguageModel, VisionLanguageModel

_VERBS = {"put": "put", "left": "move", "right": "move"}
"""The verb of an instruction's kind, where it has another name."""
VERBS = ("put", "remove", "move", "open", "close", "fold", "unfold")
_PROMPT = """A small robot arm stands in front of this table. List tasks for it, one a line, at most {count}.

It may handle these objects only: {objects}.
It may use these verbs only: {verbs}. Write them as in
put the spoon in the mug
remove the spoon from the mug and put it on the table
move the spoon to the left side
open the box
{reach}
Only what is possible in this picture, nothing that is done already. Write the lines and nothing else.
"""
_LINES = 50
"""Lines of a reply that are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constitution:
    """What a robot may do.

    Attributes:
        objects: Names of the objects that it may handle or put things in or on.
        verbs: Some of `VERBS`.
        reach: A sentence for the model about what is out of reach; empty for none.
        tasks: Most tasks that are taken from one look.
    """

    objects: tuple[str, ...]
    verbs: tuple[str, ...] = VERBS
    reach: str = ""
    tasks: int = 12

    def __post_init__(self) -> None:
        if not self.objects or self.tasks < 1:
            raise ConfigError("a constitution needs at least one object, and `tasks` of at least 1")
        if unknown := sorted(set(self.verbs) - set(VERBS)):
            raise ConfigError(f"a constitution's verbs are some of {', '.join(VERBS)}; got {', '.join(unknown)}")

    def objection(self, instruction: str) -> str:
        """Return why an instruction is refused; empty when it is allowed."""
        try:
            parsed = parse_instruction(instruction)
        except ConfigError:
            return "not understood"
        verb = _VERBS.get(parsed.kind, parsed.kind)
        if verb not in self.verbs:
            return f"the verb {verb!r} is not allowed"
        for name in (parsed.object, parsed.target):
            if name is not None and name not in self.objects:
                return f"the object {name!r} is not allowed"
        return ""


def prompt(constitution: Constitution) -> str:
    """Return what the model is asked for."""
    return _PROMPT.format(
        count=constitution.tasks,
        objects=", ".join(constitution.objects),
        verbs=", ".join(constitution.verbs),
        reach=constitution.reach,
    )


def read_tasks(reply: str, constitution: Constitution, known: Iterable[str] = ()) -> tuple[list[Task], dict[str, str]]:
    """Return the tasks in a model's reply that are allowed, and the lines that are refused with the reason. No reply raises.

    Args:
        reply: One instruction a line; numbers, bullets and quotes around it are ignored.
        constitution: What is allowed.
        known: Instructions that were used before; a task that means the same is taken in those words.
    """
    words: dict[Instruction, str] = {}
    for instruction in known:
        if not constitution.objection(instruction):
            words.setdefault(parse_instruction(instruction), instruction)
    tasks: dict[Instruction, Task] = {}
    refused: dict[str, str] = {}
    for line in reply.splitlines()[:_LINES]:
        instruction = re.sub(r"^[\s\d.)*•\"'`-]+|[\s\"'`.*]+$", "", line).lower()
        if not instruction:
            continue
        if objection := constitution.objection(instruction):
            refused[instruction] = objection
        elif len(tasks) < constitution.tasks:
            meaning = parse_instruction(instruction)
            tasks.setdefault(meaning, task_from_instruction(words.get(meaning, instruction)))
    return list(tasks.values()), refused


def read_constitution(path: Path) -> Constitution:
    """Return the constitution in a YAML file.

    Raises:
        ConfigError: It cannot be read.
    """
    return validate(Constitution, read_yaml(path), str(path))


class OpenVocabularyProposer(TaskProposer):
    """A `TaskProposer` whose tasks are those that the model lists for what the camera sees.

    Args:
        vlm: Answers the feasibility questions.
        lister: Lists tasks; often the same model.
        constitution: What is allowed.
        tasks: The scene's tasks, for looks in which the model lists nothing that is allowed.
        selector: Chooses among the feasible ones.
        past: Instructions of the attempts so far, those of tasks that nobody lists now included.
        past_successes: Instructions of those that were judged successes.
        detector: See `TaskProposer`.
        reproposals: See `TaskProposer`.
        in_a_row: See `TaskProposer`.
        own: See `TaskProposer`.
    """

    def __init__(
        self,
        vlm: VisionLanguageModel,
        lister: LanguageModel,
        constitution: Constitution,
        tasks: Sequence[Task],
        selector: Selector,
        *,
        past: Iterable[str] = (),
        past_successes: Iterable[str] = (),
        detector: SuccessDetector | None = None,
        reproposals: int = 4,
        in_a_row: int = 0,
        own: Sequence[str] = (),
    ) -> None:
        super().__init__(
            vlm,
            tasks,
            selector,
            past,
            past_successes,
            detector=detector,
            reproposals=reproposals,
            in_a_row=in_a_row,
            own=own,
        )
        self._lister, self._constitution = lister, constitution

    def propose(self, image_HWC: Image, off_limits: Collection[str] = (), missing: Collection[str] = ()) -> Proposal:
        """Return the next task for what the camera sees; one call lists tasks, one batch of calls asks which are feasible."""
        (reply,) = self._lister.reply([prompt(self._constitution)], [image_HWC])
        listed, _ = read_tasks(reply, self._constitution, [*self._scene, *self._past])
        # In the scene's words where it means one of the scene's tasks, so that a reviewed question is the one that is asked.
        found = {task.instruction: self._scene.get(task.instruction, task) for task in listed}
        self._tasks = found if self._permitted(found) else dict(self._scene)
        proposal = super().propose(image_HWC, off_limits, missing)
        return dataclasses.replace(proposal, listed=tuple(task.instruction for task in listed))
