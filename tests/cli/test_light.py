"""A robot's computer: an environment that has none of what trains and simulates, and commands that run there all the same."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from soar.base_models import default_weights
from soar.episodes import EpisodeStore
from soar.extras import EXTRAS
from soar.serving.server import ServerConfig, build
from tests.absent import without
from tests.fleet.tiny_policy import tiny_policy
from tests.policies.test_learned import save
from tests.serving.running import running

ROOT = Path(__file__).parent.parent.parent
TOKEN = "correct-horse-battery"
COMMAND = without(set(EXTRAS) - {"onnx", "onnxruntime"}) + "from soar.cli import main; sys.exit(main(sys.argv[1:]))"
CELL = """
robot: {driver: 'tests.robots.own:Arm'}
workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}
scene: {name: lab, tasks: [put the carrot on the plate]}
"""
SHORT = ["improvement.collection.rollout.subgoals=2", "improvement.collection.rollout.steps_per_subgoal=3"]
COLLECT = ["collect", "--workcell", "own.yaml", "--episodes", "1", "--policy", "policy.onnx", "--subgoals", "subgoals.yaml"]
COLLECT += ["--vlm", "vlm.yaml", "--set", *SHORT]


ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from soar.cli import main
said = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    said.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


def soar_each(folder: Path, absent: Iterable[str], commands: Sequence[Sequence[str]]) -> list[tuple[int, str, str]]:
    """Run commands in one process, since each start of one takes a second; return their status, output and errors."""
    environment = os.environ | {"SOAR_TOKEN": TOKEN, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    script = [sys.executable, "-c", without(absent) + ONE_AFTER_ANOTHER, json.dumps(commands)]
    done = subprocess.run(script, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]


def soar(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"SOAR_TOKEN": TOKEN, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *words], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a workcell, a policy in ONNX, and the files of models behind real servers."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "own.yaml").write_text(CELL)
    save(folder / "policy")
    tiny_policy(folder / "policy.onnx", "tiny+onnx")
    servers = {kind: ServerConfig(kind=kind, model=str(default_weights(name)), token=TOKEN) for kind, name in MODELS}  # type: ignore[arg-type]
    with running(build(servers["subgoal"])[0]) as subgoals, running(build(servers["vlm"])[0]) as vlm:
        (folder / "subgoals.yaml").write_text(f"backend: remote\nurl: {subgoals}\nwhen_away: stop\n")
        (folder / "vlm.yaml").write_text(
            f"backend: openai\nmodel: any\nbase_url: {vlm}/v1\napi_key_env: SOAR_TOKEN\nwhen_away: stop\n"
        )
        yield folder


MODELS = (("subgoal", "subgoal"), ("vlm", "vqa"))


def test_a_robot_collects_with_an_onnx_policy_and_models_behind_servers(lab: Path) -> None:
    done = soar(lab, *COLLECT, "--run", "runs/one")
    assert done.returncode == 0, done.stderr
    (record,) = EpisodeStore(lab / "runs" / "one" / "episodes").episodes()
    assert (record.scene, record.instruction, record.length) == ("lab", "put the carrot on the plate", 6)
    assert record.provenance.policy == "tiny+onnx"
    events = [json.loads(line) for line in (lab / "runs" / "one" / "events.jsonl").read_text().splitlines()]
    assert not [event for event in events if event["event"] in ("fallback", "fault")]
    counted = soar(lab, "data", "stats", "runs/one/episodes")
    assert counted.returncode == 0, counted.stderr
    assert "put the carrot on the plate" in counted.stdout


ONNX = ["--policy", "policy.onnx"]
SUBGOALS = ["--subgoals", "subgoals.yaml"]


REFUSED = (
    (["collect", "--workcell", "own.yaml", "--run", "runs/a", "--policy", "policy"], "train"),
    (["collect", "--workcell", "own.yaml", "--run", "runs/b", *ONNX], "train"),
    (["collect", "--workcell", "own.yaml", "--run", "runs/c", *ONNX, *SUBGOALS], "train"),
    (["collect", "--scene", "scene1", "--run", "runs/d", *ONNX, *SUBGOALS, "--vlm", "vlm.yaml"], "sim"),
    (["improve", "--scene", "scene1", "--run", "runs/e"], "train"),
    (["serve", "subgoal"], "serve"),
)


def test_what_is_not_installed_is_named_with_its_extra_before_anything_is_written(lab: Path) -> None:
    done = soar_each(lab, set(EXTRAS) - {"onnx", "onnxruntime"}, [words for words, _ in REFUSED])
    for (words, extra), (status, _, err) in zip(REFUSED, done, strict=True):
        assert status == 2, (words, err)
        assert f"soar-robot[{extra}]" in err, words
        assert "Traceback" not in err, words
    assert not list(lab.glob("runs/[a-e]/*"))


HELPS = ("", "collect", "robot", "data", "evaluate", "improve", "train", "serve", "tasks", "vlm")


def test_help_needs_nothing(tmp_path: Path) -> None:
    done = soar_each(tmp_path, EXTRAS, [[*command.split(), "--help"] for command in HELPS])
    for command, (status, out, err) in zip(HELPS, done, strict=True):
        assert status == 0, (command, err)
        assert out.startswith("usage: soar"), command


def test_a_robot_is_served_from_the_core_alone(tmp_path: Path) -> None:
    flags = ("--driver", "tests.robots.own:NotANumber", "--workspace", *["0.15", "-0.2", "0.02", "0.4", "0.2", "0.2"])
    done = soar(tmp_path, "robot", "serve", "--port", "0", *flags)
    assert done.returncode == 2
    assert re.search(r"its driver cannot be used: .*not finite", done.stderr)


def test_the_loop_on_a_robot_of_ones_own_needs_no_simulator() -> None:
    script = without({"mujoco", "gymnasium"}) + "import soar.improve.loop, soar.improve.run_report"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
