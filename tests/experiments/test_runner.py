"""An experiment with variants, on the smallest models with which it runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from soar.collect.models import Models
from soar.configuration import load, names
from soar.episodes import EpisodeStore
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.results import read_results
from soar.evaluation.trials import read_evaluation
from soar.experiments.collection_tables import attempt_rows, collection_rows, detector_rows
from soar.experiments.config import Experiment, Variant
from soar.experiments.runner import mean_speed_m, reproduce
from soar.experiments.variant_training import train_variant
from soar.improve.preset import load_preset
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.training.config import conditioned
from soar.training.cotraining import cotrain
from tests.conftest import Pretrained
from tests.improve.tiny import SCENE, write

EXPERIMENT = """
scenes: [{scene}, {other}]
episodes: 2
trials: 1
training_seeds: 2
rollout: {{subgoals: 1}}
in_scene_worlds: 1
variants:
  pretrained: {{data: none}}
  retries: {{data: none, rollout: {{subgoals: 1, reflex: {{times: 1}}, early_success: {{every: 10}}}}}}
  faster: {{data: none, as_fast_as: improved}}
  improved: {{data: autonomous, success_only: false, imagined_goals: 0.5}}
  improved, oracle subgoals: {{data: autonomous, success_only: false, imagined_goals: 0.5, subgoals: oracle}}
  control: {{data: pretraining, gripper_weight: 3}}
  language pretrained: {{data: none, conditioning: language}}
  language scene: {{data: autonomous, success_only: false, conditioning: language}}
  generalist: {{data: autonomous, success_only: false, pooled: true, share: 0.2, steps: 7}}
  second round: {{data: autonomous, success_only: false, conditioning: language, after: language scene}}
