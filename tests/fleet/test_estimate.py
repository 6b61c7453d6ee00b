"""What a fleet's run would take, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.cli import main

FLEET = """
robots:
  one: {workcell: "sim:scene1"}
  two: {workcell: "sim:scene6"}
  far: {workcell: lab.yaml, at: join}
episodes: 30
"""


def test_a_dry_run_says_what_a_fleet_takes_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.yaml").write_text(FLEET)
    command = ["fleet", "up", str(tmp_path / "lab.yaml"), "--run", str(tmp_path / "run"), "--dry-run"]
    assert main([*command, "--episodes", "90"]) == 0
    said = capsys.readouterr().out
    assert "robots: one in scene1, two in scene6" in said
    assert "robots that join: far" in said
    assert "attempts: 90, some 30 a robot" in said
    assert "robots in motion: 0.5 h, 0.2 h by the clock" in said  # 90 attempts of 100 steps of .2 s
    assert "questions to the VLM: 2160 (24 an attempt)" in said  # 2 and 4 what is feasible, 17 on the way, 1 at the end
    assert not (tmp_path / "run").exists()
    (tmp_path / "lab.yaml").write_text(FLEET.replace("scene6", "scene66"))
    assert main(command) == 2
    assert "scene66" in capsys.readouterr().err
