"""What a user can get wrong: one clear message each, exit status 2, nothing lost and nothing left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from soar.base_models import WEIGHTS, default_weights
from soar.episodes import EpisodeStore
from soar.run_claim import only_here
from tests.episodes.builders import judged, make_episode
from tests.improve.tiny import PRESET, SCENE, TASK, random_policy, write

Fails = Callable[..., str]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return random_policy(tmp_path / "policy")


def test_unknown_scene(fails: Fails, tmp_path: Path, policy: Path) -> None:
    message = fails("improve", "--scene", "scen1", "--run", tmp_path / "run", "--policy", policy, "--subgoals", "oracle",
                    "--vlm", "oracle")  # fmt: skip
    assert "unknown scene 'scen1'; did you mean 'scene1'?" in message
    assert "Valid choices: scene1, scene1-far, scene2" in message
    assert not (tmp_path / "run").exists()


def test_unknown_task(fails: Fails, tmp_path: Path, policy: Path) -> None:
    scene = write(tmp_path, "one.yaml", SCENE)
    message = fails("evaluate", "--scene", scene, "--policy", policy, "--subgoals", "oracle", "--out", tmp_path / "e.json",
                    "--task", "fold the cloth")  # fmt: skip
    assert "unknown task 'fold the cloth'" in message
    assert TASK in message


def test_unknown_preset(fails: Fails, tmp_path: Path) -> None:
    message = fails("collect", "--run", tmp_path / "run", "--preset", "labtop")
    assert "unknown preset 'labtop'; did you mean 'laptop'?" in message


@pytest.mark.parametrize("experiment", ["figure5", "appendix-d", "judges"])
def test_two_reproductions_in_one_folder(fails: Fails, tmp_path: Path, experiment: str) -> None:
    with only_here(tmp_path / "run"):
        message = fails("reproduce", experiment, "--run", tmp_path / "run", "--results", tmp_path / "out.json")
    assert f"{tmp_path / 'run'} is in use by process {os.getpid()}" in message


def test_a_preset_with_a_wrong_value_names_file_and_key(fails: Fails, tmp_path: Path) -> None:
    preset = write(tmp_path, "mine.yaml", PRESET.replace("trials: 1", "trials: none"))
    message = fails("improve", "--run", tmp_path / "run", "--preset", preset)
    assert "mine.yaml" in message
    assert "improvement.trials" in message
    assert not (tmp_path / "run").exists()


def test_a_scene_whose_task_names_a_missing_object(fails: Fails, tmp_path: Path, policy: Path) -> None:
    scene = write(tmp_path, "two.yaml", SCENE.replace("green block]", "red fruit]"))
    message = fails("evaluate", "--scene", scene, "--policy", policy, "--subgoals", "oracle", "--out", tmp_path / "e.json")
    assert "names 'green block', which is not among its objects: wooden bowl, red fruit" in message


@pytest.mark.parametrize("command", ["collect", "improve"])
def test_unknown_backends(fails: Fails, tmp_path: Path, policy: Path, command: str) -> None:
    arguments = [command, "--run", tmp_path / "run", "--policy", policy]
    assert "no VQA model in gpt" in fails(*arguments, "--subgoals", "oracle", "--vlm", "gpt")
    assert "no flow subgoal model in susie" in fails(*arguments, "--subgoals", "susie", "--vlm", "oracle")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["collect", "improve"])
def test_a_table_that_is_set_a_negative_number_of_times(fails: Fails, tmp_path: Path, command: str) -> None:
    message = fails(command, "--run", tmp_path / "run", "--set-table-every", "-1")
    assert "set_table_every must be at least 1, or 0 for never; got -1" in message
    assert not (tmp_path / "run").exists()


def test_a_policy_or_learner_that_cannot_be_trained_further(fails: Fails, tmp_path: Path, policy: Path) -> None:
    arguments = ["improve", "--run", tmp_path / "run", "--subgoals", "oracle", "--vlm", "oracle"]
    message = fails(*arguments, "--learner", tmp_path / "nowhere")
    assert "no such folder. Pass the folder of a policy that `soar train`" in message
    for which in ("--policy", "--learner"):
        assert f"cannot continue from {policy}: it has another network" in fails(*arguments, which, policy)
    assert not (tmp_path / "run").exists()


def test_a_missing_and_a_foreign_checkpoint(fails: Fails, tmp_path: Path, policy: Path) -> None:
    arguments = ["evaluate", "--subgoals", "oracle", "--out", tmp_path / "e.json", "--policy"]
    assert "no such folder. Pass the folder of a policy that `soar train`" in fails(*arguments, tmp_path / "nowhere")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    write(foreign, "config.json", '{"model_type": "bert"}')
    assert "does not describe a SOAR policy" in fails(*arguments, foreign)
    # Of several, the last one is looked at before the first is tried.
    assert "no such folder" in fails(*arguments, policy, tmp_path / "nowhere")
    (policy / "model.safetensors").write_bytes(b"half a file")
    assert "damaged" in fails(*arguments, policy)
    assert list(tmp_path.glob("e*")) == []


def test_a_missing_store(fails: Fails, tmp_path: Path) -> None:
    assert "no episode store at" in fails("data", "stats", tmp_path / "nowhere")
    assert "no episode store at" in fails("train", "gcbc", "--out", tmp_path / "p", "--pretraining", tmp_path / "nowhere")
    assert not (tmp_path / "p").exists()
    improving = ["improve", "--run", tmp_path / "run", "--subgoals", "oracle", "--vlm", "oracle"]
    assert "no episode store at" in fails(*improving, "--pretraining", tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_base_models_that_are_not_there_say_how_to_make_them(fails: Fails, tmp_path: Path) -> None:
    if (WEIGHTS / "policy" / "model.safetensors").exists():
        assert default_weights("policy") == WEIGHTS / "policy"
        return
    message = fails("evaluate", "--out", tmp_path / "e.json")
    assert "has no base policy model" in message
    assert "`soar pretrain --weights" in message


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    policy = shutil.copytree(default_weights("policy"), tmp_path / "policy")
    for path in policy.iterdir():
        path.chmod(0o644)
    for parent in (tmp_path, *tmp_path.parents):
        parent.chmod(0o755)
        if parent.name.startswith("pytest-of-"):
            break
    script = f"""
