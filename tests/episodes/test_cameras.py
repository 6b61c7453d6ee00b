"""Episodes of several cameras in a store."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest

from soar.datasets import load_arrays
from soar.episodes import EpisodeStore, schema
from soar.episodes.browsing import Browser
from soar.episodes.copying import merge, split
from soar.episodes.encoded import encode
from soar.episodes.identity import content_digest
from soar.episodes.integrity import examine, repair
from soar.errors import StoreError, UnknownNameError
from soar.fleet.episode_bytes import pack_episodes, unpack_episodes
from soar.fleet.spool import Spool
from soar.formats.splitting import split_at_instructions
from soar.formats.steps import INSTRUCTIONS
from soar.types import Episode
from tests.episodes.builders import make_episode

SIZES = {"wrist": (12, 20), "side": (8, 8)}


def several(id: str = "a", *cameras: str, steps: int = 5, **changes: Any) -> Episode:
    """An episode with further cameras, whose pictures show which camera and step they are of."""
    names = cameras or ("wrist", "side")
    images = {}
    for number, name in enumerate(names, start=1):
        levels = (40 * number + 5 * np.arange(steps + 1)).astype(np.uint8)[:, None, None, None]
        images[name] = np.broadcast_to(levels, (steps + 1, *SIZES.get(name, (8, 8)), 3)).copy()
    return make_episode(id, steps=steps, extra_images=images, **changes)


def levels(images_THWC: Any) -> list[int]:
    return np.asarray(images_THWC).mean((1, 2, 3)).round().astype(int).tolist()


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "s", mode="create")


def test_all_cameras_come_back_each_in_its_own_size(store: EpisodeStore) -> None:
    store.append([several("a"), make_episode("b"), several("c", "wrist")])
    for id, cameras in (("a", ["side", "wrist"]), ("b", []), ("c", ["wrist"])):
        episode = store.read(id)
        assert sorted(episode.extra_images) == cameras
        for name, images in episode.extra_images.items():
            assert images.shape == (6, *SIZES[name], 3)
    assert levels(store.read("a").extra_images["wrist"]) == [40, 45, 50, 55, 60, 65]
    assert levels(store.read("a").extra_images["side"]) == [80, 85, 90, 95, 100, 105]
    assert [record.cameras for record in store.episodes()] == [("side", "wrist"), (), ("wrist",)]
    assert store.cameras() == ["side", "wrist"]


def test_a_filter_selects_episodes_by_camera(store: EpisodeStore) -> None:
    store.append([several("a"), make_episode("b"), several("c", "wrist")])
    assert [record.id for record in store.episodes("array_has(cameras, 'wrist')")] == ["a", "c"]
    assert [record.id for record in store.episodes("cameras IS NULL")] == ["b"]


def test_who_does_not_ask_for_further_cameras_does_not_read_them(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append([several("a"), make_episode("b")])
    asked: list[str] = []
    for name in ("take", "scanner", "to_table"):
        plain = getattr(lance.LanceDataset, name)

        def noted(self: Any, *arguments: Any, plain: Any = plain, **options: Any) -> Any:
            columns = options.get("columns")
            asked.extend(self.schema.names if columns is None else columns)
            return plain(self, *arguments, **options)

        monkeypatch.setattr(lance.LanceDataset, name, noted)
    arrays = load_arrays(store)
    assert arrays.images_NHWC[np.arange(12)].shape == (12, 16, 16, 3)
    assert store.read("a", further=False).extra_images == {}
    assert store.rows([0, 7]).images_NHWC.shape == (2, 16, 16, 3)
    assert Browser(store.uri).encoded("a").extra_frames == {}
    assert "frame" in asked
    assert "extra_frames" not in asked
    store.read("b")  # has none
    assert "extra_frames" not in asked
    store.read("a")
    assert "extra_frames" in asked


def test_a_store_shows_a_further_camera_in_place_of_the_main_one(store: EpisodeStore) -> None:
    store.append([several("a"), several("b", "side", "wrist", steps=3)])
    shown = EpisodeStore(store.uri, camera="wrist")
    assert levels(shown.rows([9, 0, 3, 0]).images_NHWC) == [95, 40, 55, 40]
    assert shown.read("b").images_THWC.shape == (4, 12, 20, 3)
    assert shown.read("b").extra_images == {}
    arrays = load_arrays(shown)
    assert levels(arrays.images_NHWC[np.array([1, 6])]) == [45, 80]
    assert np.array_equal(arrays.states_ND, load_arrays(store).states_ND)
    with pytest.raises(StoreError, match="opened for its camera wrist and is read-only"):
        shown.append(make_episode("c"))


def test_a_camera_that_no_episode_has_is_an_error_with_those_that_there_are(store: EpisodeStore) -> None:
    store.append(several("a"))
    with pytest.raises(
        UnknownNameError, match=r"unknown camera 'wirst'; did you mean 'wrist'\? Valid choices: main, side, wrist"
    ):
        EpisodeStore(store.uri, camera="wirst")


def test_a_camera_that_some_episodes_lack_is_refused_with_the_filter_for_the_others(
    store: EpisodeStore, tmp_path: Path
) -> None:
    store.append([several("a"), make_episode("b"), make_episode("c")])
    shown = EpisodeStore(store.uri, camera="wrist")
    with pytest.raises(StoreError, match=r"2 of 3 episodes have no camera 'wrist', for example 'b', whose cameras are main\."):
        load_arrays(shown)
    with pytest.raises(StoreError, match="have no camera 'wrist'") as error:
        shown.read("b")
    where = "array_has(cameras, 'wrist')"
    assert where in str(error.value)
    assert len(load_arrays(shown, where).ids) == 1
    merge([store], tmp_path / "new", where=where)
    assert len(load_arrays(EpisodeStore(tmp_path / "new", camera="wrist")).ids) == 1


def older(store: EpisodeStore) -> EpisodeStore:
    """The store as the version before wrote it: it has no columns for further cameras."""
    lance.dataset(f"{store.uri}/episodes.lance").drop_columns(["cameras"])
    lance.dataset(f"{store.uri}/steps.lance").drop_columns(["extra_frames"])
    for table in ("episodes", "steps"):
        lance.dataset(f"{store.uri}/{table}.lance").update_schema_metadata({schema.VERSION_KEY.decode(): "1.2"})
    return EpisodeStore(store.uri)


def test_a_store_of_an_older_format_is_read_as_before_and_takes_further_cameras(store: EpisodeStore) -> None:
    store.append(make_episode("before"))
    old = older(store)
    version = old.version
    assert (old.read("before").extra_images, old.cameras()) == ({}, [])
    assert [record.cameras for record in old.episodes()] == [()]
    with pytest.raises(UnknownNameError, match="Valid choices: main"):
        EpisodeStore(store.uri, camera="wrist")
    old.append(make_episode("plain"))
    assert "extra_frames" not in lance.dataset(f"{store.uri}/steps.lance").schema.names  # what an older SOAR reads, too
    old.append(several("with"))
    old.append(make_episode("after"))
    for reader in (old, EpisodeStore(store.uri)):
        assert [sorted(reader.read(record.id).extra_images) for record in reader.episodes()] == [[], [], ["side", "wrist"], []]
    assert [record.id for record in EpisodeStore(store.uri, version=version).episodes()] == ["before"]
    old.compact()
    assert levels(old.read("with").extra_images["wrist"]) == [40, 45, 50, 55, 60, 65]
    assert examine(store.uri, check_frames=True) == []


def test_two_writers_give_an_old_store_its_columns_at_the_same_moment(store: EpisodeStore) -> None:
    store.append(make_episode("before"))
    writers = [older(store), EpisodeStore(store.uri), EpisodeStore(store.uri)]
    together, failed = threading.Barrier(3), []

    def write(number: int) -> None:
        together.wait()
        try:
            writers[number].append(several(f"w{number}") if number else make_episode("w0"))
        except Exception as error:  # noqa: BLE001 - which the test shows
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    found = {record.id: record.cameras for record in EpisodeStore(store.uri).episodes()}
    assert found == {"before": (), "w0": (), "w1": ("side", "wrist"), "w2": ("side", "wrist")}
    assert examine(store.uri, check_frames=True) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"main": (b"",) * 6}, "'main' is no name of a further camera"),
        ({"a/b": None}, "'a/b' is no name"),
        ({"wrist": 5}, "5 actions need 6 frames of camera wrist, got 5"),
        ({"wrist": (b"x",) * 6}, "camera wrist: the frame of step 0 is not a JPEG"),
        ({"wrist": "sizes"}, "camera wrist: the frame of step 5 has another size"),
    ],
)
def test_frames_that_are_not_those_of_a_camera_are_refused(store: EpisodeStore, change: dict[str, Any], message: str) -> None:
    whole = encode(several("a"))
    jpegs = whole.extra_frames["wrist"]
    meant = {None: jpegs, 5: jpegs[:5], "sizes": (*jpegs[:5], whole.extra_frames["side"][0])}
    frames = {name: meant.get(value, value) if not isinstance(value, tuple) else value for name, value in change.items()}
    with pytest.raises(StoreError, match=message):
        store.append(replace(whole, extra_frames=frames))
    assert store.count() == 0


def test_images_of_a_camera_that_are_none_are_refused(store: EpisodeStore) -> None:
    with pytest.raises(StoreError, match="images must be uint8 RGB"):
        store.append(make_episode("a", extra_images={"wrist": np.zeros((6, 4, 4), np.uint8)}))
    with pytest.raises(ValueError, match="5 actions need 6 images of camera wrist, got 4"):
        make_episode("a", extra_images={"wrist": np.zeros((4, 4, 4, 3), np.uint8)})


def test_a_merge_and_a_split_keep_every_episodes_own_cameras(tmp_path: Path) -> None:
    one, other = (EpisodeStore(tmp_path / name, mode="create") for name in ("one", "other"))
    one.append([make_episode("a"), several("b")])
    other.append([several("c", "top"), several("d", "wrist")])
    merge([one, other], tmp_path / "both")
    both = EpisodeStore(tmp_path / "both")
    assert [record.cameras for record in both.episodes()] == [(), ("side", "wrist"), ("top",), ("wrist",)]
    assert encode(both.read("b")).extra_frames.keys() == {"side", "wrist"}
    assert both.read_encoded("c").extra_frames == other.read_encoded("c").extra_frames
    split(both, tmp_path / "first", tmp_path / "second", fraction=0.5)
    parts = [record for name in ("first", "second") for record in EpisodeStore(tmp_path / name).episodes()]
    assert sorted(len(record.cameras) for record in parts) == [0, 1, 1, 2]


def test_an_episode_that_is_there_with_fewer_cameras_stays_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = encode(several("a"))
    plain = replace(whole, extra_frames={})
    assert content_digest(whole) == content_digest(plain)
    one, other = (EpisodeStore(tmp_path / name, mode="create") for name in ("one", "other"))
    one.append(plain)
    other.append(whole)
    with caplog.at_level(logging.WARNING):
        merge([other], one.uri)
    assert [record.cameras for record in one.episodes()] == [()]
    assert "1 episodes were there already, and lack cameras that the others have, for example 'a'" in caplog.text
    assert "delete them there to copy them with their cameras" in caplog.text


def test_a_store_is_examined_for_the_frames_of_all_cameras(store: EpisodeStore) -> None:
    store.append([several("whole"), several("short"), several("torn")])
    steps = lance.dataset(f"{store.uri}/steps.lance")
    rows = steps.to_table().to_pylist()
    for row in rows:
        if row["episode"] == "short" and row["step"] == 2:
            row["extra_frames"] = row["extra_frames"][:1]
        if row["episode"] == "torn" and row["step"] == 1:
            row["extra_frames"][0]["frame"] = b"torn"
    lance.write_dataset(pa.Table.from_pylist(rows, schema.STEPS), f"{store.uri}/steps.lance", mode="overwrite")
    assert examine(store.uri) == []
    found = examine(store.uri, check_frames=True)
    assert {finding.episode: finding.detail for finding in found} == {
        "short": "the frames of further cameras at step 2 are not those of side, wrist",
        "torn": "a frame of a further camera at step 1 is not a JPEG",
    }
    with pytest.raises(StoreError, match="episode 'short' lacks frames of its camera wrist; the store is damaged"):
        EpisodeStore(store.uri).read("short")
    repair(store.uri, found)
    assert [record.id for record in EpisodeStore(store.uri).episodes()] == ["whole"]


def test_a_fleets_robot_delivers_all_cameras(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 100)
    spool.append(several("a"))
    (one,) = unpack_episodes(spool.waiting()[0].read_bytes(), most=1)
    assert one.extra_frames == encode(several("a")).extra_frames


def test_a_fleet_of_two_versions_understands_what_it_can() -> None:
    """Without further cameras the bytes are those of the version before; with them, that version refuses the columns."""
    plain, with_cameras = (pack_episodes([encode(one)]) for one in (make_episode("a"), several("a")))
    for data, names in ((plain, False), (with_cameras, True)):
        length = int.from_bytes(data[:8], "big")
        columns = [pa.ipc.open_stream(part).schema.names for part in (data[8 : 8 + length], data[8 + length :])]
        assert ("cameras" in columns[0], "extra_frames" in columns[1]) == (names, names)
        assert len(unpack_episodes(data, most=1)) == 1


def test_the_parts_of_an_episode_have_their_own_frames_of_every_camera() -> None:
    whole = replace(encode(several("a")), origin={INSTRUCTIONS: [[0, "one"], [2, "two"]]})
    first, second = split_at_instructions(whole)
    assert first.extra_frames["wrist"] == whole.extra_frames["wrist"][:3]
    assert second.extra_frames["side"] == whole.extra_frames["side"][2:]
