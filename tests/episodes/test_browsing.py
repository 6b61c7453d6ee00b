"""A store as pages look at it: right rows and right frames, whoever wrote at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from soar.episodes import EpisodeStore, tables
from soar.episodes import schema as columns
from soar.episodes.browsing import Browser, Place
from soar.episodes.encoded import encode
from soar.episodes.tags import set_tag
from soar.errors import StoreError
from tests.episodes.builders import goal_images, judged, make_episode


def places(browser: Browser, id: str) -> list[Place]:
    record = browser.record(id)
    return [Place(record.attempt, record.first_row, step) for step in range(record.length + 1)]


def test_a_table_has_the_episodes_that_match_in_the_order_of_insertion(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    browser = Browser(tmp_path / "s")
    assert len(browser.table()) == 0
    for number in range(4):
        store.append(make_episode(f"e{number}", steps=3 + number, labels=(judged(number % 2 == 0),)))
    assert browser.table()["id"].to_pylist() == ["e0", "e1", "e2", "e3"]
    found = browser.table("success")
    assert found["id"].to_pylist() == ["e0", "e2"]
    assert found["first_row"].to_pylist() == [record.first_row for record in store.episodes("success")]
    assert browser.table("success") is found
    store.delete("e0")
    assert browser.table("success")["id"].to_pylist() == ["e2"]
    with pytest.raises(StoreError, match="invalid filter"):
        browser.table("success; drop")
    assert browser.record("e2") == store.episodes("id = 'e2'")[0]
    with pytest.raises(StoreError, match="has no episode 'e0'"):
        browser.record("e0")


def test_frames_are_those_of_the_episode_also_when_writers_took_turns(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    episodes = {id: encode(make_episode(id, steps=4, seed=number)) for number, id in enumerate("abcd")}
    store.append(episodes["a"])
    # Steps of `b` are written before those of `c`, and its row after that of `c`: what is guessed is wrong for both.
    first, second = (tables.open_table(str(tmp_path / "s"), name, None) for name in ("steps", "episodes"))
    for id, attempt in (("b", 11), ("c", 12)):
        first.insert(columns.steps_table(episodes[id], attempt))
    for id, attempt in (("c", 12), ("b", 11)):
        second.insert(pa.Table.from_pylist([columns.episode_row(episodes[id], attempt, 1.0)], columns.EPISODES))
    store.append(episodes["d"])
    browser = Browser(tmp_path / "s")
    assert browser.table()["id"].to_pylist() == ["a", "c", "b", "d"]
    for id, episode in episodes.items():
        assert browser.frames(places(browser, id)) == list(episode.frames)
        read = browser.encoded(id)
        assert read.frames == episode.frames
        assert np.array_equal(read.actions_TD, store.read_encoded(id).actions_TD)
    record = browser.record("b")
    nowhere = [Place(record.attempt, record.first_row, 99), Place(-5, 0, 0), Place(record.attempt, 10**12, 2)]
    assert browser.frames(nowhere) == [None, None, episodes["b"].frames[2]]


def test_subgoals_and_a_named_state_are_read(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    made = make_episode("a")
    store.append(make_episode("a", subgoals=goal_images(made)))
    set_tag(store.uri, "then", store.version)
    store.append(make_episode("b"))
    then = Browser(f"{tmp_path / 's'}@then")
    assert (len(then.table()), then.pinned) == (1, True)
    assert then.subgoals("a") == store.subgoals()["a"]
    with pytest.raises(StoreError, match="no episode store"):
        Browser(tmp_path / "nothing")
