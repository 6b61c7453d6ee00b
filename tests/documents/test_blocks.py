"""What documents show runs: shell and Python in a folder that has what they speak of, YAML through what reads it.

What is not run says why not, see `tests.documents.blocks`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from soar.cli import main
from tests.documents.blocks import DOCUMENTS, LANGUAGES, NEEDS, ROOT, Block, blocks
from tests.documents.lab import example, furnish
from tests.documents.yaml_files import load

BLOCKS = [block for path in DOCUMENTS for block in blocks(path)]
RUN = [block for block in BLOCKS if block.runs_here]
SERVERS = (("console",), ("serve", "policy"), ("serve", "subgoal"), ("serve", "vlm"), ("robot", "serve"))
GIVEN: dict[str, Any] = {"reached": 299_999, "train": lambda *batch: None}
"""What the Python of documents speaks of without making it."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.place)
def test_a_block_says_its_language_and_why_it_is_not_run(block: Block) -> None:
    assert block.language in LANGUAGES, f"{block.place}: say a language after ```: {', '.join(LANGUAGES)}"
    kinds = {kind for needs in (block.needs, *block.lines_need.values()) for kind in needs}
    assert kinds <= set(NEEDS), f"{block.place}: a block needs {', '.join(NEEDS)}"
    for text in block.lines_need:
        assert text in block.text, f"{block.place}: no line holds {text!r}"
    if block.run_by:
        document = Path(block.document)
        said = (ROOT / block.run_by).read_text(encoding="utf-8")
        assert document.name in said or document.parent.name in said, f"{block.place}: {block.run_by} does not name the page"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_code_is_indented_in_a_list_where_the_site_takes_it_for_prose(document: Path) -> None:
    fenced, nested = False, []
    for line in document.read_text(encoding="utf-8").splitlines():
        fenced ^= line.lstrip().startswith("```")
        if not fenced and re.match(r" {5,7}(soar|make|pip|export|docker) ", line):
            nested.append(line.strip())
    assert not nested, "put it between ``` at the left margin, after the list"


def test_how_many_blocks_are_run_and_why_others_are_not_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    code = [block for block in BLOCKS if block.language in ("bash", "python")]
    needs = Counter(kind for block in code for kind in {*block.needs, *(k for ks in block.lines_need.values() for k in ks)})
    assert len(RUN) >= 12
    with capsys.disabled():
        sys.stdout.write(
            f"\ndocuments: {len(code)} blocks of shell and Python: {len(RUN)} run, {sum(bool(block.run_by) for block in code)} "
            f"run by other tests; wholly or in part need {', '.join(f'{kind} {needs[kind]}' for kind in NEEDS)}; "
            f"{sum(block.language == 'yaml' for block in BLOCKS)} of YAML\n"
        )


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a document finds; each has a copy of it."""
    folder = tmp_path_factory.mktemp("furnished")
    furnish(folder)
    return folder


@pytest.mark.parametrize("document", sorted({block.document for block in RUN}))
def test_what_a_document_shows_runs(document: str, furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(furnished, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SOAR_TOKEN", "")
    monkeypatch.delenv("SOAR_TOKEN")
    for block in RUN:
        if block.document != document:
            continue
        if block.language == "python":
            text = block.text.replace("s3://my-bucket/bridge", "runs/scene1/episodes")
            exec(compile(text, block.place, "exec"), dict(GIVEN))
            continue
        for command in block.commands():
            run(command, monkeypatch)


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line of a document; training takes one small step, and a server is ended when it says where it listens."""
    program, *words = shlex.split(command.replace("ID ID", "ID a"))
    if program == "export":
        done = subprocess.run(["bash", "-c", f"{command}; env -0"], check=True, capture_output=True, text=True)
        set_there = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
        for name in re.findall(r"\b([A-Z_]+)=", command):
            monkeypatch.setenv(name, set_there[name])
    elif program == "pip":
        assert words[0] == "install"
        assert all(word.startswith("soar-robot[") for word in words[1:]), f"{command}: mark it with what it needs"
    else:
        assert program == "soar", f"{command}: mark it with what it needs"
        if any(tuple(words[: len(name)]) == name for name in SERVERS):
            serve(words)
            return
        if words[:2] in (["train", "gcbc"], ["train", "lcbc"]):
            words += ["--steps", "1", "--batch-size", "8"]
            # The robot of these episodes holds nothing, and hardly moves.
            words += ["--idle-filter", "off", "--clean-grasps", "off"] if "--autonomous" in words else []
        assert main(words) == 0, command


def serve(words: list[str]) -> None:
    """Start a server at any port, and end it when it listens."""
    if "--port" in words:
        del words[words.index("--port") : words.index("--port") + 2]
    command = [sys.executable, "-m", "soar.cli", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "http://127.0.0.1:" in line:
                break
        process.terminate()
    assert "http://127.0.0.1:" in "".join(said), "".join(said)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda block: block.place)
def test_yaml_is_what_its_reader_reads(block: Block, tmp_path: Path) -> None:
    example(tmp_path)
    load(block.text, tmp_path)
