"""The tutorial (docs/tutorial.md), run cell by cell from its notebook, at a size of seconds."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scripts.tutorial_notebook import NOTEBOOK, PAGE, ROOT, notebook
from soar.cli import main
from soar.episodes import EpisodeStore
from soar.episodes.schema import resolve
from soar.evaluation import read_evaluation
from soar.policies.learned import read_lineage
from soar.types import Label
from tests.collect.test_library import run_cell
from tests.improve.tiny import SCENE

TINY = """
extends: smoke
workers: 1
pretraining: {demonstration_worlds: 1}
improvement:
  trials: 1
  cotraining_worlds: 1
  success_only: false
  threshold: 0
  collection: {episodes: 2, robots: 1, rollout: {subgoals: 1, steps_per_subgoal: 4}}
  policy: {fit: {steps: 2, batch_size: 8, warmup_steps: 1}}
"""
SMALLER: Mapping[str, str] = {
    "--preset smoke": "--preset tiny.yaml",
    "--scene scene1": "--scene one.yaml",
    "--trials 5": "--trials 1 --workers 1",
    # Nobody succeeds in four steps: a person's verdicts, below, are what there is of success.
    "--threshold 0.85": "--no-success-only",
    "tutorial/judge": "tutorial/judge --labels person",
}


def run_line(line: str) -> None:
    """Run a command of a cell, smaller."""
    for said, smaller in SMALLER.items():
        line = line.replace(said, smaller)
    program, *words = shlex.split(line)
    assert program == "soar"
    assert main(words) == 0, line


def say_what_a_person_would(store: EpisodeStore) -> None:
    """Call one attempt a success and one a failure, and the first of them not what the judge called it."""
    first, second = store.episodes()
    judged = resolve(first.labels)
    said = judged is not None and judged.success is True
    for id, success in ((first.id, not said), (second.id, said)):
        store.add_label(id, Label(success=success, probability=None, source="person:test"))


def test_every_cell_of_the_tutorial_runs_and_shows_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src" / "soar").mkdir(parents=True)
    (tmp_path / "src" / "soar" / "weights").symlink_to(ROOT / "src" / "soar" / "weights")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (tmp_path / "one.yaml").write_text(SCENE, encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    names: dict[str, Any] = {}
    shown = 0
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if not source.startswith("!"):
            made = run_cell(source, names)
            if made is not None:
                assert isinstance(made, Image.Image)
                assert min(made.size) >= 64
                shown += 1
            continue
        for line in source.splitlines():
            run_line(line.removeprefix("!"))
        if source.startswith("!soar collect"):
            say_what_a_person_would(EpisodeStore("runs/tutorial/episodes"))
    assert Path.cwd() == tmp_path, "the first cell goes to the folder of the clone"
    assert shown == PAGE.read_text(encoding="utf-8").count("<!-- picture: ")
    before, after = (read_evaluation(Path(f"runs/tutorial/evaluations/both-{number}.json")) for number in (1, 2))
    assert read_lineage(Path("runs/tutorial/policies/001")).parent == before.policy != after.policy
    assert Path("runs/smoke/report.html").exists()


def test_the_notebook_says_what_the_page_says() -> None:
    assert NOTEBOOK.read_text(encoding="utf-8") == notebook(PAGE.read_text(encoding="utf-8")), "`make tables` writes it anew"
