from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.tasks import UCBSelector, task_from_instruction
from soar.tasks.open_vocabulary import Constitution, OpenVocabularyProposer, read_tasks
from soar.types import Image

from .answering import IMAGE, Answering

RULES = Constitution(objects=("carrot", "lemon", "blue plate", "drawer"), verbs=("put", "remove", "move"), tasks=3)
CARROT, LEMON = "put the carrot on the blue plate", "put the lemon on the blue plate"
REPLY = f"""Here are some tasks:
1. {CARROT}
2) "Place the carrot onto the blue plate."
- Put the knife on the blue plate
* open the drawer
put the carrot on the stove
throw the lemon
**{LEMON}**
"""


class Lister:
    id = "lister"

    def __init__(self, text: str) -> None:
        self.text, self.prompts = text, []

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        assert images is not None
        self.prompts += prompts
        return [self.text]


def test_only_what_the_constitution_allows_and_each_meaning_once() -> None:
    tasks, refused = read_tasks(REPLY, RULES)
    assert [task.instruction for task in tasks] == [CARROT, LEMON]
    assert refused["put the knife on the blue plate"] == "the object 'knife' is not allowed"
    assert refused["put the carrot on the stove"] == "the object 'stove' is not allowed"
    assert refused["open the drawer"] == "the verb 'open' is not allowed"
    assert refused["throw the lemon"] == "not understood"


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=40)), st.permutations([CARROT, LEMON, "open the knife"]))
def test_no_reply_gets_past_the_constitution(noise: list[str], lines: list[str]) -> None:
    tasks, _ = read_tasks("\n".join([*noise, *lines]), RULES)
    assert len(tasks) <= RULES.tasks
    assert all(RULES.objection(task.instruction) == "" for task in tasks)


def proposer(text: str, past: list[str]) -> tuple[OpenVocabularyProposer, Lister]:
    lister = Lister(text)
    answers = {task_from_instruction(name).question: 0.1 for name in (CARROT, LEMON, "open the drawer")}
    scene = [task_from_instruction("open the drawer")]
    return OpenVocabularyProposer(Answering(answers), lister, RULES, scene, UCBSelector(), past=past), lister


def test_what_was_tried_less_comes_first_across_restarts_and_wordings() -> None:
    tasks, lister = proposer("place the carrot onto the blue plate\n" + LEMON, past=[CARROT] * 3)
    proposal = tasks.propose(IMAGE)
    assert proposal.feasible == (CARROT, LEMON), "in the words that were used before"
    assert proposal.task.instruction == LEMON
    assert "carrot, lemon, blue plate, drawer" in lister.prompts[0]
    for _ in range(4):
        tasks.record(proposal.task)
    assert tasks.propose(IMAGE).task.instruction == CARROT


def test_a_look_that_gives_nothing_falls_back_to_the_scenes_tasks() -> None:
    tasks, _ = proposer("I see nothing.", past=[])
    assert tasks.propose(IMAGE).task.instruction == "open the drawer"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objects": ()}, "at least one object"),
        ({"objects": ("a",), "verbs": ("put", "throw")}, "got throw"),
        ({"objects": ("a",), "tasks": 0}, "at least 1"),
    ],
)
def test_a_wrong_constitution_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Constitution(**fields)
