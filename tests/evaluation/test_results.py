from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.evaluation import Trial, read_results, success_rows, write_results
from soar.evaluation.results import course_rows, revision

from .examples import TASKS, evaluation


def test_a_row_is_an_arm_scene_and_task() -> None:
    assert success_rows([evaluation([1, 0, 1])]) == [
        {"variant": "pretrained", "scene": "scene1", "task": TASKS[0], "successes": 2, "trials": 2},
        {"variant": "pretrained", "scene": "scene1", "task": TASKS[1], "successes": 0, "trials": 1},
    ]


def test_a_course_says_what_looks_cost_and_how_often_they_were_right() -> None:
    ends = [(True, True, 40), (True, True, 60), (False, True, 50), (True, False, 100), (False, False, 100)]
    trials = tuple(
        Trial(scene="scene1", task=TASKS[0], seed=seed, success=success, steps=steps, reflexes=seed, looks=5, ended_early=ended)
        for seed, (success, ended, steps) in enumerate(ends)
    )
    looked = replace(evaluation([], variant="looks"), looked_by="vqa-1", trials=trials)
    rows = {(row["scene"], row["variant"]): row for row in course_rows([evaluation([1, 0]), looked])}
    assert list(rows) == [("scene1", "pretrained"), ("scene1", "looks"), ("all", "pretrained"), ("all", "looks")]
    row = rows["all", "looks"]
    assert (row["trials"], row["steps"], row["reflexes"], row["looks"], row["ended early"]) == (5, 70, 2, 5, 3)
    assert [row[name].split(" ")[0] for name in ("success", "accuracy", "precision", "recall")] == ["3/5", "3/5", "2/3", "2/3"]
    assert rows["scene1", "pretrained"]["accuracy"] == ""
    assert looked.saved == "3 of 5 attempts of looks ended when success was seen: 150 steps, 0.01 robot-hours saved"
    assert not evaluation([1, 0]).saved


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
