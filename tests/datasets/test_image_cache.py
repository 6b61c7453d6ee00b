from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.datasets import HindsightSampler, Mixture, load_arrays, train_validation_split
from soar.datasets.arrays import StepArrays
from soar.datasets.image_cache import FrameCache, StoredImages, available_bytes, promised_bytes
from soar.episodes import EpisodeStore
from soar.errors import StoreError
from tests.episodes.builders import make_episode

LENGTHS = (3, 5, 2, 4)
ROWS = sum(LENGTHS) + len(LENGTHS)
FRAME = 16 * 16 * 3


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EpisodeStore:
    store = EpisodeStore(tmp_path_factory.mktemp("images") / "s", mode="create")
    store.append([make_episode(f"e{index}", steps=steps, seed=index) for index, steps in enumerate(LENGTHS)])
    return store


def stored(arrays: StepArrays) -> StoredImages:
    assert isinstance(arrays.images_NHWC, StoredImages)
    return arrays.images_NHWC


@given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=40), frames=st.integers(0, ROWS + 3))
@settings(max_examples=30)
def test_images_are_the_same_whatever_the_cache_holds(store: EpisodeStore, rows: list[int], frames: int) -> None:
    images = stored(load_arrays(store, cache_bytes=frames * FRAME))
    assert images.cached == min(frames, ROWS)
    expected = store.rows(rows).images_NHWC
    for _ in range(3):
        np.testing.assert_array_equal(images[np.array(rows)], expected)


def test_a_cache_that_holds_all_images_decodes_each_once(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    images = stored(load_arrays(store))
    assert images.cached == ROWS
    first = images[np.arange(ROWS)]
    monkeypatch.setattr(EpisodeStore, "table", None)  # nothing is read from the store any more
    np.testing.assert_array_equal(images[np.arange(ROWS)], first)


def test_a_full_cache_takes_no_more_memory(store: EpisodeStore) -> None:
    cache = FrameCache(ROWS, (16, 16, 3), limit=4 * FRAME)
    image_HWC = np.ones((16, 16, 3), np.uint8)
    assert cache.unfilled_bytes == 4 * FRAME
    for row in (3, 3, 7, 1, 9, 11, 12):
        cache.keep(np.array([row]), [image_HWC])
    assert cache.unfilled_bytes == 0
    targets = np.zeros((4, 16, 16, 3), np.uint8)
    assert cache.copy_to(np.array([11, 3, 9, 12]), targets).tolist() == [0, 3]
    assert targets.any((1, 2, 3)).tolist() == [False, True, True, False]


def test_caches_share_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    before = promised_bytes()
    monkeypatch.setattr("soar.datasets.image_cache.available_bytes", lambda: before + 100 * FRAME)
    first = FrameCache(1000, (16, 16, 3))
    second = FrameCache(1000, (16, 16, 3))
    assert (first.capacity, second.capacity) == (50, 25)
    del first
    assert FrameCache(1000, (16, 16, 3)).capacity == 37
    assert 0 < available_bytes() < 1 << 50


def test_threads_that_read_at_once_get_what_they_asked_for(store: EpisodeStore) -> None:
    images = stored(load_arrays(store, cache_bytes=7 * FRAME))
    expected = store.rows(np.arange(ROWS)).images_NHWC
    rng = np.random.default_rng(0)
    draws = [rng.integers(ROWS, size=50) for _ in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for rows, found in zip(draws, pool.map(images.__getitem__, draws), strict=True):
            np.testing.assert_array_equal(found, expected[rows])


def test_a_selection_shares_the_cache_and_keeps_the_rows(store: EpisodeStore) -> None:
    arrays = load_arrays(store)
    for part in train_validation_split(arrays, 0.5, seed=0):
        for index, id in enumerate(part.ids):
            rows = np.arange(part.starts_E[index], part.starts_E[index] + part.lengths_E[index] + 1)
            np.testing.assert_array_equal(
                part.images_NHWC[rows],
                store.rows(store.episodes(f"id = '{id}'")[0].first_row + np.arange(len(rows))).images_NHWC,
            )


def test_batches_from_memory_and_from_the_store_are_the_same(store: EpisodeStore) -> None:
    streamed = load_arrays(store, cache_bytes=0)
    decoded = StepArrays(
        **{name: getattr(streamed, name) for name in StepArrays.__dataclass_fields__}
        | {"images_NHWC": store.rows(np.arange(ROWS)).images_NHWC}
    )
    batches = [
        Mixture([("a", HindsightSampler(arrays), 0.5), ("b", HindsightSampler(arrays, goals="delta"), 0.5)]).sample(
            np.random.default_rng(1), 64
        )
        for arrays in (streamed, decoded)
    ]
    for name in ("observation_BHWC", "goal_BHWC", "actions_BD", "rows_B", "source_B"):
        np.testing.assert_array_equal(getattr(batches[0], name), getattr(batches[1], name))


def test_what_is_appended_deleted_or_compacted_later_changes_nothing(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    for index in range(3):
        store.append(make_episode(f"e{index}", seed=index))
    images = stored(load_arrays(store, cache_bytes=0))
    before = images[np.arange(18)]
    store.delete("e0")
    store.append(make_episode("e3", seed=3))
    store.compact()
    np.testing.assert_array_equal(images[np.arange(18)], before)


def test_a_frame_of_another_size_is_named_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soar.datasets.image_cache._CHECKED", 1)
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append([make_episode("a", size=32), make_episode("b", size=16)])
    images = stored(load_arrays(store))
    with pytest.raises(StoreError, match="different sizes, 16x16 and 32x32 pixels"):
        images[np.array([3, 8])]


def test_a_frame_that_is_no_jpeg_is_named_when_it_is_read(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "s", mode="create")
    store.append(make_episode("a", steps=600))
    path = f"{tmp_path}/s/steps.lance"
    lance.dataset(path).update({"frame": "cast('broken' as binary)"}, where="step = 1")
    images = stored(load_arrays(store))
    with pytest.raises(StoreError, match="6 bytes is not a JPEG"):
        images[np.arange(600)]
