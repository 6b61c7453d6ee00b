from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.episodes.integrity import examine
from soar.episodes.tags import set_tag, tags_of
from soar.errors import StoreError

from .builders import judged, make_episode


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode(id, seed=seed) for seed, id in enumerate("abc")])
    return store


def change_all(store: EpisodeStore) -> None:
    store.append(make_episode("d", seed=4))
    store.add_label("a", judged(True))
    store.delete("b")
    store.compact()


def test_a_name_means_what_the_store_held_whatever_happens_to_it(store: EpisodeStore) -> None:
    set_tag(store.uri, "paper", store.version)
    before = store.rows(np.arange(18))
    change_all(store)
    for table in ("steps", "episodes"):
        # What somebody may do who needs the space.
        lance.dataset(f"{store.uri}/{table}.lance").cleanup_old_versions(timedelta(0), error_if_tagged_old_versions=False)

    named = EpisodeStore(f"{store.uri}@paper")
    assert [record.id for record in named.episodes()] == ["a", "b", "c"]
    assert named.episodes()[0].labels == ()
    np.testing.assert_array_equal(named.rows(np.arange(18)).states_ND, before.states_ND)
    np.testing.assert_array_equal(named.rows(np.arange(18)).images_NHWC, before.images_NHWC)
    assert (named.uri, named.version) == (store.uri, tags_of(store.uri)["paper"])
    with pytest.raises(StoreError, match="pinned version and is read-only"):
        named.append(make_episode("e"))
    assert examine(store.uri) == []


def test_the_versions_that_a_lineage_states_are_a_name_too(store: EpisodeStore) -> None:
    version = store.version
    change_all(store)
    old = EpisodeStore(f"{store.uri}@{version['steps']}.{version['episodes']}")
    assert [record.id for record in old.episodes()] == ["a", "b", "c"]
    with pytest.raises(StoreError, match="does not exist"):
        EpisodeStore(f"{store.uri}@999.999")


def test_a_name_is_given_once(store: EpisodeStore) -> None:
    set_tag(store.uri, "paper", store.version)
    store.append(make_episode("d"))
    with pytest.raises(StoreError, match="has a state named 'paper' already"):
        set_tag(store.uri, "paper", store.version)
    for name in ("", "1.2", "a b", "../x"):
        with pytest.raises(StoreError, match="is no name"):
            set_tag(store.uri, name, store.version)
    with pytest.raises(StoreError, match=r"no state named 'papr'; its names: paper\..*soar data tag"):
        EpisodeStore(f"{store.uri}@papr")


def test_a_pin_that_was_interrupted_has_no_meaning_and_can_be_made(store: EpisodeStore) -> None:
    lance.dataset(f"{store.uri}/steps.lance").tags.create("paper", 1)
    assert tags_of(store.uri) == {}
    set_tag(store.uri, "paper", store.version)
    assert tags_of(store.uri) == {"paper": store.version}


def test_a_folder_whose_name_has_an_at_sign_is_a_folder(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "me@home", mode="create")
    assert store.uri.endswith("me@home")
    assert EpisodeStore(tmp_path / "me@home").count() == 0
    with pytest.raises(StoreError, match="leave out @home to write"):
        EpisodeStore(f"{store.uri}@home", mode="open_or_create")
