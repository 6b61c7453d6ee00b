"""Every command that a document shows is one that SOAR understands; those of the tutorial and the how-tos are run elsewhere."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from soar.cli.commands import COMMANDS
from soar.cli.run import parse

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "docker" / "README.md", *ROOT.glob("examples/*/README.md"), *ROOT.glob("docs/**/*.md")]
ELLIPSIS = "…"
BLOCK = re.compile(r"^([ ]*)```(python|yaml)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


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


def blocks(kind: str) -> list[tuple[str, str]]:
    """Fenced blocks of a language, by document."""
    return [
        (str(path.relative_to(ROOT)), textwrap.dedent(found[3]))
        for path in DOCUMENTS
        for found in BLOCK.finditer(path.read_text(encoding="utf-8"))
        if found[2] == kind
    ]


def test_python_in_documents_imports_what_there_is() -> None:
    shown = blocks("python")
    assert len(shown) >= 5
    for document, text in shown:
        for node in ast.walk(ast.parse(text, document)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("soar"):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names), f"{document}: {ast.unparse(node)}"


def test_yaml_in_documents_is_yaml() -> None:
    shown = blocks("yaml")
    assert len(shown) >= 5
    for document, text in shown:
        try:
            yaml.safe_load(text)
        except yaml.YAMLError as error:
            pytest.fail(f"{document}: {error}\n{text}")
