"""The real loop: real simulator, generated subgoals, learned judge, real processes, really killed."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation import read_evaluation
from soar.event_log import read_journal
from soar.improve.config import ImproveConfig
from soar.improve.loop import improve
from soar.improve.preset import load_preset
from soar.improve.run_report import round_rows
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.run_folder import RunFolder
from tests.conftest import Pretrained

from .tiny import SCENE, write

PARENT = """
import signal, sys
from pathlib import Path
from soar.collect.models import Models
from soar.improve.loop import ImproveConfig, improve
from soar.improve.preset import load_preset
if __name__ == "__main__":
    moment, run, workcell, weights, preset, demonstrations = sys.argv[1:]
    config = ImproveConfig(
        run=Path(run), workcell=workcell, preset=load_preset(preset), demonstrations=demonstrations,
        models=Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
    )
    def say(phase, done, total, note=""):
        print(f"{phase} {done}", flush=True)
        if f"{phase} {done}" == moment:
            signal.pause()

    improve(config, say)
"""
MOMENTS = ("collect, round 1 1", "train, round 1 7")


def configured(tmp_path: Path, pretrained: Pretrained, seed: int = 0) -> ImproveConfig:
    weights = pretrained.weights
    return ImproveConfig(
        run=tmp_path / "run",
        workcell=f"sim:{write(tmp_path, 'one.yaml', SCENE)}",
        preset=load_preset(pretrained.preset),
        demonstrations=pretrained.demonstrations,
        models=Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
        seed=seed,
    )


def killed_at(moment: str, config: ImproveConfig, pretrained: Pretrained) -> list[str]:
    """Run the loop in a process that gets SIGKILL when it says `moment`; return what it said."""
    script = write(config.run.parent, "parent.py", PARENT)
    command = [sys.executable, script, moment, str(config.run), config.workcell, str(pretrained.weights), pretrained.preset]
    with subprocess.Popen([*command, pretrained.demonstrations], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.rstrip())
            if said[-1] == moment:
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return said


def test_a_run_that_is_killed_again_and_again_repeats_nothing_that_was_finished(tmp_path: Path, pretrained: Pretrained) -> None:
    config = configured(tmp_path, pretrained)
    first, second = (killed_at(moment, config, pretrained) for moment in MOMENTS)
    third: list[str] = []
    result = improve(config, lambda phase, done, total, note="": third.append(f"{phase} {done}"))
    run = config.run

    # What earlier processes had done was found, not done again.
    assert first[0] == "evaluate policy 0 1"
    assert second[:2] == ["evaluate policy 0 1", "record demonstrations 1"]
    # The robot may have finished its second episode before it noticed that its parent was dead.
    assert second[2] in ("collect, round 1 1", "collect, round 1 2")
    assert third[:3] == ["evaluate policy 0 1", "record demonstrations 1", "collect, round 1 2"]
    assert third[3] == "train, round 1 6", "from the checkpoint of step 5"
    records = EpisodeStore(run / "episodes").episodes()
    assert sorted(record.id for record in records) == [f"run-001-sim-0-{i:05d}" for i in range(2)]
    assert len({record.provenance.seed for record in records}) == 2

    # Every start was tried once by both policies.
    before, after = (read_evaluation(run / "evaluations" / f"00{i}.json") for i in range(2))
    assert [trial.key for trial in before.trials] == [trial.key for trial in after.trials]
    assert (result.before, result.after, result.report, result.dataset) == (
        before,
        after,
        run / "report.html",
        run / "episodes",
    )

    # Lineage, both ways.
    base, candidate = (LearnedPolicy.load(run / "policies" / f"00{i}") for i in range(2))
    assert {record.provenance.policy for record in records} == {base.id}
    assert all(record.provenance.vlm.startswith("vqa-") for record in records)
    assert all(record.provenance.subgoal_model.startswith("flow-") for record in records)
    lineage = read_lineage(run / "policies" / "001")
    assert lineage.parent == base.id
    assert EpisodeStore(run / "episodes", version=lineage.data["autonomous"]).count() == 2

    # One verdict; nobody succeeds, so the candidate is not worse.
    (verdict,) = read_journal(run / "events.jsonl", "promotion")
    assert (verdict["promote"], after.policy) == (True, candidate.id)
    assert (run / "policies" / "current").resolve().name == "001"
    page = (run / "report.html").read_text()
    assert base.id in page
    assert candidate.id in page

    # The curve over rounds: what each policy had learned from.
    curve = round_rows(RunFolder(run))
    assert [(row["variant"], row["episodes"], row["promoted"]) for row in curve] == [("round 0", 0, True), ("round 1", 2, True)]

    # Candidate 1 is the one of round 1, wherever it is named.
    assert (verdict["round"], verdict["candidate"], after.variant) == (1, 1, "round 1")
    assert {record.provenance.round for record in records} == {1}
    assert "round 0" not in page

    # The same command once more changes nothing.
    stamps = {path: path.stat().st_mtime_ns for path in (run / "policies").rglob("*") if path.is_file()}
    assert improve(config) == result
    assert stamps == {path: path.stat().st_mtime_ns for path in (run / "policies").rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=r"another configuration: seed \(0 there, 1 now\).*--run"):
        improve(configured(tmp_path, pretrained, seed=1))


def test_another_policy_learns_from_what_the_deployed_one_collects_until_it_is_deployed(
    tmp_path: Path, pretrained: Pretrained
) -> None:
    learner = f"{pretrained.weights}/language"
    preset = load_preset(pretrained.preset)
    twice = dataclasses.replace(preset, improvement=dataclasses.replace(preset.improvement, rounds=2))
    demonstrations = str(pretrained.data / "demonstrations" / "episodes")
    config = dataclasses.replace(configured(tmp_path, pretrained), learner=learner, pretraining=demonstrations, preset=twice)
    result = improve(config)
    assert not (config.run / "pretraining").exists()
    assert read_lineage(config.run / "policies" / "001").data["pretraining"] == EpisodeStore(demonstrations).version

    policies = [LearnedPolicy.load(config.run / "policies" / f"00{i}") for i in range(3)]
    assert [policy.conditioning for policy in policies] == ["goal", "language", "language"]
    # Nobody succeeds, so that each candidate is deployed; then it collects, without subgoals, and learns itself.
    assert [verdict["promote"] for verdict in read_journal(config.run / "events.jsonl", "promotion")] == [True, True]
    parents = [read_lineage(config.run / "policies" / f"00{i}").parent for i in range(1, 3)]
    assert parents == [LearnedPolicy.load(learner).id, policies[1].id]
    records = EpisodeStore(config.run / "episodes").episodes()
    assert {(record.provenance.round, record.provenance.policy) for record in records} == {
        (1, policies[0].id),
        (2, policies[1].id),
    }
    assert all(bool(record.provenance.subgoal_model) == (record.provenance.round == 1) for record in records)
    assert (result.after.policy, result.after.subgoal_model) == (policies[2].id, "")
    assert policies[2].id in result.report.read_text()

    with pytest.raises(ConfigError, match=r"another configuration: learner \(lcbc-.* there, None now\)"):
        improve(dataclasses.replace(config, learner=None))


def test_another_policy_collects_for_the_deployed_one_in_all_rounds(tmp_path: Path, pretrained: Pretrained) -> None:
    base, language = f"{pretrained.weights}/policy", f"{pretrained.weights}/language"
    preset = load_preset(pretrained.preset)
    twice = dataclasses.replace(preset, improvement=dataclasses.replace(preset.improvement, rounds=2))
    config = configured(tmp_path, pretrained)
    config = dataclasses.replace(
        config,
        models=dataclasses.replace(config.models, policy=language),
        collector=base,
        pretraining=str(pretrained.data / "demonstrations" / "episodes"),
        preset=twice,
    )
    result = improve(config)
    policies = [LearnedPolicy.load(config.run / "policies" / f"00{i}") for i in range(3)]
    assert [policy.conditioning for policy in policies] == ["language"] * 3
    assert read_lineage(config.run / "policies" / "002").parent == policies[1].id
    records = EpisodeStore(config.run / "episodes").episodes()
    assert {record.provenance.policy for record in records} == {LearnedPolicy.load(base).id}
    assert {record.provenance.round for record in records} == {1, 2}
    assert (result.before.policy, result.after.policy) == (policies[0].id, policies[2].id)

    with pytest.raises(ConfigError, match=r"another configuration: collector \(gcbc-.* there, None now\)"):
        improve(dataclasses.replace(config, collector=None))


def test_a_collector_is_refused_where_candidates_are_tried_by_practice(tmp_path: Path, pretrained: Pretrained) -> None:
    config = dataclasses.replace(configured(tmp_path, pretrained), collector=f"{pretrained.weights}/policy")
    with pytest.raises(ConfigError, match=r"--collector collects.*--evaluate off tries candidates"):
        improve(dataclasses.replace(config, evaluate="off"))
    with pytest.raises(ConfigError, match=r"--collector collects.*--fleet tries candidates"):
        improve(dataclasses.replace(config, fleet=tmp_path / "fleet.yaml"))
    assert not config.run.exists()
