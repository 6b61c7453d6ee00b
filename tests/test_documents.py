"""Every command that a document shows is one that SOAR understands, and Python imports what there is.

Which of them are run, and by what, is in `tests.documents`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from soar.cli.commands import COMMANDS
from soar.cli.run import parse
from tests.documents.blocks import DOCUMENTS, ROOT, blocks

ELLIPSIS = "…"
BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
SHOWN = [
    (block.document, found[3].removesuffix("&").strip())
    for block in BLOCKS
    if block.language == "bash"
    for command in block.commands(all=True)
    if (found := re.match(r"(\w+=\S* )*(\S*/)?(soar [a-z].*)", command))
]


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


def test_scripts_targets_of_make_and_extras_in_documents_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        named = {extra for found in re.findall(r"soar-robot\[([\w,]+)\]", text) for extra in found.split(",")}
        assert named <= set(extras), path
        assert set(re.findall(r"[`\n] *make ([a-z-]+)", text)) <= targets, path
        for script in re.findall(r"python ((?:benchmarks|scripts)/\w+\.py)", text):
            assert (ROOT / script).exists(), f"{path}: {script}"


def test_python_in_documents_imports_what_there_is() -> None:
    shown = [block for block in BLOCKS if block.language == "python"]
    assert len(shown) >= 5
    for block in shown:
        check_imports(block.text, block.place)


@pytest.mark.parametrize(
    "script", sorted(path for folder in ("benchmarks", "scripts") for path in (ROOT / folder).glob("*.py"))
)
def test_scripts_import_what_there_is(script: Path) -> None:
    check_imports(script.read_text(encoding="utf-8"), str(script))


def check_imports(text: str, place: str) -> None:
    """Check that what is imported from SOAR is there; nothing is run."""
    for node in ast.walk(ast.parse(text, place)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("soar"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    assert importlib.util.find_spec(f"{node.module}.{alias.name}"), f"{place}: {ast.unparse(node)}"
