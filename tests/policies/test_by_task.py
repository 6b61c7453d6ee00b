"""For each task the policy that has done it best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.base_models import default_weights, policy_named
from soar.cli import main
from soar.collect.models import wants_subgoals
from soar.collect.rollout import RolloutConfig, rollout
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.choosing import choose
from soar.evaluation.trials import Evaluation, Trial, write_evaluation
from soar.fleet.deployment import warm_up
from soar.policies.base import begin
from soar.policies.by_task import PolicyByTask
from soar.policies.exploration import ExplorationConfig, Explorer
from soar.policies.loading import load_policy
from soar.robots import SafeRobot
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals, check_policy
from soar.testing.fakes import FAKE_WORKSPACE

SHORT = RolloutConfig(subgoals=2, steps_per_subgoal=3)
PUT, TAKE = "put the carrot on the plate", "take the carrot off the plate"


class Words(FakePolicy):
    """Follows instructions, and turns all the time."""

    id, conditioning = "words", "language"

    def act(self, observations: object, goals: list[object]) -> np.ndarray:
        assert all(isinstance(goal, str) for goal in goals)
        return np.full((len(goals), 7), 0.001, np.float32)


def test_who_is_chosen_for_the_task_acts_and_alone_says_what_it_is_told_by() -> None:
    policy = PolicyByTask(FakePolicy(), {PUT: Words()})
    for wrapped in (policy, Explorer(policy, ExplorationConfig(sigma=0.0), action_std=policy.action_std, seed=0)):
        told = {}
        for task in (PUT, TAKE):
            robot = SafeRobot(FakeRobot(), FAKE_WORKSPACE)
            result = rollout(robot, task, FakeSubgoals(), wrapped, seed=0, config=SHORT)
            told[task] = len(result.subgoals)
        assert told == {PUT: 0, TAKE: 2}
    policy.reset()
    assert policy.conditioning == "goal"  # whoever opens models opens a subgoal model for it
    check_policy(PolicyByTask(Words(), {PUT: FakePolicy()}))
    both = FakePolicy()
    both.conditioning = "both"
    assert PolicyByTask(Words(), {PUT: both}).conditioning == "both"


def test_equal_choices_have_equal_ids_and_others_others() -> None:
    one, same, other = (PolicyByTask(FakePolicy(), tasks) for tasks in ({PUT: Words()}, {PUT: Words()}, {TAKE: Words()}))
    assert one.id == same.id != other.id


def trials(policy: str, judge: str = "truth", first: int = 0, **tasks: str) -> Evaluation:
    """An evaluation: 1 for a success, 0 for a failure."""
    names = {"put": PUT, "take": TAKE}
    found = [
        Trial(scene="bench", task=names[task], seed=first + number, success=said == "1", steps=9)
        for task, outcomes in tasks.items()
        for number, said in enumerate(outcomes)
    ]
    return Evaluation(variant=policy, policy=policy, judge=judge, trials=tuple(found))


def test_the_policy_that_did_a_task_has_it_and_one_lucky_trial_decides_nothing() -> None:
    goals, words = trials("goals", put="11110110", take="0000000"), trials("words", put="1", take="00100")
    choices = choose([goals, words], {"A": "goals", "B": "words"})
    with pytest.raises(ConfigError, match="not all different"):
        choose([goals], {"A": "goals", "C": "goals"})
    assert {one.task: one.policy for one in choices.tasks} == {PUT: "A", TAKE: "B"}
    assert str(choices.tasks[0].rates["A"]).startswith("6/8")
    assert choices.unlike == (PUT, TAKE)
    assert choose(
        [trials("goals", put="11", take="1"), trials("words", put="01", take="11")], {"A": "goals", "B": "words"}
    ).unlike == (TAKE,)
    more = choose([goals, words, trials("words", first=100, put="1111111")], {"A": "goals", "B": "words"})
    assert {one.task: one.policy for one in more.tasks} == {PUT: "B", TAKE: "B"}
    assert more.otherwise == "B"


def test_what_cannot_be_compared_is_refused() -> None:
    goals, words = trials("goals", put="11"), trials("words", put="10")
    names = {"A": "goals", "B": "words"}
    for evaluations, why in (
        ([goals], r"B \(words\) was not tried.*goals \(goals\)"),
        ([goals, words, words], "B was tried twice at one start"),
        ([goals, trials("words", judge="person:ada", put="1")], "judged in different ways .person, truth."),
        ([goals, trials("words")], r"B \(words\) was not tried"),
        ([goals, trials("words", put="1", take="1")], "'take the carrot off the plate' was tried by B alone"),
    ):
        with pytest.raises(ConfigError, match=why):
            choose(evaluations, names)


def test_the_command_writes_a_policy_that_any_command_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = {name: load_policy(str(default_weights(name))).id for name in ("policy", "language")}
    write_evaluation(tmp_path / "goals.json", trials(ids["policy"], put="1110", take="000"))
    write_evaluation(tmp_path / "words.json", trials(ids["language"], put="0000", take="111"))
    out, by = tmp_path / "chosen.yaml", [str(tmp_path / "goals.json"), str(tmp_path / "words.json")]
    assert main(["policy", "choose", "base", "language", "--by", *by, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3/4" in said
    assert "different starts" not in said
    policy = load_policy(str(out))
    assert isinstance(policy, PolicyByTask)
    assert [policy.acts(task).id for task in (PUT, TAKE)] == [ids["policy"], ids["language"]]
    assert main(["policy", "choose", "base", "--by", *by, "--out", str(out)]) == 2
    assert "name two policies or more" in capsys.readouterr().err


def test_a_file_that_names_no_policy_that_acts_is_refused(tmp_path: Path) -> None:
    for name, text, why in (
        ("away", "otherwise: nowhere\ntasks: {}", "away.yaml: otherwise: .*nowhere"),
        ("task", "otherwise: base\ntasks: {open it: nowhere}", "task.yaml: tasks.open it: .*nowhere"),
        ("empty", "otherwise: ''\ntasks: {}", "empty.yaml: otherwise names no policy"),
        ("long", f"otherwise: {'x' * 5000}\ntasks: {{}}", "long.yaml: otherwise"),
        ("self", "otherwise: self.yaml\ntasks: {}", "self.yaml is named by .*self.yaml.*name policies that act"),
        ("nested", "otherwise: base\ntasks: {open it: empty.yaml}", "empty.yaml is named by .*nested.yaml"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"backend: by-task\n{text}\n")
        with pytest.raises(ConfigError, match=why):
            load_policy(str(tmp_path / f"{name}.yaml"))
    (tmp_path / "other.yaml").write_text("backend: by-tasks\n")
    with pytest.raises(UnknownNameError, match="by-task"):
        load_policy(str(tmp_path / "other.yaml"))


@pytest.mark.parametrize("first", [FakePolicy, Words])
def test_who_acted_last_says_nothing_about_who_acts_next(first: type[FakePolicy]) -> None:
    other = Words if first is FakePolicy else FakePolicy
    policy = PolicyByTask(first(), {PUT: other()})
    for task, acting in ((PUT, other), (TAKE, first), (PUT, other)):
        assert wants_subgoals(policy, "mine")
        begin(policy, task)
        assert policy.conditioning == acting.conditioning
        np.testing.assert_array_equal(policy.action_std, first().action_std)
    warm_up(policy)


def test_who_wants_a_policys_folder_says_so_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chosen.yaml").write_text("backend: by-task\notherwise: base\ntasks: {}\n")
    assert main(["export-policy", str(tmp_path / "chosen.yaml"), "--out", str(tmp_path / "mine.onnx")]) == 2
    assert "that is a file, and a policy's folder is asked for here" in capsys.readouterr().err


def test_a_name_of_soars_own_that_a_folder_has_too_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy_named("language") == str(default_weights("language"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "language").mkdir()
    with pytest.raises(ConfigError, match=r"Say \./language for the latter, or .*weights"):
        policy_named("language")
    assert policy_named("./language") == "./language"
    assert policy_named("") == str(default_weights("policy"))
