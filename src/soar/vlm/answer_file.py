"""How well the reader of answers reads: a file of answers with the right reading, which a user can extend.

One answer a line, in JSON; answers.jsonl beside this module is one. What the reader gets from a model:

    text       what it said; needed, as is `reading`
    thought    what a server sends beside it; empty by default
    finish     why it ended, such as "length"
    tokens     [[text, {alternative: log-probability, …}], …], thought included
    marks      [[begin, end], …] of thoughts, besides those that are known

and what is right:

    reading    "yes", "no" or "undecidable"
    p_yes      probability of yes; null: there must be none. Not looked at when it is absent
    fault      true: the model says that it was shown no picture
    kind       what it is an example of
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from soar.configuration import validate
from soar.errors import ConfigError
from soar.untrusted import parse_json
from soar.vlm.answer_parsing import Reading, read
from soar.vlm.token_probability import Token

SHIPPED = "shipped"
"""Names the file beside this module."""
_WORDS = {True: "yes", False: "no", None: "undecidable"}
_CLOSE = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One line of the file; see the module's docstring."""

    text: str
    reading: Literal["yes", "no", "undecidable"]
    thought: str = ""
    finish: str | None = None
    tokens: tuple[tuple[str, dict[str, float]], ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    p_yes: float | Literal["any"] | None = "any"
    fault: bool = False
    kind: str = "other"

    def read(self) -> Reading:
        """Return what the reader makes of it."""
        tokens = [Token(text=text, alternatives=tuple(others.items())) for text, others in self.tokens]
        return read(self.text, tokens, finish=self.finish, thought=self.thought, marks=self.marks)


@dataclass(slots=True, kw_only=True)
class Score:
    """Counts of one kind.

    Attributes:
        right: Read as they should be.
        undecided: A yes or no that was read as undecidable: caution.
        wrong: A yes read as no, a no as yes, or either where nothing is decided; a wrong probability; an unnoticed fault.
        mistakes: What was wrong, one line each.
    """

    right: int = 0
    undecided: int = 0
    wrong: int = 0
    mistakes: list[str] = field(default_factory=list)


def read_examples(name: str) -> Iterator[Example]:
    """Yield the answers in a file.

    Args:
        name: Path, or `shipped`.

    Raises:
        ConfigError: It cannot be read; the message names the line.
    """
    try:
        path = Path(name)
        text = (
            files("soar.vlm").joinpath("answers.jsonl").read_text(encoding="utf-8")
            if name == SHIPPED
            else path.read_text(encoding="utf-8-sig")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read ({error}). Name a file of answers, or `{SHIPPED}`.") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name}, line {number}"
        try:
            value = parse_json(line)
        except ValueError as error:
            raise ConfigError(f"{where}: this is not JSON ({error}). One answer a line.") from error
        if not isinstance(value, dict):
            raise ConfigError(f'{where}: an answer is an object, such as {{"text": "No.", "reading": "no"}}')
        yield validate(Example, value, where)


def score(examples: Iterator[Example]) -> tuple[dict[str, Score], list[dict[str, Any]]]:
    """Return counts by kind, and each answer with what was made of it."""
    scores: dict[str, Score] = {}
    rows = []
    for example in examples:
        reading = example.read()
        found, kind = _WORDS[reading.verdict], scores.setdefault(example.kind, Score())
        problem = _problem(example, reading)
        if problem:
            kind.wrong += 1
            kind.mistakes.append(f"{example.text[:80]!r}: {problem}")
        elif found != example.reading:
            kind.undecided += 1
        else:
            kind.right += 1
        rows.append(
            {"kind": example.kind, "text": example.text, "reading": example.reading, "read": found, "p_yes": reading.p_yes}
            | {"reason": reading.reason or reading.no_probability, "problem": problem}
        )
    return scores, rows


def _problem(example: Example, reading: Reading) -> str:
    found = _WORDS[reading.verdict]
    if found not in (example.reading, "undecidable"):
        return f"read as {found}, and it is {example.reading}"
    if example.fault is not reading.no_picture:
        return "taken for a fault of the set-up" if reading.no_picture else "a fault of the set-up that was not noticed"
    if example.p_yes != "any" and found == example.reading and not _same(example.p_yes, reading.p_yes):
        return f"its probability of yes is {example.p_yes}, not {reading.p_yes}"
    return ""


def _same(wanted: float | None, found: float | None) -> bool:
    return wanted is found if wanted is None or found is None else abs(wanted - found) <= _CLOSE