import os, sys, torch, lance, mujoco, cv2
from soar.cli import commands, main, progress, tables
from soar.improve import loop
from soar import base_models
if os.getuid() == 0:
    os.setuid(65534)
sys.exit(main(["improve", "--run", "{tmp_path}/locked/run", "--policy", "{policy}", "--subgoals", "oracle", "--vlm", "oracle"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot write {tmp_path}/locked/run: Permission denied")
    assert "Name a folder that you may write to with --run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, policy: Path) -> None:
    """A file size limit is a disk that is full for large files: the evaluation's small file fits, the films do not."""
    scene, out = write(tmp_path, "one.yaml", SCENE), tmp_path / "e.json"
    script = f"""
import resource, sys
from soar.cli import main
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    sys.exit(main(["evaluate", "--scene", "{scene}", "--policy", "{policy}", "--subgoals", "oracle", "--trials", "1",
                   "--workers", "1", "--out", "{out}"]))
"""
    command = [sys.executable, write(tmp_path, "script.py", script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Free some space" in done.stderr
    assert "Traceback" not in done.stderr
    # What was written before is whole: with space again, the same command goes on.
    from soar.cli import main

    assert main(["evaluate", "--scene", scene, "--policy", str(policy), "--subgoals", "oracle", "--trials", "1",
                 "--workers", "1", "--out", str(out)]) == 0  # fmt: skip


def test_no_rendering_library(tmp_path: Path, policy: Path) -> None:
    command = [sys.executable, "-m", "soar.cli", "evaluate", "--policy", str(policy), "--subgoals", "oracle"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "e.json")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MUJOCO_GL": "disable"},
    )
    assert done.returncode == 2, done.stderr
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["Opening", "error:"]
    assert "apt-get install -y libegl1" in done.stderr
    assert not (tmp_path / "e.json").exists()


def test_an_unknown_key_of_a_preset_names_the_valid_ones(fails: Fails, tmp_path: Path) -> None:
    preset = write(tmp_path, "odd.yaml", PRESET.replace("warmup_steps: 2", "warm_up: 2", 1))
    message = fails("train", "gcbc", "--preset", preset, "--out", tmp_path / "p")
    assert "unknown key 'warm_up'; did you mean 'warmup_steps'? Valid choices: accumulate, " in message
    assert "odd.yaml: pretraining: policy: fit." in message
    assert not (tmp_path / "p").exists()


def test_training_refuses_a_store_in_which_nothing_matches(fails: Fails, tmp_path: Path) -> None:
    store = tmp_path / "store"
    EpisodeStore(store, mode="create").append([make_episode("a", size=64)])
    train = ("train", "gcbc", "--preset", write(tmp_path, "tiny.yaml", PRESET), "--out", tmp_path / "p", "--pretraining", store)
    message = fails(*train, "--pretraining-where", "scene = 'nowhere'")
    assert "has no episode where scene = 'nowhere'; collect some, or widen the filter" in message
    assert "has no episode where success" in fails(*train, "--autonomous", store)
    assert not (tmp_path / "p").exists()


def test_training_refuses_a_store_with_images_of_several_sizes(fails: Fails, tmp_path: Path) -> None:
    episodes = [make_episode(str(size), size=size, labels=(judged(True),)) for size in (64, 96)]
    EpisodeStore(tmp_path / "mixed", mode="create").append(episodes)
    train = ("train", "gcbc", "--preset", write(tmp_path, "tiny.yaml", PRESET), "--out", tmp_path / "p", "--pretraining")
    message = fails(*train, tmp_path / "mixed")
    assert "64" in message
    assert "96" in message
    assert "sizes" in message
    assert not (tmp_path / "p").exists()
