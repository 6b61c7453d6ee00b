"""Completion, asked of a real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from soar.cli.commands import COMMANDS
from soar.cli.completion import script
from soar.configuration import names


@pytest.fixture(scope="module")
def completion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "soar"
    path.write_text(script())
    return path


def offered(completion: Path, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last word, in a folder."""
    ask = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _soar; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", ask, "bash", str(completion), *words], cwd=folder, check=True, capture_output=True, text=True
    )
    assert not done.stderr
    return done.stdout.split()


def test_bash_completes_commands_flags_names_and_files(completion: Path, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").touch()
    assert set(offered(completion, tmp_path, "soar", "")) == set(COMMANDS)
    assert offered(completion, tmp_path, "soar", "coll") == ["collect"]
    assert offered(completion, tmp_path, "soar", "collect", "--look") == ["--look-every"]
    assert set(offered(completion, tmp_path, "soar", "collect", "--scene", "")) == {*names("scenes"), "lab.yaml"}
    assert set(offered(completion, tmp_path, "soar", "improve", "--preset", "")) == {*names("presets"), "lab.yaml"}
    assert offered(completion, tmp_path, "soar", "collect", "--workcell", "") == ["lab.yaml"]
    assert set(offered(completion, tmp_path, "soar", "improve", "--evaluate", "")) == {"truth", "person", "vlm", "off"}


def test_bash_completes_subcommands_and_their_flags(completion: Path, tmp_path: Path) -> None:
    (tmp_path / "episodes").mkdir()
    assert "stats" in offered(completion, tmp_path, "soar", "data", "")
    assert offered(completion, tmp_path, "soar", "data", "contact-sheet", "--col") == ["--columns"]
    assert offered(completion, tmp_path, "soar", "data", "stats", "") == ["episodes"]
    assert offered(completion, tmp_path, "soar", "train", "lcbc", "--image-fit", "cr") == ["crop"]
    assert offered(completion, tmp_path, "soar", "data", "import", "ler") == ["lerobot"]
    assert offered(completion, tmp_path, "soar", "data", "import", "lerobot", "--skip") == ["--skip-bad"]
