"""A run knows what it is: the same episodes however many processes work, another scene refused, one robot lost and not all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soar.collect.config import CollectionConfig
from soar.collect.models import Models
from soar.collect.rollout import RolloutConfig
from soar.episodes import EpisodeStore
from soar.errors import ConfigError, RobotFault
from soar.event_log import read_journal
from soar.fleet.collection import collect
from soar.run_claim import RunClaim
from tests.improve.tiny import SCENE, random_policy, write

MODELS = Models(policy="", subgoals="oracle", vlm="oracle")
OWN = Models(policy="soar.testing:FakePolicy", subgoals="soar.testing:FakeSubgoals", vlm="tests.fleet.work:no")
SHORT = CollectionConfig(episodes=4, robots=2, rollout=RolloutConfig(subgoals=2, steps_per_subgoal=3))
BREAKING = """
robot: {{driver: "tests.fleet.work:BreaksOnce", simulated: true, options: {{marker: {marker}}}}}
workspace: {{low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}}
scene: {{tasks: [put the carrot on the plate]}}
"""


def collected(
    folder: Path, models: Models, workcell: str, *, config: CollectionConfig = SHORT, workers: int = 1, seed: int = 0
) -> int:
    return collect(
        models,
        workcell=workcell,
        store=folder / "episodes",
        journal=folder / "events.jsonl",
        run="run",
        round=1,
        seed=seed,
        config=config,
        workers=workers,
        image_size=64,
        claim=RunClaim(folder=folder, command="soar collect", changeable=("settings",)),
    )


def test_the_same_episodes_come_out_of_one_process_and_of_two(tmp_path: Path) -> None:
    models = dataclasses.replace(MODELS, policy=str(random_policy(tmp_path / "policy")))
    scene = f"sim:{write(tmp_path, 'one.yaml', SCENE)}"
    stores = []
    for workers in (1, 2):
        assert collected(tmp_path / str(workers), models, scene, workers=workers) == 4
        stores.append(EpisodeStore(tmp_path / str(workers) / "episodes"))
    one, two = (sorted(record.id for record in store.episodes()) for store in stores)
    assert one == two
    assert [id.rpartition("-")[0] for id in one] == ["run-001-sim-0"] * 2 + ["run-001-sim-1"] * 2
    for id in one:
        mine, theirs = (store.read_encoded(id) for store in stores)
        assert (mine.instruction, mine.provenance) == (theirs.instruction, theirs.provenance)
        assert [bytes(frame) for frame in mine.frames] == [bytes(frame) for frame in theirs.frames]
        np.testing.assert_array_equal(mine.actions_TD, theirs.actions_TD)
        np.testing.assert_array_equal(mine.states_TD, theirs.states_TD)


def test_a_run_of_another_scene_seed_or_kind_of_models_is_refused_and_the_differences_are_named(tmp_path: Path) -> None:
    models = dataclasses.replace(MODELS, policy=str(random_policy(tmp_path / "policy")))
    one, two = (f"sim:{write(tmp_path, f'{name}.yaml', SCENE)}" for name in ("one", "two"))
    few = dataclasses.replace(SHORT, episodes=1, robots=1)
    assert collected(tmp_path / "run", models, one, config=few) == 1
    for others, scene, seed, words in (
        (models, two, 0, r"scene\.name \(one there, two now\)"),
        (models, one, 1, r"seed \(0 there, 1 now\)"),
        (dataclasses.replace(models, vlm="human"), one, 0, r"models\.vlm \(oracle there, human now\)"),
    ):
        with pytest.raises(ConfigError, match=f"holds a run with another configuration: {words}.*Only settings may change"):
            collected(tmp_path / "run", others, scene, config=few, seed=seed)
    more = dataclasses.replace(SHORT, episodes=3, robots=2, threshold=0.7)
    assert collected(tmp_path / "run", models, one, config=more, workers=2) == 3
    assert "threshold: 0.7" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_store_of_the_same_run_in_another_scene_is_refused_whatever_the_folder_says(tmp_path: Path) -> None:
    models = dataclasses.replace(MODELS, policy=str(random_policy(tmp_path / "policy")))
    one, two = (f"sim:{write(tmp_path, f'{name}.yaml', SCENE)}" for name in ("one", "two"))
    few = dataclasses.replace(SHORT, episodes=1, robots=1)
    collected(tmp_path / "run", models, one, config=few)
    (tmp_path / "run" / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="holds episodes of a run 'run' in another scene: one there, two now"):
        collected(tmp_path / "run", models, two, config=few)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_robot_beyond_recovery_does_not_keep_the_others_from_their_work(tmp_path: Path, workers: int) -> None:
    bench = write(tmp_path, "bench.yaml", BREAKING.format(marker=tmp_path / "broken"))
    config = dataclasses.replace(SHORT, episodes=6, robots=3)
    with pytest.raises(RobotFault, match=r"bench-\d: .*the gearbox is gone.*The other 2 of 3 robots have done") as raised:
        collected(tmp_path / "run", OWN, bench, config=config, workers=workers)
    assert raised.value.kind == "unrecoverable"
    robots = [record.provenance.robot for record in EpisodeStore(tmp_path / "run" / "episodes").episodes()]
    assert len(robots) == 4
    assert len(set(robots)) == 2


def test_what_only_the_constitution_names_is_looked_for_too(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    bench = write(tmp_path, "bench.yaml", BREAKING.format(marker=tmp_path / "broken"))
    rules = write(tmp_path, "rules.yaml", "objects: [carrot, spoon, plate]\n")
    config = dataclasses.replace(
        SHORT, episodes=1, robots=1, proposal=dataclasses.replace(SHORT.proposal, constitution=rules, reproposals=0)
    )
    assert collected(tmp_path / "run", dataclasses.replace(OWN, vlm="tests.fleet.work:talking"), bench, config=config) == 1
    (missing,) = read_journal(tmp_path / "run" / "events.jsonl", "missing")
    assert missing["objects"] == ["carrot", "plate", "spoon"]


def bad_policy(folder: Path) -> dict[str, object]:
    return {"models": dataclasses.replace(OWN, policy=str(folder / "nowhere"))}


def bad_scene(folder: Path) -> dict[str, object]:
    return {"workcell": write(folder, "bad.yaml", "robot: {driver: 'tests.robots.own:Arm'}\nscene: {tasks: []}\n")}


def bad_driver(folder: Path) -> dict[str, object]:
    return {"workcell": write(folder, "bad.yaml", BREAKING.format(marker="x").replace("BreaksOnce", "Nothing"))}


def bad_workers(folder: Path) -> dict[str, object]:
    return {"workers": 0}


def bad_constitution(folder: Path) -> dict[str, object]:
    proposal = dataclasses.replace(SHORT.proposal, constitution=write(folder, "bad.yaml", "objects: []"))
    return {"config": dataclasses.replace(SHORT, proposal=proposal)}


def bad_questions(folder: Path) -> dict[str, object]:
    proposal = dataclasses.replace(SHORT.proposal, questions=str(folder / "nowhere.yaml"))
    return {"config": dataclasses.replace(SHORT, proposal=proposal)}


def bad_oracle(folder: Path) -> dict[str, object]:
    return {"models": dataclasses.replace(OWN, vlm="oracle")}


def bad_table(folder: Path) -> dict[str, object]:
    return {"config": dataclasses.replace(SHORT, set_table_every=1)}


BAD = [bad_policy, bad_scene, bad_driver, bad_workers, bad_constitution, bad_questions, bad_oracle, bad_table]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_nothing_is_made_before_everything_was_found_valid(tmp_path: Path, bad: Callable[[Path], dict[str, object]]) -> None:
    inputs, place = tmp_path / "inputs", tmp_path / "place"
    inputs.mkdir()
    place.mkdir()
    good = {"models": OWN, "workcell": write(inputs, "bench.yaml", BREAKING.format(marker=inputs / "broken"))}
    wrong = {**good, **bad(inputs)}
    with pytest.raises((ConfigError, Exception)) as raised:
        collected(place / "run", wrong.pop("models"), wrong.pop("workcell"), **wrong)  # type: ignore[arg-type]
    assert type(raised.value).__module__ == "soar.errors"
    assert list(place.iterdir()) == []


def test_a_store_that_cannot_be_made_leaves_no_run_folder(tmp_path: Path) -> None:
    bench = write(tmp_path, "bench.yaml", BREAKING.format(marker=tmp_path / "broken"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(Exception, match=r"not empty and not an episode store"):
        collect(
            OWN,
            workcell=bench,
            store=tmp_path / "full",
            journal=tmp_path / "run" / "events.jsonl",
            run="run",
            round=1,
            seed=0,
            config=SHORT,
            claim=RunClaim(folder=tmp_path / "run", command="soar collect"),
        )
    assert not (tmp_path / "run").exists()
