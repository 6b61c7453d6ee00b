from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.errors import FormatError
from soar.formats.texts import read_text, spoken, text_of, verdict_of


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (None, ""),
        (float("nan"), ""),
        ("None", ""),
        (b"null", ""),
        ("nan", ""),
        ("none of the cups", "none of the cups"),
        (b"\xef\xbb\xbfopen it", "open it"),
        ("\ufeff open it\ufeff ", "open it"),
        (b"open it\0\0\0", "open it"),
        ("  open it \r\n", "open it"),
        ("put\u2028it", "put\u2028it"),
        ("把胡萝卜放到盘子上".encode(), "把胡萝卜放到盘子上"),
        (b"b'put the cup down'", "put the cup down"),
        ("b'", "b'"),
    ],
)
def test_a_text_is_read_as_it_was_meant(value: Any, meant: str) -> None:
    assert text_of(value, "here") == meant


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("open\0 it", "holds a NUL"),
        ("open it".encode("utf-16-le"), "holds a NUL"),
        (b"caf\xe9", "not UTF-8"),
        (3, "a text is expected, there is 3"),
        (["a"], "a text is expected"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(FormatError, match=f"^here: .*{words}"):
        text_of(value, "here")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_marks_and_padding_around_a_text_change_nothing(text: str) -> None:
    assert text_of("\ufeff" + text + "\0 ", "here") == text_of(text, "here")


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    for content, text in ((b"\xef\xbb\xbf{}", "{}"), ("é".encode(), "é")):
        path.write_bytes(content)
        assert read_text(path) == text
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(FormatError, match=r"text.txt is not UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], ()),
        (["", ""], ()),
        (["a"], ((0, "a"),)),
        (["", "", "a", "a"], ((0, "a"),)),
        (["a", "", "b", "", "b"], ((0, "a"), (2, "b"))),
        (["a", "b", "a"], ((0, "a"), (1, "b"), (2, "a"))),
    ],
)
def test_the_instructions_of_steps_are_all_kept(texts: list[str], expected: tuple[tuple[int, str], ...]) -> None:
    assert spoken(texts) == expected


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (True, True),
        (0, False),
        (np.array([1]), True),
        (np.array([], np.int64), None),
        ([True, None], None),
        (None, None),
        (float("nan"), None),
        (-1, None),
        (b"True", True),
        ("False\n", False),
        ("\ufeffTrue", True),
        ("None", None),
        ("", None),
    ],
)
def test_an_unknown_verdict_stays_unknown(value: Any, verdict: bool | None) -> None:
    assert verdict_of(value, "here") is verdict


@pytest.mark.parametrize("value", [2, "maybe", {}])
def test_what_is_no_verdict_is_refused(value: Any) -> None:
    with pytest.raises(FormatError, match="here must say True or False"):
        verdict_of(value, "here")
