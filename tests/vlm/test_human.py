"""On a real pseudo-terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError
from soar.tasks import decide
from soar.tasks.selection import HumanSelector
from soar.terminal import Terminal, draw
from soar.vlm.human import HumanVLM
from tests.person import Person, at_a_terminal

IMAGE = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture
def person() -> Iterator[Person]:
    with at_a_terminal() as person:
        yield person


def test_a_person_answers_and_is_asked_again_after_a_typing_error(person: Person) -> None:
    thread = person.types("y\n", "n\n", "what\n", "?\n")
    answers = HumanVLM(Terminal(person.path)).answer([IMAGE] * 3, ["Is it open?"] * 3)
    thread.join()
    assert [decide(answer) for answer in answers] == [True, False, None]
    assert [answer.p_yes for answer in answers] == [1.0, 0.0, None]
    assert b"Please type one of y, n, ?." in person.seen
    assert person.seen.count("\u2580".encode()) == 3 * 64 * 32


def test_a_person_chooses_among_the_feasible_tasks(person: Person) -> None:
    thread = person.types("3\n", "2\n")
    selector = HumanSelector(terminal=Terminal(person.path))
    assert selector.select({"a", "c"}, {"a": 0, "b": 0, "c": 0}) == "c"
    thread.join()
    assert b"1 a\n2 c" in person.seen.replace(b"\r", b"")


def test_without_a_terminal_nobody_can_be_asked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no terminal.*Run the command in one"):
        HumanVLM(Terminal(tmp_path / "tty")).answer([IMAGE], ["Is it open?"])


def test_a_picture_keeps_its_colours_and_shape() -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:4], image[4:] = (255, 0, 0), (0, 0, 255)
    lines = draw(image, columns=16).splitlines()
    assert len(lines) == 4
    assert lines[0].count("38;2;255;0;0") == 16
    assert lines[3].count("48;2;0;0;255") == 16
