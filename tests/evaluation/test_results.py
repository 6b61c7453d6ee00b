from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.evaluation import read_results, success_rows, write_results
from soar.evaluation.results import revision

from .examples import TASKS, evaluation


def test_a_row_is_an_arm_scene_and_task() -> None:
    assert success_rows([evaluation([1, 0, 1])]) == [
        {"variant": "pretrained", "scene": "scene1", "task": TASKS[0], "successes": 2, "trials": 2},
        {"variant": "pretrained", "scene": "scene1", "task": TASKS[1], "successes": 0, "trials": 1},
    ]


def test_a_results_file_says_how_when_and_where_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "results" / "scene1.json"
    write_results(path, "soar evaluate", [{"metric": "steps/s", "ours": 1.0}])
    assert list(json.loads(path.read_text())) == ["name", "command", "revision", "date", "machine", "rows"]
    assert read_results(path)["name"] == "scene1"
    assert read_results(path)["rows"] == [{"metric": "steps/s", "ours": 1.0}]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"rows": [1], "command": "soar evaluate"}')
    with pytest.raises(SoarError, match="Run its command again: soar evaluate"):
        read_results(path)


def test_the_revision_is_that_of_the_folder_and_marks_uncommitted_changes(tmp_path: Path) -> None:
    assert revision(tmp_path) == "unknown"
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    (tmp_path / "a").write_text("1")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-q", "--no-verify", "-m", "m"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
    clean = revision(tmp_path)
    assert len(clean) == 12
    (tmp_path / "a").write_text("2")
    assert revision(tmp_path) == f"{clean}+"
