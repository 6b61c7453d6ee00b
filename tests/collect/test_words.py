"""Whether models know a scene's words, with the models that come with SOAR."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.base_models import default_weights, policy_named
from soar.collect.models import NONE, ORACLE, Models
from soar.collect.words import check_words
from soar.policies.base import Policy
from soar.policies.by_task import PolicyByTask
from soar.policies.lineage import Lineage
from soar.policies.loading import load_policy
from soar.policies.named import Named, write_named
from soar.robots.checks import Finding
from soar.scenes import load_scene
from soar.testing import FakePolicy, FakeSubgoals, FakeVLM
from soar.types import Task

PUT = "put the carrot in the white bowl"
SHOVE = "shove the carrot to the left"


class Reader(FakeVLM):
    """A judge of somebody's own that says which words it knows: short ones."""

    id = "reader"

    def unknown_words(self, text: str) -> list[str]:
        return [word for word in text.strip("?").split() if len(word) > 6]


def task(instruction: str, question: str = "Is the carrot in the white bowl?") -> Task:
    return Task(instruction=instruction, question=question, feasible_answer=False)


def found(policy: Policy | None = None, *tasks: Task, subgoals: str = "", vlm: str = "") -> dict[str, Finding]:
    models = Models(policy="", subgoals=subgoals or str(default_weights("subgoal")), vlm=vlm or str(default_weights("vqa")))
    found = {one.check.removeprefix("words of "): one for one in check_words(models, policy or FakePolicy(), tasks)}
    return found


def language() -> Policy:
    return load_policy(policy_named("language"))


@pytest.mark.parametrize("scene", [f"scene{number}" for number in range(1, 11)])
def test_the_models_that_ship_know_the_words_of_the_papers_scenes(scene: str) -> None:
    said = found(None, *load_scene(scene).tasks)
    assert {flag: one.ok for flag, one in said.items()} == {"--vlm": True, "--subgoals": True}
    assert "knows all words of" in said["--vlm"].detail


def test_each_unknown_word_is_named_with_its_sentence_and_with_what_to_do() -> None:
    question = "Is the carrot in the left half of the picture?"
    said = found(None, task(SHOVE, question), task(PUT), task(SHOVE + " again", question))
    assert {flag: one.ok for flag, one in said.items()} == {"--vlm": False, "--subgoals": False}
    assert said["--vlm"].detail.endswith(f"does not know half, picture of {question!r}")
    assert said["--subgoals"].detail.endswith(f"does not know shove of {SHOVE!r}; shove, again of {SHOVE + ' again'!r}")
    for flag in said:
        assert f"another model by {flag} (docs/how-to/foundation-models.md)" in said[flag].advice
    many = found(None, *(task(f"shove it {'on ' * number}") for number in range(5)))
    assert many["--subgoals"].detail.endswith("; and words of 2 more")


def test_who_is_not_told_a_word_need_not_know_it() -> None:
    assert found(language(), task(PUT), subgoals="/nowhere").keys() == {"--vlm", "--policy"}
    both = FakePolicy()
    both.conditioning = "both"
    assert found(both, task(SHOVE), subgoals=NONE).keys() == {"--vlm"}
    assert found(both, task(SHOVE))["--subgoals"].ok is False
    assert found(None, task(SHOVE, "Is it shoved?"), subgoals=ORACLE, vlm=ORACLE) == {}


def test_a_policy_that_follows_instructions_may_learn_words_by_practice() -> None:
    said = found(language(), task(PUT), task(SHOVE), subgoals="/nowhere")["--policy"]
    assert said.ok is None
    assert said.detail.endswith(f"does not know shove of {SHOVE!r}")
    assert "the successes of practice" in said.advice
    assert found(language(), task(PUT))["--policy"].ok is True


def test_of_policies_by_the_task_each_is_asked_about_its_own(tmp_path: Path) -> None:
    policy = PolicyByTask(FakePolicy(), {PUT: language()})
    said = found(policy, task(PUT), task("move the carrot to the left"))
    assert {flag: one.ok for flag, one in said.items()} == {"--vlm": True, "--subgoals": True, "--policy": True}
    assert said["--subgoals"].detail.endswith("knows all words of 1 instruction")
    assert found(PolicyByTask(language(), {PUT: FakePolicy()}), task(SHOVE))["--policy"].ok is None
    (named := tmp_path / "named").mkdir()
    weights = policy_named("language")
    write_named(Named(id="mine", behind=language().id, name=weights, folder=named), Lineage())
    assert found(load_policy(str(named)), task(SHOVE))["--policy"].detail == f"mine does not know shove of {SHOVE!r}"


def test_a_model_of_somebodys_own_may_say_which_words_it_knows_and_is_not_accused_when_it_does_not() -> None:
    said = found(None, task(PUT, "Is the refrigerator open?"), subgoals=own(FakeSubgoals), vlm=own(Reader))
    assert {flag: one.detail for flag, one in said.items()} == {
        "--vlm": "reader does not know refrigerator of 'Is the refrigerator open?'"
    }


def own(kind: type) -> str:
    return f"{kind.__module__}:{kind.__name__}"
