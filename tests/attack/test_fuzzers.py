"""A few hundred damaged files and made-up filters; `make soak` reads many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from soar.untrusted import DEEPEST, parse_json, parse_yaml, printable
from tests.episodes.builders import judged, make_episode

from .fuzzing import JSON_SEEDS, YAML_SEEDS, fuzz_filters, fuzz_journal, fuzz_json, fuzz_msgpack, fuzz_yaml


@pytest.mark.parametrize("attack", [fuzz_yaml, fuzz_json, fuzz_journal, fuzz_msgpack])
def test_a_damaged_file_is_read_or_refused_by_one_message(attack: type, tmp_path: Path) -> None:
    tally = attack(tmp_path, 150)
    assert tally.count == 150
    assert not tally.bad


def test_a_made_up_filter_is_read_whole_or_refused(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "store", mode="create")
    store.append([make_episode("a", size=8, labels=(judged(True),)), make_episode("b", size=8, labels=(judged(False),))])
    assert not fuzz_filters(store, 300).bad


@pytest.mark.parametrize("data", [*YAML_SEEDS[2:-2]], ids=range(2, len(YAML_SEEDS) - 2))
def test_yaml_that_breaks_parsers_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"deep|more than|not valid YAML|utf-8"):
        parse_yaml(data.decode())


@pytest.mark.parametrize("data", JSON_SEEDS[1:3], ids=range(2))
def test_json_that_breaks_parsers_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="deep"):
        parse_json(data)


def test_what_is_as_deep_as_allowed_is_read() -> None:
    for brackets, too_many in ((DEEPEST - 1, False), (DEEPEST, False), (DEEPEST + 1, True), (DEEPEST * 3, True)):
        text = "[" * brackets + "]" * brackets
        for parse in (parse_json, parse_yaml):
            if too_many:
                with pytest.raises(ValueError, match="deep"):
                    parse(text)
            else:
                parse(text)
    assert len(parse_json("[" + "[1]," * 500 + "2]")) == 501, "wide is not deep"


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert printable("a\x1b[31mb\x9b2J\x07\r\x7f\u202ec\td\ne") == "a\\x1b[31mb\\x9b2J\\x07\\r\\x7f\\u202ec\td\ne"
    assert printable("pose la tasse près de l'évier — 杯子") == "pose la tasse près de l'évier — 杯子"
