"""Every command that a document shows is one that SOAR understands; those of the tutorial and the how-tos are run elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from soar.cli.commands import COMMANDS
from soar.cli.run import parse

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "docker" / "README.md", *ROOT.glob("examples/*/README.md"), *ROOT.glob("docs/**/*.md")]
ELLIPSIS = "…"


def commands(text: str) -> Iterator[str]:
    """Lines of code blocks, fenced or indented, that begin with `soar`, continued lines joined."""
    fenced, kept = False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if not fenced and not line.startswith("    ") and not kept:
            continue
        words = kept + re.sub(r"\s+#\s.*$", "", line.strip())
        kept = ""
        if words.endswith("\\"):
            kept = words[:-1]
        elif re.match(r"(\w+=\S* )*soar [a-z]", words):
            yield re.sub(r"^(\w+=\S* )*", "", words).removesuffix("&").strip()


SHOWN = [(str(path.relative_to(ROOT)), command) for path in DOCUMENTS for command in commands(path.read_text(encoding="utf-8"))]


def test_there_are_commands_to_look_at() -> None:
    assert len(SHOWN) > 100


@pytest.mark.parametrize("document", sorted({document for document, _ in SHOWN}))
def test_commands_in_documents_are_understood(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    for where, command in SHOWN:
        if where != document or ELLIPSIS in command:
            continue
        name, *arguments = shlex.split(command)[1:]
        assert name in COMMANDS, command
        try:
            parse(name, arguments)
        except SystemExit as end:
            if end.code:
                pytest.fail(f"{command}\n{capsys.readouterr().err}")
