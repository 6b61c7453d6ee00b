"""LeRobot's own ACT learns by its own command in its own environment, is served from there, practises and is tried out.

`make test-interop` runs this; the files are those of examples/lerobot_act, with fewer steps.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from soar.evaluation import read_evaluation
from soar.event_log import read_journal
from tests.examples.commands import EXAMPLES, ROOT, soar

pytestmark = [pytest.mark.interop, pytest.mark.timeout(3600)]
PAGE = (EXAMPLES / "lerobot_act" / "README.md").read_text(encoding="utf-8")
FEW = {r"--(steps|save_freq)=\d+": r"--\1=100", "--batch_size=32": "--batch_size=4"}
MUCH = "  trials: 50\n  collection: {episodes: 60}\n"
QUICK = "  trials: 1\n  success_only: false\n  threshold: 0\n  collection: {episodes: 2, robots: 1, rollout: {subgoals: 1}}\n"


def fewer(text: str) -> str:
    """The same with a hundred steps of four."""
    for many, few in FEW.items():
        assert re.search(many, text)
        text = re.sub(many, few, text)
    return text


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example, LeRobot's environment in it, and a store of demonstrations."""
    made = subprocess.run([ROOT / "scripts" / "peer.sh", "lerobot-policies"], check=True, stdout=subprocess.PIPE, text=True)
    folder = tmp_path / "lab"
    shutil.copytree(EXAMPLES / "lerobot_act", folder)
    (folder / "lerobot").symlink_to(Path(made.stdout.strip()).parents[1])
    preset = folder / "act.yaml"
    text = fewer(preset.read_text(encoding="utf-8"))
    assert MUCH in text
    preset.write_text(text.replace(MUCH, QUICK), encoding="utf-8")
    # The operators of torchvision's wheel (tests/interop/operators), and SOAR as it is here.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "tests" / "interop" / "operators", ROOT / "src"))))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


def commands() -> Iterator[list[str]]:
    """The commands of the page, without the one that makes an environment."""
    for line in re.findall(r"^    (.+)$", PAGE, re.MULTILINE):
        if not line.startswith("python3 -m venv"):
            yield shlex.split(line)


def test_its_page_leads_from_demonstrations_to_a_candidate(lab: Path) -> None:
    serving: subprocess.Popen[str] | None = None
    try:
        for words in commands():
            if words[1] == "serve.py":
                serving = subprocess.Popen(words, cwd=lab, stdout=subprocess.PIPE, text=True)
                assert serving.stdout is not None
                assert any("at ws://127.0.0.1:8000" in line for line in serving.stdout)
            elif words[0] == "soar":
                soar(*words[1:], folder=lab)
            else:
                subprocess.run(shlex.split(fewer(shlex.join(words))), cwd=lab, check=True, capture_output=True)
    finally:
        if serving is not None:
            serving.kill()
            serving.wait()
    run = lab / "runs" / "practice"
    (decided,) = read_journal(run / "events.jsonl", "promotion")
    before, after = (read_evaluation(path) for path in sorted((run / "evaluations").glob("*.json")))
    assert before.policy.startswith("openpi-")
    assert after.policy != before.policy
    assert after.policy in decided["sentence"]
    assert (
        run / "policies" / "001" / "training" / "out" / "checkpoints" / "last" / "pretrained_model" / "config.json"
    ).exists()
