from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.instruction_grammar import (
    INSIDE,
    ON_TOP,
    RESERVED,
    Question,
    parse_instruction,
    parse_question,
    presence_question,
    task_from_instruction,
)

TABLE_5 = """
put the green block in the wooden bowl | Is the green block in the wooden bowl? | no
remove the green block from inside the wooden bowl and put it on the table | Is the green block in the wooden bowl? | yes
put the red fruit in the wooden bowl | Is the red fruit in the wooden bowl? | no
remove the red fruit from inside the wooden bowl and put it on the table | Is the red fruit in the wooden bowl? | yes
put the purple eggplant in the brown bowl | Is the purple eggplant in the brown bowl? | no
remove the purple eggplant from inside the brown bowl and put it on the table | Is the purple eggplant in the brown bowl? | yes
move the green marker to the left side | Is the green marker on the left side of the table? | no
move the green marker to the right side | Is the green marker on the right side of the table? | no
put the blue block in the wooden bowl | Is the blue block in the wooden bowl? | no
remove the blue block from inside the wooden bowl and put it on the table | Is the blue block in the wooden bowl? | yes
put the lemon in the wooden bowl | Is the lemon in the wooden bowl? | no
remove the lemon from inside the wooden bowl and put it on the table | Is the lemon in the wooden bowl? | yes
put the red object on the green plate | Is the red object on the green plate? | no
take the red object out of the green plate and put it on the table | Is the red object on the green plate? | yes
put the carrot on the green plate | Is the carrot on the green plate? | no
take the carrot out of the green plate and put it on the table | Is the carrot on the green plate? | yes
open the drawer | Is the drawer open? | no
close the drawer | Is the drawer open? | yes
put the mushroom in the blue bowl | Is the mushroom in the blue bowl? | no
remove the mushroom from the blue bowl and put it on the table | Is the mushroom in the blue bowl? | yes
put the mushroom in the metal pot | Is the mushroom in the metal pot? | no
remove the mushroom from the metal pot and put it on the table | Is the mushroom in the metal pot? | yes
move the green spoon to the left | Is the green spoon on the left side of the table? | no
move the green spoon to the right | Is the green spoon on the right side of the table? | no
put the carrot on the blue plate | Is the carrot on the blue plate? | no
remove the carrot from the blue plate and put it on the table | Is the carrot on the blue plate? | yes
put the purple eggplant on the blue plate | Is the purple eggplant on the blue plate? | no
remove the purple eggplant from the blue plate and put it on the table | Is the purple eggplant on the blue plate? | yes
put the lemon on the blue plate | Is the lemon on the blue plate? | no
remove the lemon from the blue plate and put it on the table | Is the lemon on the blue plate? | yes
put the green veggie on the blue plate | Is the green veggie on the blue plate? | no
remove the green veggie from the blue plate and put it on the table | Is the green veggie on the blue plate? | yes
put the pink spoon on the blue plate | Is the pink spoon on the blue plate? | no
remove the pink spoon from the blue plate and put it on the table | Is the pink spoon on the blue plate? | yes
fold the cloth from right to left | Is the cloth folded? | no
unfold the cloth from left to right | Is the cloth folded? | yes
"""
TABLE_3 = """
move the orange crayon from the blue plate to the table | Is the orange crayon on the blue plate? | yes
put the orange crayon on the cloth | Is the orange crayon on the cloth? | no
move the red object from the blue plate to the table | Is the red object on the blue plate? | yes
"""
ROWS = [tuple(part.strip() for part in line.split("|")) for line in (TABLE_5 + TABLE_3).strip().splitlines() if line]

words = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True).filter(lambda word: word not in RESERVED)
nouns = st.lists(words, min_size=1, max_size=3).map(" ".join)


def test_all_36_tasks_of_table_5_are_listed() -> None:
    assert len(TABLE_5.strip().splitlines()) == 36


@pytest.mark.parametrize(("instruction", "question", "feasible"), ROWS)
def test_the_papers_tasks_become_their_questions(instruction: str, question: str, feasible: str) -> None:
    task = task_from_instruction(instruction)
    assert task.instruction == instruction
    assert task.question == question
    assert task.feasible_answer is (feasible == "yes")
    assert task.objects
    assert all(name in instruction for name in task.objects)


def test_put_names_the_object_and_its_container() -> None:
    assert task_from_instruction("Put the green block into the brown bowl.").objects == ("green block", "brown bowl")
    assert task_from_instruction("move the green spoon to the left").objects == ("green spoon",)


@given(object=nouns, container=st.sampled_from(sorted(INSIDE)), support=st.sampled_from(sorted(ON_TOP)))
def test_put_and_remove_ask_the_same_question_with_opposite_answers(object: str, container: str, support: str) -> None:
    for target, preposition in ((container, "in"), (support, "on")):
        put = task_from_instruction(f"put the {object} {preposition} the {target}")
        remove = task_from_instruction(f"remove the {object} from the {target} and put it on the table")
        assert put.question == remove.question == f"Is the {object} {preposition} the {target}?"
        assert (put.feasible_answer, remove.feasible_answer) == (False, True)


@given(
    st.one_of(
        st.builds(Question, kind=st.sampled_from(["in", "on"]), object=nouns, target=nouns),
        st.builds(Question, kind=st.just("side"), object=nouns, target=st.sampled_from(["left", "right"])),
        st.builds(Question, kind=st.sampled_from(["drawer", "cloth", "present"]), object=nouns),
    )
)
def test_a_question_survives_its_own_wording(question: Question) -> None:
    assert parse_question(str(question)) == question


@given(nouns)
@example("in-tray")
def test_presence_questions_are_understood(name: str) -> None:
    assert parse_question(presence_question(name)) == Question(kind="present", object=name)


@given(st.text(max_size=40))
def test_any_other_text_is_refused_with_a_soar_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_instruction(text).object


@pytest.mark.parametrize(
    "text", ["", "fly", "put the block in the bowl and close it", "move the block to the left of the bowl", "open the a"]
)
def test_what_is_not_understood_is_refused_not_misread(text: str) -> None:
    with pytest.raises(ConfigError, match="Supported: put X in Y"):
        parse_instruction(text)


def test_an_unknown_question_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"Is the X in the Y\?"):
        parse_question("How many blocks are there?")
