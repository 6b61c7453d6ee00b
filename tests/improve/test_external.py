"""The loop with a policy and a learner of somebody else's: promoted, refused, failing, killed."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation import read_evaluation
from soar.event_log import read_journal
from soar.improve.config import ImproveConfig
from soar.improve.loop import improve
from soar.improve.preset import load_preset
from soar.policies.loading import load_policy
from soar.policies.named import id_in
from soar.training.cotraining import AutonomousData
from soar.training.learner import LearningData
from tests.episodes.builders import make_episode
from tests.robots.test_workcell import cell
from tests.training.test_external import PROGRAM, SERVED, learner

from .tiny import PRESET, write

MINE = """
extends: tiny.yaml
improvement:
  rounds: {rounds}
  collection: {{episodes: 2, watch_objects: false, rollout: {{subgoals: 1, steps_per_subgoal: 3}}}}
  learner:
    command: "{program} learn {{dataset}} {{out}} '{manner}'"
    checkpoint: last
    policy: {{backend: "tests.training.commands:open_checkpoint", path: "{{checkpoint}}"}}
"""
KILLED = """
import os, signal, sys
sys.path.insert(0, os.getcwd())
from tests.improve.test_external import configured
from soar.improve.loop import improve
from pathlib import Path
if __name__ == "__main__":
    folder, manner = sys.argv[1:]
    def say(phase, done, total, note=""):
        if phase == "train, round 1":
            print("trains", flush=True)
            signal.pause()

    improve(configured(Path(folder), manner), say)
"""


def configured(folder: Path, manner: str = "well", rounds: int = 1, **changes: Any) -> ImproveConfig:
    write(folder, "tiny.yaml", PRESET)
    preset = write(folder, "mine.yaml", MINE.format(program=PROGRAM, manner=manner, rounds=rounds))
    config = ImproveConfig(
        run=folder / "run",
        workcell=cell(folder, "Cell"),
        models=Models(policy="tests.policies.probed:Own", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM"),
        preset=load_preset(preset),
    )
    return dataclasses.replace(config, **changes)


def test_a_candidate_of_a_command_is_evaluated_promoted_and_practises_like_any_other(tmp_path: Path) -> None:
    config = configured(tmp_path, rounds=2)
    result = improve(config)
    run = config.run
    ids = [id_in(run / "policies" / f"00{number}") for number in range(3)]
    assert ids[0] == "own"
    assert ids[1].startswith("own@")
    assert result.before is not None
    assert result.after is not None
    assert (result.before.policy, result.after.policy) == (ids[0], ids[2])
    promoted = [event["promote"] for event in read_journal(run / "events.jsonl", "promotion")]
    assert promoted == [True, True]
    made = {record.provenance.round: record.provenance.policy for record in EpisodeStore(run / "episodes").episodes()}
    assert made == {1: ids[0], 2: ids[1]}
    assert (run / "policies" / "current").resolve().name == "002"
    # The second command got all that was collected until then.
    info = json.loads((run / "policies" / "002" / "training" / "dataset" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == 4
    assert not (run / "pretraining").exists()
    page = result.report.read_text()
    assert ids[1] in page
    stamps = {path: path.stat().st_mtime_ns for path in (run / "policies").rglob("*") if path.is_file()}
    assert improve(config) == result
    assert stamps == {path: path.stat().st_mtime_ns for path in (run / "policies").rglob("*") if path.is_file()}


def test_a_candidate_with_a_server_collects_for_another_run(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "shown", mode="create")
    store.append([make_episode("e", steps=4, size=32)])
    policies = tmp_path / "former" / "policies"
    policies.mkdir(parents=True)
    (policies.parent / "config.yaml").touch()
    data = LearningData(pretraining=tmp_path / "shown", autonomous=AutonomousData(store=tmp_path / "shown", success_only=False))
    former = learner(serve=f"{PROGRAM} serve {{checkpoint}} {{port}}", policy=SERVED).learn(None, data, policies / "1", seed=0)
    (tmp_path / "now").mkdir()
    load_policy.cache_clear()  # this process knows it from its training
    improve(configured(tmp_path / "now", collector=str(former)))
    made = {record.provenance.policy for record in EpisodeStore(tmp_path / "now" / "run" / "episodes").episodes()}
    assert made == {id_in(former)}


def test_a_command_that_fails_is_a_round_that_did_not_promote_and_its_reason_is_in_the_report(tmp_path: Path) -> None:
    config = configured(tmp_path, "fails", rounds=2)
    result = improve(config)
    run = config.run
    assert len(result.findings.decisions) == 2
    assert result.findings.decisions[0].sentence.startswith(
        "Kept own: round 1 has no candidate. The command ended with status 1. It said last: 2 episodes / out of memory"
    )
    assert (
        "round 2 has no candidate. The command ended with status 1. It said last: 4 episodes"
        in result.findings.decisions[1].sentence
    )
    assert "round 1 has no candidate" in result.report.read_text()
    assert result.after == result.before
    assert read_evaluation(run / "evaluations" / "000.json").policy == "own"
    improve(config)
    assert [(run / "policies" / f"00{n}" / "training" / "runs").read_text() for n in (1, 2)] == ["x", "x"]


def test_without_evaluations_a_candidate_of_a_command_is_on_trial_too(tmp_path: Path) -> None:
    config = configured(tmp_path, evaluate="off")
    result = improve(config)
    assert (
        f"Candidate 1 ({id_in(config.run / 'policies' / '001')}) is deployed on trial" in result.findings.decisions[0].sentence
    )
    assert [one.policy for one in result.findings.practised] == ["own", id_in(config.run / "policies" / "001")]


def test_a_loop_that_is_killed_goes_on_with_the_command_that_went_on_without_it(tmp_path: Path) -> None:
    manner = f"waits for {tmp_path / 'go'}"
    script = write(tmp_path, "killed.py", KILLED)
    with subprocess.Popen([sys.executable, script, str(tmp_path), manner], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "trains\n"
        process.send_signal(signal.SIGKILL)
    config = configured(tmp_path, manner)

    def say(phase: str, done: int, total: int, note: str = "") -> None:
        if phase == "train, round 1":
            (tmp_path / "go").touch()  # the command is waited for: now it may end

    improve(config, say)
    assert (config.run / "policies" / "001" / "training" / "runs").read_text() == "x"
    assert read_journal(config.run / "events.jsonl", "promotion")[0]["promote"] is True


def test_a_policy_that_nothing_can_train_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = configured(tmp_path)
    improvement = dataclasses.replace(config.preset.improvement, learner=None)
    alone = dataclasses.replace(
        config, preset=dataclasses.replace(config.preset, improvement=improvement), pretraining=str(tmp_path / "none")
    )
    with pytest.raises(ConfigError, match=r"is no folder of a network of SOAR's.*--learner language"):
        improve(alone)
    with pytest.raises(ConfigError, match="use one of them"):
        improve(dataclasses.replace(config, learner=str(tmp_path)))
    fleet = write(tmp_path, "lab.yaml", "robots:\n  left: {workcell: bench.yaml, at: here}\n")
    with pytest.raises(ConfigError, match="--fleet brings policies to robots as files"):
        improve(dataclasses.replace(config, fleet=Path(fleet)))
    assert not config.run.exists()
