"""What a run would take, counted by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from soar.cli import main


def test_a_dry_run_says_what_a_run_takes_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["improve", "--scene", "scene1", "--preset", "smoke", "--run", str(tmp_path / "run"), "--rounds", "2"]
    assert main([*arguments, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "attempts: 32 (2 x 16) by 8 robots" in said
    # 32 attempts of 100 steps of .2 s; three evaluations of two trials of each of four tasks.
    assert "robots in motion: 0.2 h of attempts, 0.1 h of 24 trials" in said
    # Two questions tell which of four tasks make sense, and up to four are vetted; looks at 0, 20, 25 … 100.
    assert (
        "questions to the VLM: 1176 (6 what is feasible, 17 on the way and 1 at the end of each attempt; 408 in trials)" in said
    )
    assert "training: 2 x 20 steps of 256" in said
    assert re.search(r"disk: \d+ MB of episodes \(\d\.\d kB a picture\)", said)
    assert not (tmp_path / "run").exists()


def test_a_dry_run_finds_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["improve", "--scene", "scene99", "--run", str(tmp_path / "run"), "--dry-run"]) == 2
    assert "scene99" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
