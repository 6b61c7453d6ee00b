from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.episodes.streaming_quantiles import Distribution, distribution
from soar.episodes.vector_statistics import FILE, vector_statistics
from soar.errors import StoreError

from .builders import judged, make_episode


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode(id, steps=4, seed=seed, labels=(judged(id == "a"),)) for seed, id in enumerate("abc")])
    return store


def assert_describes(found: dict[str, dict[str, object]], store: EpisodeStore, ids: str) -> None:
    episodes = [store.read(id) for id in ids]
    for name, values in (
        ("action", np.concatenate([episode.actions_TD for episode in episodes])),
        ("state", np.concatenate([episode.states_TD for episode in episodes])),
    ):
        assert found[name]["count"] == len(values)
        np.testing.assert_allclose(found[name]["mean"], values.mean(0, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(found[name]["std"], values.std(0, dtype=np.float64), rtol=1e-6)
        np.testing.assert_allclose(found[name]["q90"], np.quantile(values, 0.9, axis=0, method="inverted_cdf"), rtol=1e-3)
        np.testing.assert_array_equal(found[name]["max"], values.max(0))


def test_actions_and_states_are_described(store: EpisodeStore) -> None:
    assert_describes(vector_statistics(store), store, "abc")
    assert_describes(vector_statistics(store, "success"), store, "a")


def test_only_what_is_new_is_read(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    vector_statistics(store)
    store.append(make_episode("d", steps=7, seed=9))
    read: list[int] = []

    def counting(values_ND: np.ndarray) -> Distribution:
        read.append(len(values_ND))
        return distribution(values_ND)

    monkeypatch.setattr("soar.episodes.vector_statistics.distribution", counting)
    assert_describes(vector_statistics(store), store, "abcd")
    assert sum(read) == 7 + 8
    read.clear()
    store.compact()
    assert_describes(vector_statistics(EpisodeStore(store.uri)), store, "abcd")
    assert sum(read) == 0


def test_a_deleted_episode_does_not_count_and_a_pinned_version_keeps_it(store: EpisodeStore) -> None:
    before = store.version
    vector_statistics(store)
    store.delete("b")
    assert_describes(vector_statistics(store), store, "ac")
    pinned = EpisodeStore(store.uri, version=before)
    assert_describes(vector_statistics(pinned), pinned, "abc")
    assert_describes(vector_statistics(store), store, "ac")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_memory_is_made_anew(store: EpisodeStore, content: bytes) -> None:
    (Path(store.uri) / FILE).write_bytes(content)
    assert_describes(vector_statistics(store), store, "abc")
    assert_describes(vector_statistics(store), store, "abc")


def test_a_store_that_cannot_be_written_is_described_all_the_same(store: EpisodeStore) -> None:
    (Path(store.uri) / FILE).mkdir()
    assert_describes(vector_statistics(store), store, "abc")
    assert (Path(store.uri) / FILE).is_dir()


def test_many_episodes_are_described_in_one_pass(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soar.episodes.vector_statistics._FEW", 1)
    assert_describes(vector_statistics(store, "id != 'b'"), store, "ac")


def test_an_empty_store_and_a_bad_filter(tmp_path: Path, store: EpisodeStore) -> None:
    empty = EpisodeStore(tmp_path / "empty", mode="create")
    assert vector_statistics(empty) == {"action": {"count": 0}, "state": {"count": 0}}
    with pytest.raises(StoreError, match="invalid filter"):
        vector_statistics(store, "nope = 1")
