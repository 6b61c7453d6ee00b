"""The small language of instructions and questions, shared by the tasks and by the simulator that answers them.

An instruction is a command ("put the carrot on the blue plate"); a question asks for one fact about the workspace
("Is the carrot on the blue plate?"). The paper lets a language model translate one into the other (§B.1.1, Table 3); its
tasks (Table 5) need only these patterns, so here rules do it. Questions have one canonical wording:

    kind      question                                             asked for
    in        Is the {object} in the {target}?                     put into, remove from (bowls, pots, …)
    on        Is the {object} on the {target}?                     put on, remove from (plates, cloths, …)
    side      Is the {object} on the {left|right} side of the table?    move to a side
    drawer    Is the {object} open?                                open, close
    cloth     Is the {object} folded?                              fold, unfold
    present   Is there a {object} on the table?                    whether an object is missing (§G)

An instruction is feasible while it is not done, so the answer that means feasible is the opposite of the one that means
success (§B.1.2): "no" after put, move, open and fold; "yes" after remove, close and unfold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from soar.errors import ConfigError
from soar.types import Task

InstructionKind: TypeAlias = Literal["put", "remove", "left", "right", "open", "close", "fold", "unfold"]
QuestionKind: TypeAlias = Literal["in", "on", "side", "drawer", "cloth", "present"]
Relation: TypeAlias = Literal["in", "on"]

SUPPORTED = (
    "put X in Y",
    "put X on Y",
    "remove X from Y and put it on the table",
    "take X out of Y and put it on the table",
    "move X from Y to the table",
    "move X to the left side",
    "move X to the right side",
    "open X",
    "close X",
    "fold X",
    "unfold X",
)
"""The instructions that are understood, X and Y being noun phrases such as "the green block"."""
QUESTIONS = (
    "Is the X in the Y?",
    "Is the X on the Y?",
    "Is the X on the left side of the table?",
    "Is the X on the right side of the table?",
    "Is the X open?",
    "Is the X folded?",
    "Is there a X on the table?",
)
"""The questions that are understood."""

INSIDE = frozenset({"basket", "bin", "bowl", "box", "cup", "drawer", "mug", "pan", "pot", "sink"})
ON_TOP = frozenset({"board", "cloth", "lid", "mat", "napkin", "plate", "shelf", "table", "towel", "tray"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A command taken apart.

    Attributes:
        kind: What to do.
        object: The thing to handle, without its article.
        target: The thing that it is put in or on, or removed from; None for every other kind.
        relation: How the object and the target touch; None without a target.
    """

    kind: InstructionKind
    object: str
    target: str | None = None
    relation: Relation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question taken apart.

    Attributes:
        kind: The fact that is asked for.
        object: The thing that it is about, without its article.
        target: The container or support for `in` and `on`, `left` or `right` for `side`, None otherwise.
    """

    kind: QuestionKind
    object: str
    target: str | None = None

    def __str__(self) -> str:
        """Return the canonical wording."""
        match self.kind:
            case "in" | "on":
                return f"Is the {self.object} {self.kind} the {self.target}?"
            case "side":
                return f"Is the {self.object} on the {self.target} side of the table?"
            case "drawer":
                return f"Is the {self.object} open?"
            case "cloth":
                return f"Is the {self.object} folded?"
            case "present":
                return f"Is there a {self.object} on the table?"


RESERVED = ("a", "an", "and", "from", "in", "inside", "into", "is", "it", "of", "off", "on", "onto", "out", "the", "then", "to")
"""Words that structure a sentence; a noun phrase has none of them, so that a longer command is refused, not misread."""
_INNER = "[a-z0-9_'-]"
_WORD = rf"(?!(?:{'|'.join(RESERVED)})(?!{_INNER}))[a-z0-9]{_INNER}*"
_NOUN = rf"{_WORD}(?: {_WORD})*"
_OBJECT = rf"(?:(?:the|a|an) )?(?P<object>{_NOUN})"
_TARGET = rf"(?:(?:the|a|an) )?(?P<target>{_NOUN})"
_TO_TABLE = r"(?: and (?:put|place) it on the table)"

_INSTRUCTIONS: tuple[tuple[InstructionKind | Literal["side"], re.Pattern[str]], ...] = (
    ("side", re.compile(rf"(?:move|put|place) {_OBJECT} (?:to|on) the (?P<side>left|right)(?: side)?(?: of the table)?")),
    ("put", re.compile(rf"(?:put|place|move) {_OBJECT} (?P<preposition>into|inside|in|onto|on top of|on) {_TARGET}")),
    ("remove", re.compile(rf"(?:remove|take) {_OBJECT} (?P<preposition>from inside|from|out of|off) {_TARGET}{_TO_TABLE}?")),
    (
        "remove",
        re.compile(rf"(?:move|put|place) {_OBJECT} (?P<preposition>from inside|from) {_TARGET} (?:to|on|onto) the table"),
    ),
    ("open", re.compile(rf"open {_OBJECT}")),
    ("close", re.compile(rf"close {_OBJECT}")),
    ("fold", re.compile(rf"fold {_OBJECT}(?: from (?:left|right) to (?:left|right))?")),
    ("unfold", re.compile(rf"unfold {_OBJECT}(?: from (?:left|right) to (?:left|right))?")),
)
_QUESTIONS: tuple[tuple[QuestionKind, re.Pattern[str]], ...] = (
    ("side", re.compile(rf"is the (?P<object>{_NOUN}) on the (?P<target>left|right) side of the table")),
    ("in", re.compile(rf"is the (?P<object>{_NOUN}) in the (?P<target>{_NOUN})")),
    ("on", re.compile(rf"is the (?P<object>{_NOUN}) on the (?P<target>{_NOUN})")),
    ("present", re.compile(rf"is there an? (?P<object>{_NOUN}) on the table")),
    ("drawer", re.compile(rf"is the (?P<object>{_NOUN}) open")),
    ("cloth", re.compile(rf"is the (?P<object>{_NOUN}) folded")),
)


def parse_instruction(text: str) -> Instruction:
    """Take a command apart.

    Raises:
        ConfigError: No pattern fits; the message lists those that are supported.
    """
    sentence = _normalise(text, ".!")
    for kind, pattern in _INSTRUCTIONS:
        if found := pattern.fullmatch(sentence):
            parts = found.groupdict()
            if kind == "side":
                return Instruction(kind="left" if parts["side"] == "left" else "right", object=parts["object"])
            target = parts.get("target")
            relation = _relation(target, parts["preposition"]) if target else None
            return Instruction(kind=kind, object=parts["object"], target=target, relation=relation)
    raise ConfigError(
        f"the instruction {text!r} is not understood. Supported: {'; '.join(SUPPORTED)}. "
        "Reword it; a command with --questions takes its question from that file (`soar tasks questions` writes one)."
    )


def parse_question(text: str) -> Question:
    """Take a question apart; `str` of the result is its canonical wording.

    Raises:
        ConfigError: No pattern fits; the message lists those that are supported.
    """
    sentence = _normalise(text, "?")
    for kind, pattern in _QUESTIONS:
        if found := pattern.fullmatch(sentence):
            return Question(kind=kind, object=found["object"], target=found.groupdict().get("target"))
    raise ConfigError(
        f"the question {text!r} is not understood. Supported: {' '.join(QUESTIONS)} "
        "Reword it, or ask a vision-language model that understands free text."
    )


def task_from_instruction(text: str) -> Task:
    """Translate a command into the task that a vision-language model can be asked about (paper Table 3).

    Raises:
        ConfigError: The instruction is not understood; the message lists the supported patterns.
    """
    parsed = parse_instruction(text)
    question = _question(parsed)
    return Task(
        instruction=_normalise(text, "."),
        question=str(question),
        feasible_answer=parsed.kind in ("remove", "close", "unfold"),
        objects=(parsed.object,) if parsed.target in (None, "table") else (parsed.object, str(parsed.target)),
    )


def presence_question(object: str) -> str:
    """Return the question that asks whether an object is on the table."""
    return str(Question(kind="present", object=object))


def _question(instruction: Instruction) -> Question:
    match instruction.kind:
        case "put" | "remove":
            return Question(kind=instruction.relation or "on", object=instruction.object, target=instruction.target)
        case "left" | "right":
            return Question(kind="side", object=instruction.object, target=instruction.kind)
        case "open" | "close":
            return Question(kind="drawer", object=instruction.object)
        case "fold" | "unfold":
            return Question(kind="cloth", object=instruction.object)


def _relation(target: str, preposition: str) -> Relation:
    """Say whether things lie in or on the target: its noun decides ("out of the plate" is still on), else the preposition."""
    noun = target.rsplit(maxsplit=1)[-1]
    if noun in INSIDE:
        return "in"
    if noun in ON_TOP:
        return "on"
    return "in" if preposition in ("in", "into", "inside", "from inside", "out of") else "on"


def _normalise(text: str, end: str) -> str:
    return " ".join(text.lower().split()).rstrip(end + " ")
