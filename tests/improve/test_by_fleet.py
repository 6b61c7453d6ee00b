"""The loop whose episodes a fleet collects."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.event_log import read_journal
from soar.fleet.member import run_member
from soar.improve.config import ImproveConfig
from soar.improve.loop import improve
from soar.policies.learned import LearnedPolicy

from .test_without_truth import configured
from .tiny import write

MODELS = Models(policy="", subgoals="soar.testing:FakeSubgoals", vlm="soar.testing:FakeVLM")


LEFT, RIGHT = f"left-{os.getpid()}", f"right-{os.getpid()}"


def by_fleet(folder: Path, *, rounds: int = 2) -> ImproveConfig:
    """A run by a robot that stands here, and by one on another computer."""
    config = configured(folder, evaluate="off", rounds=rounds)
    robots = "".join(
        f"  {name}: {{workcell: {Path(config.workcell).name}, at: {at}}}\n" for name, at in ((LEFT, "here"), (RIGHT, "join"))
    )
    fleet = Path(write(folder, "lab.yaml", f"robots:\n{robots}lease_s: 60\ncanary: 2\n"))
    models = dataclasses.replace(MODELS, policy=config.models.policy)
    return dataclasses.replace(config, models=models, fleet=fleet)


def test_robots_go_on_while_a_candidate_is_trained_and_have_it_once_one_of_them_tried_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOAR_TOKEN", "a-token-of-both-computers")
    config = by_fleet(tmp_path)
    phases: dict[str, int] = {}
    joined: list[threading.Thread] = []

    def on_fleet(url: str) -> None:
        how = {"workcell": config.workcell, "spool": tmp_path / "there"}
        joined.append(threading.Thread(target=run_member, args=(url, RIGHT), kwargs=how, daemon=True))
        joined[0].start()

    def on_progress(phase: str, done: int, total: int, note: str = "") -> None:
        phases[phase] = done

    result = improve(config, on_progress, on_fleet)
    (there,) = joined  # one process for all rounds, which ends when the last one does
    there.join()
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
    made_by = {(record.provenance.robot, record.provenance.round) for record in records}
    assert {(RIGHT, 1), (RIGHT, 2)} <= made_by  # which one process did; the other may have come late
    assert {robot for robot, _ in made_by} <= {LEFT, RIGHT}
    assert not list((tmp_path / "there").glob("*/*.episode"))
    assert [one.policy for one in result.findings.practised[:2]] == ids
    phases.clear()
    assert improve(config, on_progress).findings.decisions == result.findings.decisions  # what was finished is not done again
    assert phases == {}


def test_a_fleet_that_lets_other_machines_in_needs_a_token_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOAR_TOKEN", raising=False)
    config = dataclasses.replace(by_fleet(tmp_path), host="0.0.0.0")
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 lets other machines in"):
        improve(config)
    assert not config.run.exists()
