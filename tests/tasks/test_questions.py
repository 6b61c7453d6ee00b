from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.tasks.questions import Question, read_questions, read_reply, reviewed, task_finder, translate, write_questions
from soar.types import Image

PUT, STACK = "put the carrot on the blue plate", "stack the cups"
GOOD = '{"question": "Are the cups stacked?", "feasible_answer": "no", "objects": ["cups"]}'
STACKED = Question(question="Are the cups stacked?", feasible_answer=False, objects=("cups",), by="scripted")


class Scripted:
    """A language model that says the same of everything, and remembers what it was asked."""

    id = "scripted"

    def __init__(self, text: str) -> None:
        self.text, self.prompts = text, []

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        self.prompts += prompts
        return [self.text] * len(prompts)


def test_rules_come_first_and_the_language_model_gets_the_rest_in_one_batch() -> None:
    model = Scripted(f"Sure! Here it is:\n```json\n{GOOD}\n```")
    questions = translate([PUT, STACK, STACK], {}, model)
    assert questions[STACK] == STACKED
    assert questions[PUT].task(PUT) == task_from_instruction(PUT)
    assert questions[PUT].by == "rules"
    assert len(model.prompts) == 1
    assert model.prompts[0].rstrip().endswith("Instruction: stack the cups")


def test_what_a_person_corrected_stays_and_a_run_uses_it_without_a_language_model(tmp_path: Path) -> None:
    path = tmp_path / "questions.yaml"
    write_questions(path, translate([PUT], {}))
    path.write_text(path.read_text().replace("Is the carrot on the blue plate?", "Does the carrot lie on the plate?"))
    write_questions(path, translate([PUT, STACK], read_questions(path), Scripted(GOOD)))
    (task,) = reviewed([task_from_instruction(PUT)], path)
    assert task.question == "Does the carrot lie on the plate?"
    assert not task.feasible_answer
    find = task_finder(path)
    assert find(STACK).objects == ("cups",)
    assert find("open the drawer") == task_from_instruction("open the drawer")
    assert reviewed([find("open the drawer")], path) == (find("open the drawer"),)


def test_what_nobody_translates_is_named_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"no question for: stack the cups. Name a language model with --llm"):
        translate([STACK, PUT], {})
    with pytest.raises(ConfigError, match="scripted gave none that can be used: write `question`"):
        translate([STACK], {}, Scripted("I would rather not."))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("put it: 3", "'put it' needs `question`"),
        ("put it:\n  question: Is it in?\n  feasible_answer: maybe", "put it: feasible_answer"),
        ("put it:\n  question: It is in.\n  feasible_answer: no", "ends with a question mark"),
        ("put it:\n  question: Is it in?\n  feasible_answer: no\n  answer: yes", "unknown key 'answer'"),
    ],
)
def test_a_wrong_file_names_the_instruction(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "questions.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        read_questions(path)
    assert "questions.yaml" in str(raised.value)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "{",
        "{" * 3000,
        "[1, 2]",
        '{"question": "Are they?"}',
        GOOD.replace("stacked?", "stacked."),
        GOOD.replace('"no"', '"maybe"'),
        GOOD.replace('"no"', "null"),
        GOOD.replace('"Are the cups stacked?"', "7"),
    ],
)
def test_a_reply_that_cannot_be_used_is_none(reply: str) -> None:
    assert read_reply(reply, "m") is None


@given(st.text(), st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_reply_crashes_it(noise: str, value: object) -> None:
    read_reply(noise + json.dumps(value), "m")
    assert read_reply(noise.replace("{", "") + GOOD + noise, "scripted") == STACKED
