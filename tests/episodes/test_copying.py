from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from soar.episodes import EpisodeStore, schema
from soar.episodes.copying import merge, split
from soar.episodes.encoded import encode
from soar.episodes.integrity import examine, repair
from soar.errors import StoreError

from .builders import judged, make_episode


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "episodes", mode="create")
    store.append(
        [make_episode(id, steps=steps, seed=steps, labels=(judged(id == "a"),)) for id, steps in (("a", 2), ("b", 3), ("c", 4))]
    )
    return store


def test_stores_are_filtered_and_merged_without_loss(tmp_path: Path, store: EpisodeStore) -> None:
    other = EpisodeStore(tmp_path / "other", mode="create")
    other.append(make_episode("d"))
    assert merge([store], tmp_path / "target", where="not success").copied == 2
    assert str(merge([store, other], tmp_path / "target")) == "2 episodes copied, 2 were there already"
    target = EpisodeStore(tmp_path / "target")
    assert [record.id for record in target.episodes()] == ["b", "c", "a", "d"]
    for record in store.episodes():
        read, written = target.read_encoded(record.id), store.read_encoded(record.id)
        assert (read.frames, read.labels, read.created_s) == (written.frames, written.labels, written.created_s)
        assert read.actions_TD.tobytes() == written.actions_TD.tobytes()


def test_another_episode_of_one_id_is_merged_under_an_id_of_its_own(
    tmp_path: Path, store: EpisodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    other = EpisodeStore(tmp_path / "other", mode="create")
    other.append(make_episode("b", steps=3, seed=9))
    assert merge([store, other], tmp_path / "target").copied == 4
    assert re.search(r"1 episodes have an id that another .*'b' of .*other is 'b~[0-9a-f]{8}'", caplog.text)
    target = EpisodeStore(tmp_path / "target")
    ids = [record.id for record in target.episodes()]
    assert ids[:3] == ["a", "b", "c"]
    for id, source in (("b", store), (ids[3], other)):
        assert target.read_encoded(id).frames == source.read_encoded("b").frames
    assert target.episodes()[3].origin["renamed_from"] == "b"
    for sources in ([store, other], [other], [other, store], [target]):
        assert merge(sources, target.uri).copied == 0, "a repeated call finds what it copied"


def test_the_same_episode_is_known_by_its_content_where_it_was_stored_twice(
    tmp_path: Path, store: EpisodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    other = EpisodeStore(tmp_path / "other", mode="create")
    other.append(make_episode("b", steps=3, seed=3, labels=(judged(False),)))
    assert merge([other], store.uri).copied == 0
    assert not caplog.text
    other.add_label("b", judged(True, "person:kim"))
    assert merge([other], store.uri).copied == 0
    assert "1 episodes were there already, and lack labels that the others have, for example 'b'" in caplog.text


def test_a_split_has_every_episode_on_one_side(tmp_path: Path, store: EpisodeStore) -> None:
    parts = tmp_path / "first", tmp_path / "second"
    with pytest.raises(StoreError, match="a fraction between 0 and 1, both excluded"):
        split(store, *parts, fraction=1.0)
    assert not any(part.exists() for part in parts)
    assert [str(part) for part in split(store, *parts, fraction=0.7)] == ["2 episodes copied", "1 episodes copied"]
    assert sorted(record.id for part in parts for record in EpisodeStore(part).episodes()) == ["a", "b", "c"]


def test_a_deleted_episode_is_gone_except_from_versions_before(store: EpisodeStore) -> None:
    version = store.version
    store.delete("b")
    assert [record.id for record in store.episodes()] == ["a", "c"]
    np.testing.assert_array_equal(store.rows(np.arange(3, 8)).states_ND, make_episode(steps=4, seed=4).states_TD)
    assert len(EpisodeStore(store.uri, version=version).read("b").actions_TD) == 3
    assert examine(store.uri) == []
    with pytest.raises(StoreError, match="no episode 'b'"):
        store.delete("b")


def test_an_old_store_takes_episodes_with_an_origin(tmp_path: Path, store: EpisodeStore) -> None:
    lance.dataset(f"{store.uri}/episodes.lance").drop_columns(["origin"])
    old = EpisodeStore(store.uri)
    assert old.episodes()[0].origin == {}
    old.append(make_episode("d"))
    assert "origin" not in lance.dataset(f"{store.uri}/episodes.lance").schema.names
    old.append(replace(encode(make_episode("e")), origin={"file": "x"}))
    assert [record.origin for record in old.episodes()] == [{}, {}, {}, {}, {"file": "x"}]


def test_the_doctor_finds_nothing_wrong_with_a_sound_store(store: EpisodeStore) -> None:
    assert examine(store.uri, check_frames=True) == []


def test_the_doctor_repairs_what_is_broken_and_nothing_else(store: EpisodeStore) -> None:
    steps, episodes = (lance.dataset(f"{store.uri}/{name}.lance") for name in ("steps", "episodes"))
    orphan = schema.steps_table(encode(make_episode("x", steps=2)), attempt=7)
    lance.write_dataset(orphan, f"{store.uri}/steps.lance", mode="append")
    store.append([make_episode("whole", steps=2), make_episode("short", steps=2), make_episode("wrong", steps=2)])
    store.append(make_episode("dark", steps=2))
    steps.checkout_latest()
    episodes.checkout_latest()
    steps.delete("episode = 'short' and step = 1")
    steps.update({"frame": "X'00'"}, where="episode = 'dark' and step = 1")
    episodes.update({"length": "9"}, where="id = 'wrong'")
    episodes.update({"success": "false"}, where="id = 'a'")
    twin = episodes.to_table(filter="id = 'b'")
    twin_attempt = twin.set_column(twin.schema.get_field_index("attempt"), "attempt", pa.array([8]))
    lance.write_dataset(
        schema.steps_table(encode(make_episode("b", steps=3)), attempt=8), f"{store.uri}/steps.lance", mode="append"
    )
    lance.write_dataset(twin_attempt, f"{store.uri}/episodes.lance", mode="append")

    found = {(finding.kind, finding.episode) for finding in examine(store.uri, check_frames=True)}
    assert found == {
        ("orphaned steps", ""),
        ("broken episode", "short"),
        ("broken episode", "dark"),
        ("wrong length", "wrong"),
        ("wrong verdict", "a"),
        ("duplicate id", "b"),
    }
    repair(store.uri, examine(store.uri, check_frames=True))
    assert examine(store.uri, check_frames=True) == []
    healthy = EpisodeStore(store.uri)
    assert [record.id for record in healthy.episodes()] == ["a", "b", "c", "whole", "wrong"]
    assert healthy.episodes("id = 'a'")[0].success is True
    assert healthy.read_encoded("whole").frames == encode(make_episode("whole", steps=2)).frames
    np.testing.assert_array_equal(healthy.read("b").states_TD, make_episode(steps=3, seed=3).states_TD)
