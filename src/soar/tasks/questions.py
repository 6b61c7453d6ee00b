"""From instructions to questions (paper §B.1.1, Table 3), in a YAML file that a person reviews and a run uses.

    put the green block in the wooden bowl:
      question: Is the green block in the wooden bowl?
      feasible_answer: false      # the answer while there is still something to do; the opposite one means done
      objects: [green block, wooden bowl]
      by: rules

Rules translate what they understand (`soar.instruction_grammar`, all of the paper's tasks); the rest needs a language model.
What stands in the file is never translated again, so a correction stays, and a run needs no language model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from soar.errors import ConfigError
from soar.files import write_text
from soar.instruction_grammar import task_from_instruction
from soar.scenes import Question, read_questions
from soar.types import Task
from soar.vlm.answer_parsing import yes_or_no
from soar.vlm.base import LanguageModel

RULES = "rules"
_HEAD = """\
# What the vision-language model is asked about each task. Review it: correct what is wrong, and put your name under `by`.
# feasible_answer is the answer while there is still something to do; the opposite answer means that the task is done.
"""
_PROMPT = """A robot arm stands in front of a table. For each instruction, write one yes/no question about a photograph of the \
table that tells whether the instruction has already been carried out. Ask about what is visible, not about what somebody did.

Instruction: lay the screwdriver on the tray
{{"question": "Is the screwdriver on the tray?", "feasible_answer": "no", "objects": ["screwdriver", "tray"]}}
Instruction: get the tennis ball out of the basket
{{"question": "Is the tennis ball in the basket?", "feasible_answer": "yes", "objects": ["tennis ball", "basket"]}}
Instruction: shut the laptop
{{"question": "Is the laptop open?", "feasible_answer": "yes", "objects": ["laptop"]}}
Instruction: stand the bottle upright
{{"question": "Is the bottle standing upright?", "feasible_answer": "no", "objects": ["bottle"]}}
Instruction: push the sponge away from the cup
{{"question": "Does the sponge touch the cup?", "feasible_answer": "yes", "objects": ["sponge", "cup"]}}
Instruction: stack the red cube on the blue cube
{{"question": "Is the red cube on top of the blue cube?", "feasible_answer": "no", "objects": ["red cube", "blue cube"]}}

"feasible_answer" is the answer while the instruction has not been carried out yet. "objects" are the things that must be on \
the table. Reply with the JSON object alone.

Instruction: {instruction}
"""
_LONGEST = 300


def write_questions(path: Path, questions: Mapping[str, Question]) -> None:
    """Write questions to a file, atomically."""
    plain = {name: {**asdict(question), "objects": list(question.objects)} for name, question in questions.items()}
    write_text(path, _HEAD + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))


def reviewed(tasks: Iterable[Task], path: Path) -> tuple[Task, ...]:
    """Return the tasks with the questions of a file; those that are not in it keep theirs.

    Raises:
        ConfigError: The file cannot be read.
    """
    questions = read_questions(path)
    return tuple(
        questions[task.instruction].task(task.instruction) if task.instruction in questions else task for task in tasks
    )


def task_finder(path: Path | None) -> Callable[[str], Task]:
    """Return a function from an instruction to its task: from the file when it is there, else by the rules.

    Raises:
        ConfigError: The file cannot be read; the function raises it for an instruction that nobody translates.
    """
    questions = {} if path is None else read_questions(path)

    def find(instruction: str) -> Task:
        known = questions.get(instruction)
        return task_from_instruction(instruction) if known is None else known.task(instruction)

    return find


def translate(
    instructions: Sequence[str], known: Mapping[str, Question], model: LanguageModel | None = None
) -> dict[str, Question]:
    """Return what is known, and the questions of the other instructions.

    Args:
        instructions: Commands.
        known: Questions that are not written again.
        model: Translates what the rules do not understand.

    Raises:
        ConfigError: Some instruction cannot be translated; the message names all of them.
    """
    questions = dict(known)
    unknown: list[str] = []
    for instruction in dict.fromkeys(instructions):
        if instruction in questions:
            continue
        try:
            task = task_from_instruction(instruction)
        except ConfigError:
            unknown.append(instruction)
            continue
        questions[instruction] = Question(
            question=task.question, feasible_answer=task.feasible_answer, objects=task.objects, by=RULES
        )
    if unknown and model is not None:
        replies = model.reply([_PROMPT.format(instruction=text) for text in unknown])
        written = {text: read_reply(reply, model.id) for text, reply in zip(unknown, replies, strict=True)}
        questions |= {text: question for text, question in written.items() if question is not None}
        unknown = [text for text in unknown if text not in questions]
    if unknown:
        raise ConfigError(
            f"no question for: {'; '.join(unknown)}. "
            + ("Name a language model with --llm, or" if model is None else f"{model.id} gave none that can be used:")
            + " write `question` and `feasible_answer` into the file yourself."
        )
    return questions


def read_reply(reply: str, model: str) -> Question | None:
    """Return the question in a language model's reply; None when there is none that can be used. No reply raises."""
    for start in (index for index, letter in enumerate(reply[: 20 * _LONGEST]) if letter == "{"):
        try:
            found, _ = json.JSONDecoder().raw_decode(reply[start:])
        except (ValueError, RecursionError):
            continue
        if question := _question(found, model):
            return question
    return None


def _question(found: Any, model: str) -> Question | None:
    if not isinstance(found, dict):
        return None
    text, answer, objects = found.get("question"), found.get("feasible_answer"), found.get("objects", [])
    feasible = answer if isinstance(answer, bool) else yes_or_no(answer) if isinstance(answer, str) else None
    if not isinstance(text, str) or not text.strip().endswith("?") or len(text) > _LONGEST or feasible is None:
        return None
    names = tuple(name for name in objects if isinstance(name, str)) if isinstance(objects, list) else ()
    return Question(question=" ".join(text.split()), feasible_answer=feasible, objects=names, by=model)
