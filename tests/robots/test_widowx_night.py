"""The loop on scene 1 through a WidowX server that fails at random: nothing lost, nothing doubled, nothing outside the box."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.event_log import read_journal
from soar.improve.config import ImproveConfig
from soar.improve.loop import improve
from soar.improve.preset import load_preset
from soar.robots.widowx import recovery
from soar.sim.workcell import SimRobot, open_robot
from soar.testing.widowx_faults import FaultPlan
from soar.testing.widowx_server import WidowXServer
from tests.episodes.builders import make_episode
from tests.improve.tiny import PRESET, random_policy, write

EPISODES = 3
BOX = ([0.16, -0.16, 0.02], [0.38, 0.16, 0.19])
QUICK_KINDS = (
    "exception",
    "uninitialised",
    "motor_error",
    "few_motors",
    "failure",
    "not_finite",
    "hostile",
    "garbage",
    "no_reply",
)


def test_improving_through_a_failing_server_loses_nothing_doubles_nothing_and_stays_in_the_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "BETWEEN_JOINTS_S", 0.0)
    arm: list[SimRobot] = []
    outside: list[Any] = []

    def make() -> SimRobot:
        arm.append(open_robot("scene1", 64))
        return arm[0]

    def told(by_client: bool) -> None:
        position = arm[0].world.grip_position
        if by_client and not (np.all(position >= np.array(BOX[0]) - 0.005) and np.all(position <= np.array(BOX[1]) + 0.005)):
            outside.append(position)

    plan = FaultPlan(chance=0.05, seed=2, kinds=QUICK_KINDS)
    with WidowXServer(make, dialect="bridge-motors", faults=plan, late_s=0.1, told=told) as server:
        cell = write(
            tmp_path,
            "night.yaml",
            f"robot:\n  driver: widowx\n  options: {{host: 127.0.0.1, port: {server.port}, home: [0.27, 0, 0.14, 0, 0, 0, 1], "
            "period_s: 0, waits: {step: 1, hash: 1}}\n"
            f"scene: scene1\nworkspace: {{low: {BOX[0]}, high: {BOX[1]}}}\nimage_size: [64, 64]\n",
        )
        result = improve(configured(tmp_path, cell))
        attempts, happened = server.attempts, plan.happened
    episodes = [EpisodeStore(tmp_path / "run" / "episodes").read(record.id) for record in stored(tmp_path)]
    assert [episode.id[-5:] for episode in episodes] == [f"{number:05d}" for number in range(EPISODES)]
    for episode in episodes:
        # What is stored is what the arm was told, all of it, once, between two visits at home.
        same = [actions for actions in attempts if len(actions) >= len(episode.actions_TD) and matches(episode, actions)]
        assert len(same) == 1
        assert len(same[0]) == len(episode.actions_TD)
        assert np.isfinite(episode.states_TD).all()
    assert not outside
    faults = read_journal(tmp_path / "run" / "events.jsonl", "fault")
    assert len(happened) >= 3
    # No fault but those that were injected; some are noticed only when the next one is there.
    assert 0 < len(faults) <= len(happened)
    assert len(read_journal(tmp_path / "run" / "events.jsonl", "recovered")) == len(faults)
    assert result.report.exists()


def matches(episode: Any, actions: list[Any]) -> bool:
    return np.allclose(np.stack(actions[: len(episode.actions_TD)]), episode.actions_TD, atol=1e-6)


def stored(folder: Path) -> list[Any]:
    return sorted(EpisodeStore(folder / "run" / "episodes").episodes(), key=lambda record: record.id)


def configured(folder: Path, cell: str) -> ImproveConfig:
    preset = load_preset(write(folder, "tiny.yaml", PRESET))
    collection = preset.improvement.collection
    rollout = dataclasses.replace(collection.rollout, subgoals=2, steps_per_subgoal=6)
    collection = dataclasses.replace(collection, episodes=EPISODES, watch_objects=False, rollout=rollout)
    improvement = dataclasses.replace(preset.improvement, collection=collection, rounds=1)
    EpisodeStore(folder / "demonstrations", mode="open_or_create").append(
        [make_episode(f"d{i}", steps=30, size=64, seed=i) for i in range(3)]
    )
    random_policy(folder / "policy")
    return ImproveConfig(
        run=folder / "run",
        workcell=cell,
        models=Models(policy=str(folder / "policy"), subgoals="soar.testing:FakeSubgoals", vlm="tests.improve.judges:moody"),
        preset=dataclasses.replace(preset, improvement=improvement),
        pretraining=str(folder / "demonstrations"),
        evaluate="off",
    )
