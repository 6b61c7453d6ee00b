from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soar.base_models import default_weights
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.improve.preset import load_preset
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.pretraining.expert_corrections import IMAGINED
from soar.pretraining.pretrain import pretrain
from soar.sim.catalogue import objects, tables
from soar.subgoals.flow import FlowSubgoalModel
from soar.training.learner import ImitationLearner
from soar.vlm.vqa import VQAModel
from tests.conftest import Pretrained

IMAGE = np.zeros((64, 64, 3), np.uint8)


def test_all_base_models_come_from_nothing_and_load(pretrained: Pretrained) -> None:
    assert read_lineage(pretrained.weights / "policy").data["demonstrations"]["episodes"] > 1
    assert LearnedPolicy.load(pretrained.weights / "policy").id.startswith("gcbc-")
    goal = FlowSubgoalModel.load(pretrained.weights / "subgoal").generate([IMAGE], ["open the drawer"], [0])[0]
    assert goal.shape == IMAGE.shape
    answer = VQAModel.load(pretrained.weights / "vqa").answer([IMAGE], ["Is the drawer open?"])[0]
    assert answer.p_yes is not None


def test_shipped_models_have_no_training_state(pretrained: Pretrained) -> None:
    for model in ("policy", "language", "subgoal", "vqa"):
        assert {path.name for path in (pretrained.weights / model).iterdir()} == {
            "config.json",
            "model.safetensors",
            "lineage.json",
        }


def test_the_manifest_says_what_was_seen(pretrained: Pretrained) -> None:
    manifest = json.loads((pretrained.data / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(pretrained.manifest))
    seen = manifest["demonstrations"]
    assert seen["transitions"] > 0
    assert all(tables()[name].pretraining for name in seen["tables"])
    assert all(objects()[name].pretraining for name in seen["objects"] if name != "drawer")
    assert manifest["pictures"]["answers"] > 0
    assert manifest["policy"]["samples"] == 160


def test_the_subgoal_model_learns_from_where_it_leads_its_policy(pretrained: Pretrained) -> None:
    store = EpisodeStore(pretrained.data / "pictures" / "episodes")
    seed = load_preset(pretrained.preset).pretraining.correction_seed
    pairs = store.episodes(f"scene = 'world-{seed}-0'")
    assert pairs
    assert {(pair.provenance.policy, pair.length) for pair in pairs} == {(IMAGINED, 1)}
    assert pretrained.manifest["corrections"]["episodes"] == len(pairs)
    first, corrected = (
        json.loads((folder / "config.json").read_text())["weights"]
        for folder in (pretrained.data / "models" / "subgoal", pretrained.weights / "subgoal")
    )
    assert first != corrected
    lineage = json.loads((pretrained.weights / "subgoal" / "lineage.json").read_text())
    assert lineage["parent"] == first[:8]


def test_finished_stages_are_skipped(pretrained: Pretrained) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in pretrained.weights.rglob("*.safetensors")}
    phases: list[str] = []
    again = pretrain(
        load_preset(pretrained.preset).pretraining,
        pretrained.data,
        pretrained.weights,
        demonstrations=pretrained.demonstrations,
        pictures=pretrained.pictures,
        corrections=pretrained.corrections,
        on_progress=lambda phase, done, total, note="": phases.append(phase),
    )
    assert (phases, again) == ([], json.loads(json.dumps(pretrained.manifest)))
    assert stamps == {path: path.stat().st_mtime_ns for path in pretrained.weights.rglob("*.safetensors")}


def test_the_counterpart_that_takes_both_is_a_stage_of_its_own(
    tmp_path: Path, pretrained: Pretrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (pretrained.weights / "both").exists(), "it is made when it is asked for"
    shutil.copytree(pretrained.data / "demonstrations", tmp_path / "data" / "demonstrations")
    config = load_preset(pretrained.preset).pretraining
    made = pretrain(config, tmp_path / "data", tmp_path / "weights", stages=["both"])
    assert made["both"]["samples"] == pretrained.manifest["policy"]["samples"]
    policy = LearnedPolicy.load(tmp_path / "weights" / "both")
    assert (policy.conditioning, policy.instructions.config.encoder) == ("both", "hashed-words")
    assert ImitationLearner(load_preset(pretrained.preset).improvement.policy).check(tmp_path / "weights" / "both") == policy.id
    with pytest.raises(ConfigError, match=r"name its sentence encoder .*pretraining\.sentences"):
        pretrain(dataclasses.replace(config, sentences=""), tmp_path / "data", tmp_path / "weights", stages=["both"])
    monkeypatch.setattr("soar.base_models.WEIGHTS", tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"no base both model.*soar pretrain --stages demonstrations both --weights"):
        default_weights("both")


def test_two_processes_make_the_policy_together(tmp_path: Path, pretrained: Pretrained) -> None:
    shutil.copytree(pretrained.data / "demonstrations", tmp_path / "data" / "demonstrations")
    recorded = {"demonstrations": pretrained.manifest["demonstrations"]}
    (tmp_path / "data" / "manifest.json").write_text(json.dumps(recorded))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "soar.cli"]
    command += [
        "pretrain",
        "--preset",
        pretrained.preset,
        "--out",
        str(tmp_path / "data"),
        "--weights",
        str(tmp_path / "weights"),
    ]
    done = subprocess.run(
        [*command, "--stages", "demonstrations", "policy"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["demonstrations"] == recorded["demonstrations"]
    assert manifest["policy"]["samples"] == pretrained.manifest["policy"]["samples"]
    LearnedPolicy.load(tmp_path / "weights" / "policy")
    # One process keeps the journal.
    lines = (tmp_path / "data" / "models" / "policy" / "training" / "metrics.jsonl").read_text().splitlines()
    steps = [line["step"] for line in map(json.loads, lines) if "loss" in line]
    assert steps == sorted(set(steps))
    assert steps[-1] == load_preset(pretrained.preset).pretraining.policy.fit.steps


def test_a_stage_without_its_recordings_says_so(tmp_path: Path, pretrained: Pretrained) -> None:
    with pytest.raises(StoreError, match="no episode store"):
        pretrain(load_preset(pretrained.preset).pretraining, tmp_path / "data", tmp_path / "weights", stages=["policy"])
