"""`soar status`: what is known of a run, in a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from soar.cli import main
from soar.event_log import Journal
from soar.progress import ProgressFile
from tests.console.building import Client, console, make_run
from tests.console.test_findings import AFTER, BEFORE, improved

CONFIG = "command: soar improve\nworkcell: sim:scene1\n"
LEARNS = "success_only: true, threshold: 0.85"


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


def test_a_run_whose_rounds_are_finished_says_so_and_what_is_deployed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = improved(tmp_path, BEFORE, AFTER, promote=(True,))
    said = status(run, capsys)
    assert (
        "works here now: nobody; the command that began it goes on where it stopped" in said
    )  # its folder does not say how many
    for rounds in (1, 2):
        (run / "config.yaml").write_text(f"{CONFIG}preset: {{improvement: {{rounds: {rounds}, {LEARNS}}}}}\n")
        said = status(run, capsys)
        if rounds == 2:
            assert "the command that began it goes on where it stopped" in said
            Journal(run / "events.jsonl").append("round_finished", round=2)
            said = status(run, capsys)
        done = "its round is" if rounds == 1 else "all 2 rounds are"
        assert (
            f"works here now: nobody; finished: {done} done. Deployed: policy-001, the candidate of round 1. The same command "
            f"with --rounds {rounds + 1} would go on\n"
        ) in said
        assert "goes on where it stopped" not in said
    assert "of them sure enough to be learned from (p at least .85)" in said
    with console(run) as url:
        state = Client(url).get("/s/run/fleet").json()["state"]
    assert state["finished"].startswith("finished: all 2 rounds are done. Deployed: policy-001")
    (run / "events.jsonl").unlink()
    for number in (1, 2):
        Journal(run / "events.jsonl").append("round_finished", round=number)
    assert "Deployed: policy-000, the policy that the run began with." in status(run, capsys)


def test_a_collection_that_has_its_episodes_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, count=3)
    (run / "config.yaml").write_text("command: soar collect\nscene: scene1\n")
    report = ProgressFile(run, lambda *said, **more: None)
    report("episodes", 2, 3)
    assert "goes on where it stopped" in status(run, capsys)
    report("episodes", 3, 3)
    said = status(run, capsys)
    assert "nobody; finished: all 3 episodes are there. The same command with more --episodes would go on" in said


def status(run: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["status", str(run)]) == 0
    return capsys.readouterr().out
