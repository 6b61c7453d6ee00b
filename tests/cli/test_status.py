"""`soar status`: what is known of a run, in a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from soar.cli import main
from tests.console.building import make_run


def test_a_run_is_told_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", count=12)
    assert main(["status", str(run)]) == 0
    said = capsys.readouterr().out
    assert "works here now: nobody" in said
    assert "judged successes [95 % interval]" in said
    assert "robots in motion" in said

    assert main(["status", str(run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["episodes"] == 12
    assert sum(trials for _, trials in facts["tasks"].values()) == 12
    assert sum(trials for _, trials in facts["policies"].values()) == 12

    # A store alone has no journal, and what is known of its episodes is the same.
    assert main(["status", str(run / "episodes"), "--json"]) == 0
    store = json.loads(capsys.readouterr().out)
    assert (store["tasks"], store["phase"]) == (facts["tasks"], None)


def test_a_run_without_episodes_and_what_is_no_run(
    tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.yaml").write_text("command: soar improve\nscene: scene1\n")
    assert main(["status", str(tmp_path / "new")]) == 0
    said = capsys.readouterr().out
    assert "scene: scene1" in said
    assert "no episodes yet" in said
    assert "there is no such run or store" in fails("status", tmp_path / "nowhere")
