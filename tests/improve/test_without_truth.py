"""The loop on somebody's own robot, which does not know whether it succeeded: judged by a person, by a model, or by nobody."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soar.collect.models import Models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError, SoarError
from soar.evaluation import read_evaluation
from soar.evaluation.plan import order
from soar.evaluation.runner import wanted_trials
from soar.event_log import read_journal
from soar.improve.config import ImproveConfig
from soar.improve.loop import Improvement, improve
from soar.improve.preset import load_preset
from soar.policies.learned import LearnedPolicy
from soar.robots.workcell import load_workcell
from soar.seeding import derive_seed
from tests.episodes.builders import make_episode
from tests.person import at_a_terminal
from tests.robots.test_workcell import cell

from .judges import mood
from .tiny import PRESET, random_policy, write


def configured(folder: Path, *, driver: str = "Arm", rounds: int = 1, **changes: Any) -> ImproveConfig:
    preset = load_preset(write(folder, "tiny.yaml", PRESET))
    collection = dataclasses.replace(preset.improvement.collection, episodes=4, watch_objects=False)
    improvement = dataclasses.replace(preset.improvement, collection=collection, rounds=rounds)
    demonstrations = folder / "demonstrations"
    if not demonstrations.exists():
        EpisodeStore(demonstrations, mode="open_or_create").append(
            [make_episode(f"d{i}", steps=30, size=64, seed=i) for i in range(3)]
        )
        random_policy(folder / "policy")
    return ImproveConfig(
        run=folder / "run",
        workcell=cell(folder, driver, robot=", options: {size: [64, 64]}"),
        models=Models(policy=str(folder / "policy"), subgoals="soar.testing:FakeSubgoals", vlm="tests.improve.judges:moody"),
        preset=dataclasses.replace(preset, improvement=improvement),
        pretraining=str(demonstrations),
        **changes,
    )


def in_moods(config: ImproveConfig, *moods: bool) -> Improvement:
    """Run the loop with a judge that says the same all through a round."""

    def on_progress(phase: str, done: int, total: int, note: str = "") -> None:
        for round, says in enumerate(moods, start=1):
            if phase == f"collect, round {round}":
                mood["says"] = says

    return improve(config, on_progress)


def current(config: ImproveConfig) -> str:
    return (config.run / "policies" / "current").resolve().name


def test_without_evaluations_a_candidate_stays_unless_it_is_judged_to_do_worse_while_practising(tmp_path: Path) -> None:
    first = configured(tmp_path, evaluate="off")
    result = in_moods(first, True)
    assert (result.before, result.after, result.findings.compared) == (None, None, ())
    # Nobody knows the candidate yet: it is on trial, and everything says so.
    assert current(first) == "001"
    assert "Candidate 1" in result.findings.decisions[0].sentence
    assert "is deployed on trial: it was not evaluated and has not practised yet" in result.findings.decisions[0].sentence

    config = configured(tmp_path, evaluate="off", rounds=3)
    result = in_moods(config, True, False, True)
    ids = [LearnedPolicy.load(config.run / "policies" / f"00{number}").id for number in range(4)]
    records = EpisodeStore(config.run / "episodes").episodes()
    practised = {record.provenance.round: record.provenance.policy for record in records}
    assert practised == {1: ids[0], 2: ids[1], 3: ids[2]}
    refused, kept = read_journal(config.run / "events.jsonl", "promotion")
    assert (refused["candidate"], refused["promote"], kept["candidate"], kept["promote"]) == (1, False, 2, True)
    assert refused["sentence"].startswith(
        f"Kept {ids[0]}: {ids[1]} is significantly worse. Not evaluated; judged by fake-vlm while"
    )
    assert "candidate 0/4 = .00" in refused["sentence"]
    assert kept["sentence"].startswith(f"Promoted {ids[2]}: it is not significantly worse than {ids[0]}")
    assert [str(one.judged)[:3] for one in result.findings.practised] == ["4/4", "0/4", "4/4", "no "]
    assert not (config.run / "evaluations").exists()
    page = result.report.read_text()
    for said in (
        "No policy was evaluated",
        "<h2>Practice</h2>",
        "is deployed on trial",
        refused["sentence"].partition(" (")[0],
    ):
        assert said.replace("'", "&#39;") in page
    assert "What evaluations found" not in page

    # Fewer rounds than the run has behind it change nothing.
    assert current(config) == "003"
    assert in_moods(first, True).findings.decisions == result.findings.decisions
    assert current(config) == "003"
    assert len(EpisodeStore(config.run / "episodes").episodes()) == 12


def test_a_round_whose_recipe_keeps_no_step_trains_nothing_and_the_run_goes_on(tmp_path: Path) -> None:
    config = configured(tmp_path, evaluate="off", rounds=2)
    recipe = config.preset.improvement.policy
    # Half a millimetre a step is no motion to this recipe.
    still = dataclasses.replace(recipe, autonomous=dataclasses.replace(recipe.autonomous, drop_idle=True, clean_grasps=True))
    config = dataclasses.replace(
        config,
        workcell=cell(tmp_path, robot=", options: {size: [64, 64]}, limits: {translation_m: 0.0005}"),
        preset=dataclasses.replace(config.preset, improvement=dataclasses.replace(config.preset.improvement, policy=still)),
    )
    in_moods(config, True, True)
    events = read_journal(config.run / "events.jsonl", "nothing_to_learn")
    assert [event["round"] for event in events] == [1, 2]
    assert "no step of 4 episodes is left to train on" in events[0]["detail"]
    assert current(config) == "000"
    assert len(EpisodeStore(config.run / "episodes").episodes()) == 8


@pytest.mark.parametrize("judge", ["vlm", "person"])
def test_somebody_who_is_no_simulator_evaluates_and_the_loop_goes_on_as_in_simulation(
    tmp_path: Path, judge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, evaluate=judge, judge_name="ada" if judge == "person" else "")
    config = dataclasses.replace(config, models=dataclasses.replace(config.models, vlm="tests.improve.judges:moved"))
    with at_a_terminal() as somebody:
        somebody.answers(lambda question: "y" if "Did it work?" in question else "g")
        monkeypatch.setattr("soar.terminal.TERMINAL", somebody.path)
        result = improve(config)
    assert result.before is not None
    assert result.after is not None
    assert result.before.judge == ("person:ada" if judge == "person" else "fake-vlm")
    assert [trial.key for trial in result.before.trials] == [trial.key for trial in result.after.trials]
    (verdict,) = read_journal(config.run / "events.jsonl", "promotion")
    assert (verdict["round"], verdict["candidate"], verdict["promote"]) == (1, 1, True)
    # A person restores the starts; nobody does when a model judges, and then no pair is claimed.
    assert ("nobody restored the starts" in verdict["sentence"]) == (judge == "vlm")
    assert ("of the same starts" in verdict["sentence"]) == (judge == "person")
    assert result.after.policy == LearnedPolicy.load(config.run / "policies" / "001").id
    assert read_evaluation(config.run / "evaluations" / "001.json").variant == "round 1"
    assert [evaluation.variant for evaluation in result.findings.compared] == ["before", "after"]
    page = result.report.read_text()
    assert f"judged by {result.before.judge}" in page
    assert "4 autonomous episodes, all of them learned from, 4 judged successes. " in page
    assert "round 0" not in page


def test_tasks_that_are_done_before_anybody_tried_count_as_nothing_where_nobody_sets_the_starts(tmp_path: Path) -> None:
    config = configured(tmp_path, evaluate="vlm")
    mood["says"] = True
    result = improve(config)
    assert result.before is not None
    assert (result.before.trials, len(result.before.done_before)) == ((), 1)
    page = result.report.read_text()
    assert "1 start of deployed, before and after not counted: the task was done already." in page
    (verdict,) = read_journal(config.run / "events.jsonl", "promotion")
    assert not verdict["promote"]
    assert "there are no trials to judge" in verdict["sentence"]
    assert "1 start of round 1 not counted: the task was done already" in verdict["sentence"]
    assert improve(config).before == result.before, "they are not tried again"


def test_a_person_who_stops_stops_the_run_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, evaluate="person", judge_name="ada")
    with at_a_terminal() as somebody:
        somebody.answers(lambda question: "q")
        monkeypatch.setattr("soar.terminal.TERMINAL", somebody.path)
        with pytest.raises(SoarError, match="stopped: 0 of the 2 trials of round 1 were judged"):
            improve(config)
    assert current(config) == "000"
    with at_a_terminal() as somebody:
        somebody.answers(lambda question: "y" if "Did it work?" in question else "g")
        monkeypatch.setattr("soar.terminal.TERMINAL", somebody.path)
        improve(config)
    assert len(EpisodeStore(config.run / "episodes").episodes()) == 4
    assert current(config) == "001"


def test_a_person_judges_old_and_new_in_turn_in_each_round_and_reads_nowhere_which_of_them_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, evaluate="person", judge_name="ada", rounds=2)
    with at_a_terminal() as somebody:
        somebody.answers(lambda question: "y" if "Did it work?" in question else "g")
        monkeypatch.setattr("soar.terminal.TERMINAL", somebody.path)
        result = improve(config)
    folder = config.run / "evaluations"
    tried = {path.stem: read_evaluation(path) for path in folder.glob("*.json")}
    ids = [LearnedPolicy.load(config.run / "policies" / f"00{number}").id for number in range(3)]
    assert {name: evaluation.policy for name, evaluation in tried.items()} == {
        "000": ids[0],
        "001": ids[1],
        "001-beside-002": ids[1],
        "002": ids[2],
    }
    assert len({tuple(trial.key for trial in evaluation.trials) for evaluation in tried.values()}) == 1, "the same starts"
    assert somebody.read.count("Trial 2 of 2") >= 2
    for name in ("000", "001", "002", *ids, "round", "candidate", "pretrained", "deployed"):
        assert name not in re.sub(r"\S+-trial\.png", "", somebody.read)
    assert result.after == tried["002"]


def person_says(config: ImproveConfig, deployed: str, candidate: str) -> Iterator[str]:
    """What is said of the two policies in round 1, in the order in which they are tried from each start."""
    (task,) = load_workcell(config.workcell).scene.scene().tasks
    for key in wanted_trials(load_workcell(config.workcell).scene.scene(), [task.instruction], range(1)):
        for contender in order(derive_seed(config.seed, "person", 1), key, 2):
            yield (deployed, candidate)[contender]


def test_a_refused_candidate_is_compared_with_the_deployed_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, evaluate="person", judge_name="ada")
    said = person_says(config, deployed="y", candidate="n")
    with at_a_terminal() as somebody:
        somebody.answers(lambda question: next(said) if "Did it work?" in question else "g")
        monkeypatch.setattr("soar.terminal.TERMINAL", somebody.path)
        result = improve(config)
    assert result.after == result.before
    deployed, refused = result.findings.compared
    assert (deployed.variant, refused.variant) == ("deployed, before and after", "candidate 1, not deployed")
    assert (deployed.rate().value, refused.rate().value) == (1, 0)
    page = result.report.read_text()
    assert "No candidate was promoted" in page
    assert "candidate 1, not deployed: " in page
    assert current(config) == "000"


def test_a_threshold_on_what_is_not_filtered_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = configured(tmp_path, evaluate="off")
    improvement = dataclasses.replace(config.preset.improvement, threshold=0.85)
    with pytest.raises(ConfigError, match=r"threshold is 0\.85.*success_only is false"):
        improve(dataclasses.replace(config, preset=dataclasses.replace(config.preset, improvement=improvement)))
    assert not (tmp_path / "run").exists()


def test_without_truth_the_choices_are_named_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not know whether a task is done.*--evaluate person, vlm, or off"):
        improve(configured(tmp_path))
    assert not (tmp_path / "run").exists()


def test_without_a_terminal_a_person_cannot_evaluate_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("soar.terminal.TERMINAL", tmp_path / "tty")
    with pytest.raises(ConfigError, match="there is no terminal"):
        improve(configured(tmp_path, evaluate="person", judge_name="ada"))
    with pytest.raises(ConfigError, match="--judge-name"):
        improve(configured(tmp_path, evaluate="person"))
    assert not (tmp_path / "run").exists()


def test_judged_successes_are_called_so_and_the_truth_stands_beside_them(tmp_path: Path) -> None:
    mood["says"] = False
    result = improve(configured(tmp_path, driver="Cell"))
    page = result.report.read_text()
    assert "4 autonomous episodes, all of them learned from, 0 judged successes, 0 of them true; " in page
    assert "0 true successes in all, and 4 whose task was done before they began." in page
    assert page.count('class="v v-failure"') == page.count("in truth success") == 4
    assert "judged by truth" in page
