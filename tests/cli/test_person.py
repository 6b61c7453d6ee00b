"""The command as a person uses it: in a terminal of its own, from the first question to the comparison."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from soar.evaluation import read_evaluation
from tests.person import words
from tests.robots.test_workcell import cell

ROOT = Path(__file__).parents[2]
POLICIES = ("tests.evaluation.contenders:ambrosia", "tests.evaluation.contenders:basilikum")


def command(folder: Path) -> list[str]:
    flags = ["--workcell", cell(folder), "--subgoals", "soar.testing:FakeSubgoals", "--out", str(folder / "e" / "mine.json")]
    return [sys.executable, "-m", "soar.cli", "evaluate", *flags, "--policy", *POLICIES, "--trials", "1", "--judge", "person"]


def test_a_person_at_a_terminal_compares_two_policies(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if not process:
        os.chdir(ROOT)
        os.execv(sys.executable, [*command(tmp_path), "--judge-name", "ada"])
    seen, asked = "", ""
    try:
        while new := os.read(terminal, 65536):
            seen, asked = seen + new.decode(errors="replace"), asked + new.decode(errors="replace")
            if asked.endswith("] "):
                os.write(terminal, b"y\n" if "Did it work?" in asked else b"g\n")
                asked = ""
    except OSError:  # how a terminal says that nobody is at its other end
        pass
    os.close(terminal)
    assert os.waitpid(process, 0)[1] == 0, words(seen)
    text = words(seen).replace("\r", "")
    questions, _, results = text.partition("Thank you.")
    assert "basilikum" not in questions
    assert "mine-2: basilikum-policy" in results
    assert "mine-2 against mine-1, from the same 1 start: 1/1" in " ".join(results.split())
    files = [read_evaluation(tmp_path / "e" / f"mine-{number}.json") for number in (1, 2)]
    assert [(file.policy, file.judge) for file in files] == [
        ("ambrosia-policy", "person:ada"),
        ("basilikum-policy", "person:ada"),
    ]


def test_without_a_terminal_the_command_says_so_and_makes_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [*command(tmp_path), "--judge-name", "ada"],
        cwd=ROOT,
        start_new_session=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 2
    assert "there is no terminal" in run.stderr
    assert not (tmp_path / "e").exists()


def test_what_cannot_be_stopped_early_or_named_is_refused(tmp_path: Path, fails) -> None:
    out = ("--out", tmp_path / "e.json")
    assert "--stop-early on: only a comparison" in fails("evaluate", *out, "--policy", "a", "--stop-early", "on")
    assert "--variant names one policy" in fails("evaluate", *out, "--policy", "a", "b", "--variant", "mine")
    assert "--results is a curve of evaluations" in fails("improve", "--evaluate", "off", "--results", tmp_path / "r.json")
