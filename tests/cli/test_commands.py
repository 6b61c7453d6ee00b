from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import soar
from soar.cli import commands, main
from soar.cli.completion import places
from soar.episodes import EpisodeStore
from soar.evaluation import read_evaluation
from soar.evaluation.runner import read_films
from soar.policies.learned import LearnedPolicy, read_lineage
from tests.episodes.builders import goal_images, judged, make_episode
from tests.improve.tiny import PRESET, SCENE, random_policy, write

COMMANDS = ("improve", "pretrain", "collect", "train", "evaluate", "data", "vlm", "tasks", "subgoal", "import-susie",
            "import-checkpoint", "export-policy", "reproduce", "benchmark", "serve", "config", "robot",
            "fleet", "console", "status", "policy", "completion")  # fmt: skip
HELPS = [words for name, command in commands.COMMANDS.items() for words, _ in places((name,), command.load())]
HELPS += [("subgoal", "preview"), ("config", "show"), ("serve", "policy"), ("completion", "bash")]


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_says_which_command_it_is_of_and_teaches_with_an_example(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([*command, "--help"])
    assert exit.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: soar {' '.join(command)} [-h]")
    assert "Example:" in text


def test_the_overview_is_short_and_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert {line.split()[0] for line in lines if line.startswith("  ")} == set(COMMANDS)
    assert all(isinstance(command.load().__doc__, str) for command in commands.COMMANDS.values())
    assert main([]) == 2
    assert "usage: soar COMMAND" in capsys.readouterr().err


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"soar {soar.__version__}\n"


def test_a_misspelt_command_gets_a_suggestion(fails: Callable[..., str]) -> None:
    assert "unknown command 'colect'; did you mean 'collect'?" in fails("colect", "--run", "x")
    assert "unknown flag '--rum'" in fails("--rum", "x")


WRONG = ("collect", "collect --run", "data", "data statz", "train --steps x", "config", "config shaw", "evaluate --nonsense 1")


@pytest.mark.parametrize("words", WRONG)
def test_wrong_flags_end_with_status_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(words.split())
    assert exit.value.code == 2
    assert capsys.readouterr().out == ""


def test_help_and_version_import_nothing_heavy() -> None:
    script = """
import sys
from soar.cli import main
main(["--help"]); main(["--version"])
print(sorted({"torch", "lance", "mujoco", "cv2", "pyarrow", "numpy", "tyro", "rich", "yaml"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_command_imports_nothing_heavy_before_it_runs() -> None:
    script = """
import sys
from soar.cli.commands import COMMANDS
for command in COMMANDS.values():
    command.load()
print(sorted({"torch", "lance", "mujoco", "cv2", "pyarrow", "numpy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """Demonstrations, and episodes of which one is judged a success."""
    paths = tmp_path / "demonstrations", tmp_path / "autonomous"
    for path in paths:
        store = EpisodeStore(path, mode="create")
        episodes = [make_episode(name, steps=30, size=64, labels=(judged(name == "a"),)) for name in ("a", "b")]
        store.append([replace(e, subgoals=goal_images(e)) for e in episodes] if path == paths[1] else episodes)
    return paths


def test_train_from_nothing_then_improve_on_successes(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    preset = write(tmp_path, "tiny.yaml", PRESET)
    base, better = tmp_path / "base", tmp_path / "better"
    common = ["train", "gcbc", "--preset", preset, "--pretraining", str(stores[0])]
    assert main([*common, "--out", str(base)]) == 0
    flags = ["--autonomous", str(stores[1]), "--initial", str(base), "--goal-window", "0", "12", "--sum-actions", "on"]
    flags += ["--imagined-goals", "0.5", "--gripper-weight", "3", "--clean-grasps", "on"]
    assert main([*common, *flags, "--steps", "4", "--seed", "3", "--out", str(better)]) == 0
    lineage = read_lineage(better)
    assert lineage.parent == LearnedPolicy.load(base).id
    assert lineage.data["autonomous"] == EpisodeStore(stores[1]).version
    run = json.loads((better / "training" / "run.json").read_text())
    assert run["autonomous"]["goal_window"] == [0, 12]
    assert run["autonomous"]["sum_actions"] is run["autonomous"]["clean_grasps"] is True
    assert (run["autonomous"]["imagined_goals"], run["autonomous"]["gripper_weight"]) == (0.5, 3)
    assert (run["fit"]["steps"], run["fit"]["seed"]) == (4, 3)
    # One episode of 30 steps against two, ten times up-sampled: the cap decides.
    assert run["sources"] == {"pretraining": 0.5, "autonomous": 0.5}


@pytest.mark.parametrize(("kind", "preset"), [("gcbc", "paper"), ("lcbc", "upstream"), ("gcbc", "laptop"), ("glcbc", "flow")])
def test_every_preset_trains_with_few_steps(
    tmp_path: Path, stores: tuple[Path, Path], kind: str, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = tmp_path / "policy"
    flags = ["--preset", preset, "--pretraining", str(stores[0]), "--out", str(out), "--image-size", "64"]
    flags += [
        "--steps",
        "2",
        "--batch-size",
        "4",
        "--accumulate",
        "2",
        *(["--encoder", "hashed-words"] if kind != "gcbc" else []),
    ]
    flags += ["--wandb", "tries"] if preset == "flow" else []
    assert main(["train", kind, *flags]) == 0
    policy = LearnedPolicy.load(out / "training" / "checkpoints" / "2")
    assert policy.id == LearnedPolicy.load(out).id
    assert policy.id.startswith(kind)
    assert bool(list(out.glob("training/wandb/offline-run-*"))) == (preset == "flow")
    shutil.rmtree(out)  # The large ones take half a gigabyte.


def test_a_policy_is_trained_again_from_what_it_was_trained_on(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    preset = write(tmp_path, "tiny.yaml", PRESET)
    assert main(["data", "tag", str(stores[0]), "--name", "paper"]) == 0
    train = ["train", "gcbc", "--preset", preset, "--steps", "2", "--pretraining"]
    assert main([*train, str(stores[0]), "--out", str(tmp_path / "then")]) == 0
    version = read_lineage(tmp_path / "then").data["pretraining"]
    store = EpisodeStore(stores[0])
    store.append(make_episode("later", steps=30, size=64, seed=7))
    store.delete("a")
    store.compact()
    for name, pinned in (("now", "paper"), ("by-numbers", f"{version['steps']}.{version['episodes']}")):
        assert main([*train, f"{stores[0]}@{pinned}", "--out", str(tmp_path / name)]) == 0
        assert read_lineage(tmp_path / name).data["pretraining"] == version
        assert LearnedPolicy.load(tmp_path / name).id == LearnedPolicy.load(tmp_path / "then").id, "the weights are the same"
    assert main([*train, str(stores[0]), "--out", str(tmp_path / "newest")]) == 0
    assert LearnedPolicy.load(tmp_path / "newest").id != LearnedPolicy.load(tmp_path / "then").id


def test_a_language_conditioned_policy_is_trained_and_evaluated_without_subgoals(
    tmp_path: Path, stores: tuple[Path, Path]
) -> None:
    small = "instruction: {encoder: hashed-words, features: 16, hidden: 8}"
    preset = write(tmp_path, "tiny.yaml", PRESET.replace("image_size: 64}", f"image_size: 64, {small}}}"))
    flags = ["--preset", preset, "--pretraining", str(stores[0]), "--out", str(tmp_path / "lcbc"), "--validation", "0.5"]
    assert main(["train", "lcbc", *flags]) == 0
    policy = LearnedPolicy.load(tmp_path / "lcbc")
    assert policy.conditioning == "language"
    assert "validation/pretraining/loss" in read_lineage(tmp_path / "lcbc").metrics
    out = tmp_path / "evaluation.json"
    scene = write(tmp_path, "one.yaml", SCENE)
    flags = ["--scene", scene, "--policy", str(tmp_path / "lcbc"), "--trials", "1", "--workers", "1", "--out", str(out)]
    assert main(["evaluate", *flags, "--subgoals", "no such folder"]) == 0
    evaluation = read_evaluation(out)
    assert (evaluation.policy, evaluation.subgoal_model) == (policy.id, "")
    assert [trial.steps for trial in evaluation.trials] == [100]
    assert read_films(out)[0].subgoals == ()


def test_a_policy_that_takes_both_is_evaluated_with_subgoals_and_with_the_instruction_alone(
    tmp_path: Path, stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    small = "instruction: {encoder: hashed-words, features: 16, hidden: 8}"
    preset = write(tmp_path, "tiny.yaml", PRESET.replace("image_size: 64}", f"image_size: 64, {small}}}"))
    flags = ["--preset", preset, "--pretraining", str(stores[0]), "--condition-dropout", "0.2"]
    assert main(["train", "glcbc", *flags, "--out", str(tmp_path / "both")]) == 0
    assert json.loads((tmp_path / "both" / "training" / "run.json").read_text())["condition_dropout"] == 0.2
    scene, trials = write(tmp_path, "one.yaml", SCENE), ["--trials", "1", "--workers", "1"]
    for subgoals, model, count in (("oracle", "oracle", 5), ("none", "", 0)):
        out = tmp_path / f"{subgoals}.json"
        policy = ["--policy", str(tmp_path / "both"), "--subgoals", subgoals]
        assert main(["evaluate", "--scene", scene, *policy, *trials, "--out", str(out)]) == 0
        assert read_evaluation(out).subgoal_model.startswith(model)
        assert len(read_films(out)[0].subgoals) == count
    capsys.readouterr()
    assert main(["train", "gcbc", *flags, "--out", str(tmp_path / "goal")]) == 2
    assert "use it with `soar train glcbc`" in capsys.readouterr().err
    goals = ["--policy", str(random_policy(tmp_path / "goal")), "--subgoals", "none"]
    assert main(["evaluate", "--scene", scene, *goals, *trials, "--out", str(tmp_path / "goal.json")]) == 2
    assert "follows goal images, which somebody has to imagine" in capsys.readouterr().err


def test_an_exported_policy_is_evaluated_as_the_policy_is(tmp_path: Path) -> None:
    policy, file = random_policy(tmp_path / "policy"), tmp_path / "policy.onnx"
    assert main(["export-policy", str(policy), "--out", str(file)]) == 0
    scene = write(tmp_path, "one.yaml", SCENE)
    found = []
    for name in (policy, file):
        out = tmp_path / f"{name.stem}-{name.suffix}.json"
        flags = ["--scene", scene, "--policy", str(name), "--subgoals", "oracle", "--trials", "1", "--workers", "1"]
        assert main(["evaluate", *flags, "--out", str(out)]) == 0
        found.append((read_evaluation(out), read_films(out)[0].actions_TD))
    assert found[1][0].policy == f"{found[0][0].policy}+onnx"
    np.testing.assert_allclose(found[0][1][:20], found[1][1][:20], atol=1e-4)


def test_a_store_without_instructions_teaches_no_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    EpisodeStore(tmp_path / "store", mode="create").append([make_episode("a", size=64, instruction="")])
    preset = write(tmp_path, "tiny.yaml", PRESET)
    flags = ["--preset", preset, "--pretraining", str(tmp_path / "store"), "--out", str(tmp_path / "p")]
    assert main(["train", "lcbc", *flags]) == 2
    assert "none of the 1 episodes" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
    assert main(["train", "gcbc", *flags, "--encoder", "hashed-words"]) == 2
    assert "use it with `soar train lcbc`" in capsys.readouterr().err


def test_training_on_successes_without_any_says_so(
    tmp_path: Path, stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    preset = write(tmp_path, "tiny.yaml", PRESET)
    flags = ["--autonomous", str(stores[1]), "--label", "simulator", "--out", str(tmp_path / "p")]
    assert main(["train", "gcbc", "--preset", preset, "--pretraining", str(stores[0]), *flags]) == 2
    assert "has no episode where simulator_success" in capsys.readouterr().err


def test_stats_of_a_store(stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(stores[0]), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["total"]["successes"] == 1
    assert printed["by_scene"]["1"]["success_rate"] == pytest.approx([0.5, 0.0945, 0.9055], abs=1e-3)
    assert printed["vectors"]["action"]["count"] == 60
    assert len(printed["vectors"]["state"]["q99"]) == 7
    assert main(["data", "stats", str(stores[0]), "--where", "success"]) == 0
    shown = capsys.readouterr().out
    for words in ("total", "0% autonomous", "1/1 = 1.00", "dyaw", "q50"):
        assert words in shown
