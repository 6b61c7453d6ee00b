"""The example of a robot of one's own, by the commands of its README, with a network of a few weights."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.evaluation import read_evaluation
from soar.policies.base import Policy
from soar.policies.learned import read_lineage
from soar.robots.workcell import open_workcell
from soar.testing import check_robot, check_subgoal_model
from soar.vlm.base import VisionLanguageModel
from tests.documents.blocks import blocks
from tests.examples.commands import EXAMPLES, PRESET, ROOT, SOAR, soar
from tests.interrupts import heard

LOW, HIGH = np.array([0.16, -0.19, 0.01]), np.array([0.39, 0.19, 0.25])
MODELS = ("--vlm", "models:Eye", "--subgoals", "models:Imagination")
SIZE = (96, 128)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A copy of the example, whose arm's port is a file that can be read afterwards."""
    folder = tmp_path / "lab"
    shutil.copytree(EXAMPLES / "own_robot", folder)
    file = folder / "workcell.yaml"
    text = file.read_text(encoding="utf-8")
    assert "port: /dev/null" in text
    file.write_text(text.replace("/dev/null", str(folder / "port.txt")), encoding="utf-8")
    (folder / "tiny.yaml").write_text(PRESET, encoding="utf-8")
    return folder


def told(lab: Path) -> list[str]:
    """What the arm was told."""
    return (lab / "port.txt").read_text(encoding="utf-8").splitlines()


def poses(lines: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[float(number) for number in line.split()[1:]] for line in lines if line.startswith("move ")])


def test_the_driver_and_the_models_keep_their_contracts(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab)
    monkeypatch.syspath_prepend(str(lab))
    import arm
    import models

    check_robot(arm.Arm())
    check_subgoal_model(models.Imagination())
    assert isinstance(models.Play(), Policy)
    assert isinstance(models.Eye(), VisionLanguageModel)


def test_collect_train_evaluate_improve_drive_the_arm_of_the_workcell(lab: Path) -> None:
    cell, preset = ("--workcell", "workcell.yaml"), ("--preset", "tiny.yaml")
    soar("collect", *cell, "--run", "play", "--policy", "models:Play", "--vlm", "models:Eye", "--episodes", 2, folder=lab)
    store = EpisodeStore(lab / "play" / "episodes")
    records = store.episodes()
    assert {(record.provenance.robot, record.provenance.policy, record.scene) for record in records} == {
        ("own-arm", "play-1", "one-block")
    }
    episode = store.read(records[0].id)
    assert episode.images_THWC.shape[1:] == (*SIZE, 3)
    assert {label.source for record in records for label in record.labels} == {"eye-1"}, "nobody else knows"
    lines = told(lab)
    assert (lines[0], lines[-2:]) == ("torque on", ["rest", "torque off"])

    soar("train", "gcbc", "--pretraining", "play/episodes", "--out", "policy", *preset, folder=lab)
    soar("evaluate", *cell, "--policy", "policy", "--judge", "vlm", *MODELS, "--trials", 1, "--out", "before.json", folder=lab)
    before = read_evaluation(lab / "before.json")
    assert (before.judge, before.trials[0].key[0]) == ("eye-1", "one-block")
    assert len(before.trials) + len(before.done_before) == 2  # the block lies on one of the two sides to begin with

    improved = ("--policy", "policy", "--pretraining", "play/episodes", "--evaluate", "vlm", *MODELS, *preset)
    soar("improve", *cell, "--run", "mine", *improved, folder=lab)
    autonomous = EpisodeStore(lab / "mine" / "episodes").episodes()
    assert [record.provenance.robot for record in autonomous] == ["own-arm"] * 2
    assert read_lineage(lab / "mine" / "policies" / "001").parent == autonomous[0].provenance.policy
    assert (lab / "mine" / "report.html").exists()

    # Whatever the policies said, the arm was told nothing else than this, and was left safe by every command.
    moves = poses(told(lab))
    assert len(moves) > 200
    assert (moves[:, :3] >= LOW - 1e-5).all()
    assert (moves[:, :3] <= HIGH + 1e-5).all()
    assert told(lab).count("torque on") == told(lab).count("torque off")
    assert told(lab)[-1] == "torque off"


@pytest.mark.interop  # two minutes
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", ["docs/how-to/your-robot.md", "examples/own_robot/README.md"])
def test_the_commands_of_a_page_lead_from_the_contract_to_an_improved_policy_word_for_word(page: str, lab: Path) -> None:
    for block in blocks(ROOT / page):
        if block.run_by:
            for program, *words in map(shlex.split, block.commands()):
                if program == "pytest":
                    subprocess.run([sys.executable, "-m", "pytest", "-q", *words], cwd=lab, check=True)
                else:
                    assert program == "soar"
                    soar(*words, folder=lab)
    decided = (lab / "runs" / "mine" / "policies" / "current").resolve()
    assert decided.name in ("000", "001")
    assert "gcbc-" in (lab / "runs" / "mine" / "report.html").read_text(encoding="utf-8")


@pytest.mark.interop  # half a minute: the arm moves at its own pace
def test_the_check_of_the_page_is_ready_for_the_night_with_models_that_know_the_words(lab: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "your-robot.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"`soar (robot check --workcell [^`]*)`", page)
    said = soar(*shlex.split(command), "--yes", "--dry-run", 1, folder=lab)
    assert said.splitlines()[-1] == "ready for the night"
    own = [word for word in shlex.split(command) if not word.startswith("models:") and word not in MODELS]
    said = soar(*own, "--yes", "--dry-run", 0, folder=lab, status=2)
    assert "does not know half, picture of 'Is the red block in the left half of the picture?'" in said
    assert "not ready for the night: words of --vlm, words of --subgoals" in said


def test_the_limits_of_the_file_bound_every_step(lab: Path) -> None:
    with open_workcell(str(lab / "workcell.yaml")) as workcell:
        for action in ([0.5, 0.1, 0, 0, 0, 2, 1], [0, -9, 0, 1, 1, 0, 1], [0, 0, -1, 0, 0, 0, 0.0]):
            workcell.robot.act(np.array(action, np.float32))
    moves = poses(told(lab))
    steps = np.diff(np.vstack([[0.27, 0, 0.12, 0, 0, 0, 1], moves]), axis=0)
    assert np.linalg.norm(steps[:, :3], axis=1) == pytest.approx([0.03] * 3, abs=1e-4)
    assert np.linalg.norm(steps[:, 3:6], axis=1) == pytest.approx([0.2, 0.2, 0], abs=1e-4)


def test_ctrl_c_leaves_the_arm_safe(lab: Path) -> None:
    command = [*SOAR, "collect", "--workcell", "workcell.yaml", "--run", "play", "--policy", "models:Play"]
    command += ["--vlm", "models:Eye", "--episodes", "1000"]
    with subprocess.Popen(
        command,
        cwd=lab,
        text=True,
        start_new_session=True,
        preexec_fn=heard,  # noqa: PLW1509
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("episodes: 0/1000"):
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert told(lab)[-2:] == ["rest", "torque off"]
