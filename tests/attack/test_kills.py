"""A few kills that land while an episode is stored; `make soak` makes two hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from .killing import How, fill_the_disk, kills, make_lab, small_disk
from .shell import shell_actions
from .writers import writers_of_one_id


@pytest.mark.parametrize("ways", [[("group", 0), ("stopped", 0)], [("parent", 2)]], ids=["alone", "with workers"])
def test_a_collection_that_is_killed_while_it_stores_loses_nothing(tmp_path: Path, ways: list[tuple[How, int]]) -> None:
    rows = kills(tmp_path, "collect", len(ways), ways=ways)
    assert sum(row.count for row in rows) >= len(ways)
    assert not {row.what: row.bad for row in rows if row.bad}


def test_an_improvement_that_is_killed_while_it_stores_loses_nothing(tmp_path: Path) -> None:
    rows = kills(tmp_path, "improve", 2, ways=[("group", 0)])
    assert not {row.what: row.bad for row in rows if row.bad}


def test_a_disk_that_gets_full_is_one_message_and_the_same_command_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 3) as mounted:
        if not mounted:
            pytest.skip("this user may not mount a file system")
        assert not fill_the_disk(make_lab(tmp_path / "lab", "collect"), tmp_path / "small").bad


def test_writers_of_one_id_are_told_once_that_it_is_stored(tmp_path: Path) -> None:
    assert not writers_of_one_id(tmp_path, processes=4, ids=5).bad


def test_no_action_leads_too_far_from_the_box_whatever_the_reading_does() -> None:
    assert not {row.what: row.bad for row in shell_actions(2000) if row.bad}