"""


class Stopped:
    """A parent that asks to stop after so many steps."""

    def __init__(self, after: int) -> None:
        self.asked, self.after, self.done = 0, after, list[int]()

    def __call__(self, **fields: object) -> None:
        self.done.append(int(str(fields["done"])))

    @property
    def stopping(self) -> bool:
        self.asked += 1
        return self.asked >= self.after


def test_a_training_that_is_asked_to_stop_keeps_what_it_has_and_goes_on(tmp_path: Path, pretrained: Pretrained) -> None:
    def train(out: Path, after: int) -> Stopped:
        parent = Stopped(after)
        item = {
            "variant": dataclasses.asdict(Variant(data="pretraining")),
            "preset": pretrained.preset,
            "policy": f"{pretrained.weights}/policy",
            "pretraining": str(pretrained.data / "demonstrations" / "episodes"),
            "out": str(out),
            "run": str(tmp_path),
            "seed": 0,
            "steps": 60,
            "baselines": "laptop",
        }
        assert train_variant(item, parent) == {}  # type: ignore[arg-type]
        return parent

    assert train(tmp_path / "cut", 30).done == [20]
    assert not (tmp_path / "cut" / "config.json").exists()
    assert train(tmp_path / "cut", 1000).done == [40, 60]  # from the thirtieth step on
    assert train(tmp_path / "whole", 1000).done == [20, 40, 60]
    assert LearnedPolicy.load(tmp_path / "cut").id == LearnedPolicy.load(tmp_path / "whole").id


def test_a_policy_that_takes_both_is_tried_with_subgoals_and_with_the_instruction_alone(
    tmp_path: Path, pretrained: Pretrained
) -> None:
    recipe = write(
        tmp_path,
        "both.yaml",
        f"scenes: [{write(tmp_path, 'one.yaml', SCENE)}]\nepisodes: 2\ntrials: 1\nrollout: {{subgoals: 1}}\nvariants:\n"
        "  pretrained: {data: none, conditioning: both}\n"
        "  told: {data: none, conditioning: both, subgoals: none}\n"
        "  scene: {data: autonomous, success_only: false, conditioning: both}\n"
        "  scene, told: {data: autonomous, success_only: false, conditioning: both, subgoals: none}\n",
    )
    weights, demonstrations = pretrained.weights, pretrained.data / "demonstrations" / "episodes"
    told = conditioned(load_preset(pretrained.preset).pretraining.policy, "both", "hashed-words")
    base = cotrain(told, tmp_path / "both", pretraining=demonstrations)
    reproduce(
        load(Experiment, "reproduce", recipe),
        run=tmp_path / "run",
        models=Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
        bases={"both": str(base)},
        preset=pretrained.preset,
        pretraining=demonstrations,
        results=tmp_path / "both.json",
        command="soar reproduce both",
        workers=1,
        report=lambda what, done, total, note: None,
    )
    rows = {row["variant"]: row for row in read_results(tmp_path / "both.json")["rows"]}
    assert rows["pretrained"]["policy"] == rows["told"]["policy"] == LearnedPolicy.load(base).id
    assert rows["scene"]["policy"] == rows["scene, told"]["policy"] != rows["told"]["policy"]
    assert LearnedPolicy.load(tmp_path / "run/policies/one/scene-0").conditioning == "both"
    assert [rows[name]["subgoals"][:4] for name in ("pretrained", "scene")] == ["flow", "flow"]
    assert {rows[name]["subgoals"] for name in ("told", "scene, told")} == {""}
    with pytest.raises(ConfigError, match="set its conditioning to both"):
        Variant(data="none", subgoals="none")


def test_every_variant_is_trained_and_measured_on_the_same_starts(tmp_path: Path, pretrained: Pretrained) -> None:
    scenes = [write(tmp_path, f"{name}.yaml", SCENE) for name in ("one", "two")]
    recipe = write(tmp_path, "tiny.yaml", EXPERIMENT.format(scene=scenes[0], other=scenes[1]))
    weights = pretrained.weights
    said: list[str] = []

    def run() -> None:
        reproduce(
            load(Experiment, "reproduce", recipe),
            run=tmp_path / "run",
            models=Models(policy=f"{weights}/policy", subgoals=f"{weights}/subgoal", vlm=f"{weights}/vqa"),
            bases={"language": f"{weights}/language"},
            preset=pretrained.preset,
            pretraining=pretrained.data / "demonstrations" / "episodes",
            results=tmp_path / "results" / "tiny.json",
            command="soar reproduce tiny",
            workers=1,
            report=lambda what, done, total, note: said.append(what),
        )

    run()
    rows = read_results(tmp_path / "results" / "tiny.json")["rows"]
    oracle = "improved, oracle subgoals"
    variants = [("pretrained", 1), ("faster", 1), ("improved", 2), (oracle, 2), ("control", 2), ("generalist", 2)]
    variants += [("retries", 1), ("language pretrained", 1), ("language scene", 2), ("second round", 2)]
    assert sorted((row["scene"], row["variant"], row["training_seed"]) for row in rows) == sorted(
        (scene, variant, seed) for scene in ("one", "two") for variant, seeds in variants for seed in range(seeds)
    )
    # What is not trained is one policy, and has as many trials as two training seeds together.
    untrained = {variant for variant, seeds in variants if seeds == 1}
    assert {(row["variant"] in untrained, row["trials"]) for row in rows} == {(True, 2), (False, 1)}
    of = {variant: {row["policy"] for row in rows if row["variant"] == variant} for variant, _seeds in variants}
    assert {variant: len(ids) for variant, ids in of.items()} == {
        "pretrained": 1,
        "retries": 1,
        "faster": 2,
        "improved": 4,
        oracle: 4,
        "control": 2,  # it sees no scene
        "generalist": 2,
        "language pretrained": 1,
        "language scene": 4,
        "second round": 4,
    }
    policies = tmp_path / "run" / "policies"
    trained = {
        variant: json.loads((policies / "one" / f"{variant}-0/training/run.json").read_text())
        for variant in ("improved", "control")
    }
    assert trained["improved"]["autonomous"]["imagined_goals"] == 0.5
    assert trained["improved"]["pretraining"]["gripper_weight"] == 1
    assert trained["control"]["pretraining"]["gripper_weight"] == 3
    metrics = policies / "generalist-0" / "training" / "metrics.jsonl"
    assert json.loads(metrics.read_text().splitlines()[-1])["step"] == 7
    assert of[oracle] == of["improved"]  # trained once, evaluated twice
    assert {row["subgoals"] for row in rows if row["variant"] == oracle} == {"oracle"}
    assert {row["policy"][:4] for row in rows if row["variant"].startswith("language")} == {"lcbc"}
    assert {row["subgoals"] for row in rows if row["variant"].startswith("language")} == {""}
    retries = read_evaluation(tmp_path / "run" / "evaluations" / "one" / "retries-0.json")
    assert (retries.rollout.subgoals, retries.rollout.reflex.times, retries.rollout.early_success.every) == (1, 1, 10)
    assert all(trial.steps <= 20 and trial.looks for trial in retries.trials)
    store = tmp_path / "run" / "episodes"
    assert mean_speed_m(tmp_path / "run" / "evaluations" / "one" / "pretrained-0.json") > 0

    later = EpisodeStore(store).episodes("round = 1")
    assert {(one.scene, one.provenance.run) for one in later} == {
        ("one", "run-one-language scene"),
        ("two", "run-two-language scene"),
    }
    assert {one.provenance.policy for one in later} <= of["language scene"]
    second = LearnedPolicy.load(policies / "one" / "second round-0")
    parent = LearnedPolicy.load(policies / "one" / "language scene-0")
    assert read_lineage(policies / "one" / "second round-0").parent == parent.id != second.id

    # What is said about the collection is said about the base's.
    tasks = collection_rows(store)
    assert [(row["scene"], row["attempts"]) for row in tasks] == [("one", 2), ("two", 2)]
    done = sum(record.achieved for record in EpisodeStore(store).episodes("round = 0"))
    (attempts,) = attempt_rows(store)
    assert attempts["attempts before"] == "0-3"
    assert attempts["success in truth"].startswith(f"{done}/4 = ")
    detected = detector_rows(store)
    assert [(row["scene"], row["episodes"]) for row in detected] == [("one", 2), ("two", 2), ("all", 4), ("all", 546)]

    said.clear()
    run()
    assert "train" not in said  # nothing that was finished is done again


def test_an_experiment_can_be_cut_to_some_scenes_arms_and_a_budget() -> None:
    whole = load(Experiment, "reproduce", "figure5")
    small = whole.restricted(("scene1", "scene5"), ("pretrained",), 0.1)
    assert (small.scenes, list(small.variants)) == (("scene1", "scene5"), ["pretrained"])
    assert (small.episodes, small.trials) == (whole.episodes // 10, whole.trials // 10)
    assert whole.restricted((), (), 1.0) == whole
    assert [small.trials_of_each_task(scene) for scene in small.scenes] == [3, 5]
    with pytest.raises(UnknownNameError, match="unknown variant 'generalists'; did you mean 'generalist'"):
        whole.restricted((), ("generalists",), 1.0)
    with pytest.raises(UnknownNameError, match="unknown scene 'scene11'"):
        whole.restricted(("scene11",), (), 1.0)
    with pytest.raises(ConfigError, match="budget must be a positive number, got 0"):
        whole.restricted((), (), 0.0)


def test_an_arm_that_is_as_fast_as_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="as_fast_as names 'x', which is none of faster"):
        Experiment(scenes=("scene1",), episodes=1, trials=1, variants={"faster": Variant(data="none", as_fast_as="x")})


def test_a_next_round_is_that_of_an_arm_above_which_learns_likewise() -> None:
    first, told = Variant(data="autonomous"), Variant(data="autonomous", conditioning="language")
    variants = {"first": first, "told": told, "next": Variant(data="autonomous", after="first")}
    rounds = Experiment(scenes=("scene1",), episodes=1, trials=1, variants=variants)
    assert [rounds.collectors(name) for name in variants] == [(), (), ("first",)]
    assert rounds.rounds() == {"first": 1, "next": 2}
    assert dataclasses.replace(rounds, variants={"first": first}).rounds() == {}
    with pytest.raises(ConfigError, match=r"variant 'next': after names 'told', which is none of .* conditioned alike: first"):
        dataclasses.replace(rounds, variants=variants | {"next": Variant(data="autonomous", after="told")})
    with pytest.raises(ConfigError, match=r"after names 'first'.*: there is none"):
        rounds.restricted((), ("next",), 1.0)


def test_the_rounds_that_come_with_soar_begin_with_the_base() -> None:
    assert load(Experiment, "reproduce", "rounds").rounds() == {
        "language pretrained": 0,
        "language scene": 500,
        "second round": 1000,
        "third round": 1500,
    }


def test_what_is_recorded_in_a_scene_cannot_be_pooled() -> None:
    with pytest.raises(ConfigError, match="data 'in_scene' cannot be pooled"):
        Variant(data="in_scene", pooled=True)


def test_what_builds_on_another_experiments_episodes_has_its_scenes_and_as_many_of_them() -> None:
    packaged = {name: load(Experiment, "reproduce", name) for name in names("reproduce")}
    building = {name: experiment for name, experiment in packaged.items() if experiment.episodes_of}
    assert building
    for experiment in building.values():
        collecting = packaged[experiment.episodes_of]
        assert not collecting.episodes_of
        assert set(experiment.scenes) <= set(collecting.scenes)
        assert experiment.episodes == collecting.episodes
