"""A folder that has what documents speak of: data sets, a run, a policy, an example's files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from soar.base_models import default_weights
from soar.episodes import EpisodeStore
from soar.types import Episode, Label, Provenance
from tests.documents.blocks import ROOT
from tests.episodes.builders import goal_images, judged, make_episode
from tests.formats.datasets import rlds_record, write_raw, write_records

FIXTURES = ROOT / "tests" / "fixtures"
CELL = """
robot: {driver: 'arm:Arm'}
scene: {tasks: [put the carrot on the plate]}
workspace: {low: [0, 0, 0], high: [1, 1, 1]}
"""


def episode(id: str, success: bool) -> Episode:
    """A short episode of a run, with subgoals, that a model judged as it was."""
    truth = Label(success=success, probability=None, source="simulator")
    made = make_episode(id, steps=12, size=64, provenance=Provenance(policy="base", run="monday", robot="robot-0"))
    return replace(made, labels=(judged(success, probability=0.9), truth), subgoals=goal_images(made))


def example(folder: Path) -> None:
    """Copy the example of a robot of one's own, and add workcells that a fleet's file names."""
    kept = shutil.ignore_patterns("runs", "__pycache__")
    shutil.copytree(ROOT / "examples" / "own_robot", folder, dirs_exist_ok=True, ignore=kept)
    for name in ("bench-1", "bench-2", "bench-3"):
        (folder / f"{name}.yaml").write_text(CELL, encoding="utf-8")


def furnish(folder: Path) -> None:
    """Put all of it into a folder."""
    example(folder)
    (folder / "soar_dataset").symlink_to(FIXTURES / "rlds" / "soar_dataset")
    states_TD = np.linspace([0.2, 0, 0.1, 0, 0, 0, 1], [0.3, 0.1, 0.05, 0.1, 0, 0, 0], 12, dtype=np.float32)
    record = rlds_record(12, steps__observation__state=states_TD)
    write_records(folder / "bridge_dataset" / "1.0.0" / "bridge_dataset-train.tfrecord-00000-of-00001", record)
    (folder / "my_dataset").symlink_to(FIXTURES / "lerobot")
    write_raw(folder / "collected" / "robot_0" / "scene1" / "gcbc" / "2024-05-01" / "success" / "trajectory_0")
    for place in ("runs/scene1/episodes", "data/demonstrations/episodes", "STORE", "OTHER"):
        store = EpisodeStore(folder / place, mode="create")
        store.append([episode(id, success=id != "c") for id in ("a", "b", "c", "ID")])
    shutil.copytree(default_weights("policy"), folder / "runs" / "bench" / "policies" / "000")
    (folder / "downloads" / "gcbc-bridge").mkdir(parents=True)
    shutil.copyfile(FIXTURES / "released" / "resnet34.msgpack", folder / "downloads" / "gcbc-bridge" / "checkpoint")
    (folder / "mine.jsonl").write_text(json.dumps({"text": "Nope, still shut.", "reading": "no"}) + "\n", encoding="utf-8")
