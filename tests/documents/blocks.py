"""The blocks of code that documents show, each with what the document says about running it.

A comment before a block, which readers do not see, says why a test does not run it by itself:

    <!-- needs: hardware -->              one or more of `NEEDS`, with commas between
    <!-- needs: person (--name ada) -->   only the lines that hold what stands in brackets; there may be several such comments
    <!-- run by: tests/…/test_….py -->    that test runs it
    <!-- all needs: time -->              holds for all of the page's shell and Python; there is `all run by`, too
    <!-- run here -->                     but not for this block

YAML is loaded in any case, unless a comment of its own says why not. `text` is no code: what a command prints, a drawing. A
block whose language is not said is a shell's when it begins with a command, and YAML when it looks so.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docker" / "README.md",
    *sorted(ROOT.glob("examples/*/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
NEEDS = {
    "hardware": "a robot, a camera, several computers",
    "gpu": "an accelerator",
    "download": "models, data or packages from elsewhere",
    "service": "an account, a bucket, a model behind somebody's API",
    "software": "a program that is no part of SOAR: a container engine, a web server, another robot's library",
    "time": "minutes, or hours, of computing",
    "person": "somebody who looks, and types",
}
LANGUAGES = ("bash", "python", "yaml", "text", "bibtex", "nginx", "caddy")
_FENCE = re.compile(r"( *)```(\w*)$")
_MARK = re.compile(r"\s*<!-- (?P<kind>needs|run by|run here)(: (?P<what>[^()]*?))?( \((?P<only>.*)\))? -->$")
_FOR_ALL = re.compile(r"^<!-- all (needs|run by): (.*) -->$", re.MULTILINE)
_PROGRAM = r"soar|make|pip|pytest|python3?|torchrun|export|cd|hf|docker|vllm|ssh|ufw|lerobot-\w+"
_COMMAND = re.compile(rf"(\$ )?(\w+=\S* )*(\S*/)?({_PROGRAM}) ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of code of a document.

    Attributes:
        document: Path in the repository.
        line: Of its first line of code, counted from 1.
        language: One of `LANGUAGES`; empty when nothing says.
        text: What it holds, without indentation.
        needs: Why it is not run here.
        lines_need: Why lines are not that hold a text, by that text.
        run_by: The test that runs it.
    """

    document: str
    line: int
    language: str
    text: str
    needs: tuple[str, ...] = ()
    lines_need: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    run_by: str = ""

    @property
    def place(self) -> str:
        """Return where it is."""
        return f"{self.document}:{self.line}"

    @property
    def runs_here(self) -> bool:
        """Return whether it is a program's or a shell's, and nothing stands against running it."""
        return self.language in ("bash", "python") and not self.needs and not self.run_by

    def commands(self, *, all: bool = False) -> Iterator[str]:
        """Return the lines of a shell's block that are run here, or all: continued ones joined, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            words = re.sub(r"(^|\s+)#\s.*$", "", line.removeprefix("$ ")).strip()
            if words and (all or not any(text in words for text in self.lines_need)):
                yield words


def blocks(path: Path) -> Iterator[Block]:
    """Return the blocks of a document, in their order."""
    text = path.read_text(encoding="utf-8")
    lines, document, number = text.splitlines(), str(path.relative_to(ROOT)), 0
    for_all = {kind: what for kind, what in _FOR_ALL.findall(text)}
    while number < len(lines):
        begin, end = number, number
        if fence := _FENCE.match(lines[number]):
            begin = number + 1
            end = next(at for at in range(begin, len(lines)) if lines[at] == f"{fence[1]}```")
            language, number = fence[2], end + 1
        elif lines[number].startswith("    ") and number and not _said(lines[number - 1]):
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end]):
                end += 1
            language, number = "", end
        else:
            number += 1
            continue
        language = language or _guessed(lines[begin])
        shown = textwrap.dedent("\n".join(lines[begin:end])).strip("\n") + "\n"
        marks = _marks(lines, begin - (2 if fence else 1))
        if not marks and language in ("bash", "python"):
            marks = [(kind, what, "") for kind, what in for_all.items()]
        needs = [(tuple(what.split(", ")), only) for kind, what, only in marks if kind == "needs"]
        yield Block(
            document=document,
            line=begin + 1,
            language=language,
            text=shown,
            needs=next((kinds for kinds, only in needs if not only), ()),
            lines_need={only: kinds for kinds, only in needs if only},
            run_by=next((what for kind, what, _ in marks if kind == "run by"), ""),
        )


def _said(line: str) -> bool:
    """Return whether a line is of a paragraph, which an indented line goes on with."""
    return bool(line.strip()) and not _MARK.match(line)


def _guessed(first: str) -> str:
    """Return the language of a block by its first line."""
    return "bash" if _COMMAND.match(first.strip()) else "yaml" if re.match(r"\s*(# \S+\.yaml|[a-z_]+:( |$))", first) else ""


def _marks(lines: list[str], above: int) -> list[tuple[str, str, str]]:
    """Return kind, what and which lines of the comments that end at a line; empty ones between them and the block may be."""
    found = []
    while above >= 0 and (not lines[above].strip() or _MARK.match(lines[above])):
        if mark := _MARK.match(lines[above]):
            found.append((mark["kind"], mark["what"] or "", mark["only"] or ""))
        above -= 1
    return found
