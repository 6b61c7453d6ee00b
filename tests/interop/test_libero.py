"""LIBERO's scenes as a robot in an environment of their own, driven through the wire. `make test-interop` runs this."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.robots.workcell import open_workcell
from soar.testing import check_robot
from tests.examples.commands import EXAMPLES, ROOT, soar

pytestmark = [pytest.mark.interop, pytest.mark.timeout(3600)]
TASK = "pick up the alphabet soup and place it in the basket"
TOKEN = "correct-horse-battery"
SHORT = ("--improvement.collection.rollout.subgoals", 1, "--improvement.collection.rollout.steps_per_subgoal", 3)


FEW = [
    f"improvement.{name}"
    for name in (
        "success_only=false",
        "threshold=0",
        "collection.rollout.steps_per_subgoal=3",
        "policy.fit.steps=2",
        "policy.fit.batch_size=4",
        "policy.fit.warmup_steps=1",
        "policy.autonomous.drop_idle=false",
        "policy.autonomous.clean_grasps=false",
    )
]


@pytest.fixture(scope="module")
def there() -> str:
    """The Python of LIBERO's environment."""
    made = subprocess.run([ROOT / "scripts" / "peer.sh", "libero"], check=True, stdout=subprocess.PIPE, text=True)
    return made.stdout.strip()


@pytest.fixture(scope="module")
def workcell(there: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a workcell whose robot is LIBERO's, which is served in LIBERO's environment."""
    folder = tmp_path_factory.mktemp("libero")
    shutil.copytree(EXAMPLES / "libero", folder / "there")
    command = [there, "-m", "soar", "robot", "serve", "--robot", "robot.yaml", "--port", "0"]
    # Its renderer takes one thread for a small picture sooner than many.
    environment = os.environ | {"SOAR_TOKEN": TOKEN, "PYTHONPATH": str(ROOT / "src"), "LP_NUM_THREADS": "0"}
    with subprocess.Popen(command, cwd=folder / "there", env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = next(line.split()[-1] for line in process.stdout if " is served at " in line)
            text = (EXAMPLES / "libero" / "workcell.yaml").read_text(encoding="utf-8")
            assert "http://127.0.0.1:8124" in text
            (folder / "workcell.yaml").write_text(text.replace("http://127.0.0.1:8124", url), encoding="utf-8")
            yield folder / "workcell.yaml"
        finally:
            process.terminate()
            process.stdout.read()
    assert process.returncode == 143


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKEN)


def test_the_arm_keeps_the_contract_and_its_scenes_have_the_same_starts_for_the_same_seeds(workcell: Path) -> None:
    with open_workcell(str(workcell)) as opened:
        assert opened.reset_for is not None
        assert opened.truth is not None
        seen = []
        for seed in (3, 4, 3):
            opened.reset_for(TASK, seed)
            seen.append(opened.robot.observe())
        assert np.array_equal(seen[0].image_HWC, seen[2].image_HWC)
        assert not np.array_equal(seen[0].image_HWC, seen[1].image_HWC)
        assert np.abs(seen[0].state[3:5]).max() < 0.2, "the hand points down"
        check_robot(opened._driver)
        opened.robot.act(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        assert opened.truth(TASK) is False
        assert opened.truth("another task") is None


def test_a_policy_practises_there_and_the_scene_tells_the_truth(workcell: Path) -> None:
    models = ("--policy", "soar.testing:FakePolicy", "--subgoals", "soar.testing:FakeSubgoals", "--vlm", "soar.testing:FakeVLM")
    soar("collect", "--workcell", workcell, "--run", "play", "--episodes", 1, *models, *SHORT, folder=workcell.parent)
    (record,) = EpisodeStore(workcell.parent / "play" / "episodes").episodes()
    assert (record.scene, record.instruction, record.length, record.provenance.robot) == ("libero-object-0", TASK, 3, "libero")
    assert [(label.source, label.success) for label in record.labels] == [("fake-vlm", False), ("simulator", False)]


def test_the_pages_commands_end_with_rates_before_and_after_practice(there: str, tmp_path: Path) -> None:
    folder = tmp_path / "libero"
    shutil.copytree(EXAMPLES / "libero", folder)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "LP_NUM_THREADS": "0", "OMP_NUM_THREADS": "1"}
    few = ["--tasks", "0", "--episodes", "1"]
    subprocess.run([there, "demonstrate.py", "demonstrations", *few], cwd=folder, env=environment, check=True)
    (shown,) = EpisodeStore(folder / "demonstrations").episodes()
    assert shown.instruction == TASK
    little = ("--steps", 2, "--batch-size", 4)
    soar(
        "train",
        "lcbc",
        "--pretraining",
        "demonstrations",
        "--preset",
        "practise.yaml",
        "--out",
        "policy",
        *little,
        folder=folder,
    )
    ends = ["--policy", "policy", "--demonstrations", "demonstrations", *few, "--trials", "1", "--set", *FEW]
    subprocess.run([sys.executable, "five_tasks.py", "--there", there, *ends], cwd=folder, env=environment, check=True)
    rows = json.loads((folder / "results" / "libero.json").read_text(encoding="utf-8"))["rows"]
    assert [(row["variant"], row["task"], row["trials"]) for row in rows] == [
        ("demonstrations", TASK, 1),
        ("practised", TASK, 1),
    ]
