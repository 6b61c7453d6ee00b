"""The page about a policy of one's own: every command of it, word for word, against a real server and a real learner."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from soar.configuration import validate
from soar.episodes import EpisodeStore
from soar.evaluation import read_evaluation
from soar.event_log import read_journal
from soar.improve.preset import load_preset
from soar.policies.named import id_in
from soar.policies.openpi.maps import OpenPIConfig
from tests.examples.commands import EXAMPLES, ROOT, soar

PAGE = (ROOT / "docs" / "how-to" / "your-policy.md").read_text(encoding="utf-8")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, in which `python` is this one."""
    shutil.copytree(EXAMPLES / "own_robot", tmp_path / "lab", ignore=shutil.ignore_patterns("runs", "__pycache__"))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    return tmp_path / "lab"


def commands() -> Iterator[list[str]]:
    """The commands of the page that are to be run here, without comments."""
    for line in re.findall(r"^    ((?:soar|python) .+)$", PAGE, re.MULTILINE):
        yield shlex.split(line, comments=True)


def test_the_files_of_the_page_are_those_of_the_example() -> None:
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    files = [yaml.safe_load((EXAMPLES / "own_robot" / name).read_text()) for name in ("pi0.yaml", "external.yaml")]
    assert shown[0] == files[0]
    assert shown[1]["improvement"]["learner"].items() <= files[1]["improvement"]["learner"].items()


def test_every_key_of_a_policy_file_and_of_a_learner_is_on_the_page() -> None:
    from soar.training.external import ExternalLearnerConfig

    for config in (OpenPIConfig, ExternalLearnerConfig):
        for name in config.__dataclass_fields__:
            assert f"`{name}`" in PAGE, name
    said = yaml.safe_load((EXAMPLES / "own_robot" / "pi0.yaml").read_text())
    del said["backend"]
    assert validate(OpenPIConfig, said, "pi0.yaml").execute == 2
    learner = load_preset(str(EXAMPLES / "own_robot" / "external.yaml")).improvement.learner
    assert learner is not None
    assert learner.timeout_s == 3600


@pytest.mark.interop  # a minute
@pytest.mark.timeout(1800)
def test_its_commands_lead_from_play_to_an_improved_policy(lab: Path) -> None:
    serving: list[subprocess.Popen[str]] = []
    try:
        for words in commands():
            if words[:2] == ["python", "serve.py"]:
                process = subprocess.Popen(words, cwd=lab, stdout=subprocess.PIPE, text=True)
                serving.append(process)
                assert process.stdout is not None
                assert process.stdout.readline().startswith("2 tasks at ws://127.0.0.1:8000")
            elif words[0] == "python":
                subprocess.run(words, cwd=lab, check=True)
            else:
                soar(*words[1:], folder=lab)
    finally:
        for process in serving:
            process.kill()
            process.wait()
    runs = lab / "runs"
    assert EpisodeStore(runs / "night" / "episodes").count() == 4
    assert read_evaluation(runs / "pi0.json").policy.startswith("openpi-")
    (decided,) = read_journal(runs / "mine" / "events.jsonl", "promotion")
    candidate = id_in(runs / "mine" / "policies" / "001")
    assert candidate in decided["sentence"]
    assert json.loads((runs / "mine" / "policies" / "001" / "lineage.json").read_text())["parent"].startswith("openpi-")
    assert candidate in (runs / "mine" / "report.html").read_text()
