"""The loop whose episodes a fleet collects."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.event_log import read_journal
from soar.improve.config import ImproveConfig
from soar.improve.loop import improve
from soar.policies.learned import LearnedPolicy

from .test_without_truth import configured
from .tiny import write

MODELS = Models(policy="", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")


def by_fleet(folder: Path, *, rounds: int = 2, at: str = "here") -> ImproveConfig:
    config = configured(folder, evaluate="off", rounds=rounds)
    robots = "".join(
        f"  {side}-{os.getpid()}: {{workcell: {Path(config.workcell).name}, at: {at}}}\n" for side in ("left", "right")
    )
    fleet = Path(write(folder, "lab.yaml", f"robots:\n{robots}lease_s: 60\ncanary: 2\n"))
    models = dataclasses.replace(MODELS, policy=config.models.policy)
    return dataclasses.replace(config, models=models, fleet=fleet)


def test_robots_go_on_while_a_candidate_is_trained_and_have_it_once_one_of_them_tried_it(tmp_path: Path) -> None:
    config = by_fleet(tmp_path)
    phases: dict[str, int] = {}

    def on_progress(phase: str, done: int, total: int, note: str = "") -> None:
        phases[phase] = done

    result = improve(config, on_progress)
    records = EpisodeStore(config.run / "episodes").episodes()
    ids = [LearnedPolicy.load(config.run / "policies" / f"00{number}").id for number in range(2)]
    made = {round: [r.provenance.policy for r in records if r.provenance.round == round] for round in (1, 2)}
    assert set(made[1]) == {ids[0]}
    assert set(made[2]) <= set(ids)
    assert made[2].count(ids[1]) >= 2  # the canary's attempts
    (tried,) = read_journal(config.run / "events.jsonl", "deployed")
    (decided,) = read_journal(config.run / "events.jsonl", "promotion")
    assert (decided["round"], decided["candidate"], decided["promote"]) == (1, 1, tried["done"] == "promoted")
    assert decided["sentence"] == tried["sentence"]
    assert all(len([r for r in records if r.provenance.round == round]) >= 4 for round in (1, 2))
    assert {record.provenance.robot for record in records} == {f"left-{os.getpid()}", f"right-{os.getpid()}"}
    assert [one.policy for one in result.practised[:2]] == ids
    phases.clear()
    assert improve(config, on_progress).verdicts == result.verdicts  # what was finished is not done again
    assert phases == {}


def test_robots_that_join_from_elsewhere_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = by_fleet(tmp_path, at="join")
    with pytest.raises(ConfigError, match="joins from elsewhere"):
        improve(config)
    assert not config.run.exists()
