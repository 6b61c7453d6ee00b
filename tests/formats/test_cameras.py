"""Further cameras in datasets of other formats: kept both ways, or left behind with a word."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.errors import FormatError
from soar.formats import tfrecord
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.rlds_export import export_rlds
from soar.types import Episode
from tests.episodes.builders import make_episode
from tests.formats.datasets import assert_same, rlds_record, store_of_three, write_records, write_v21
from tests.formats.lerobot_folders import write_lerobot

SIZES = {"wrist": (24, 32), "side": (16, 16)}
FIXTURES = Path(__file__).parents[1] / "fixtures"


def several(id: str, *cameras: str, steps: int = 4, seed: int = 0) -> Episode:
    images = {}
    for number, name in enumerate(cameras, start=1):
        level = (50 * number + 10 * np.arange(steps + 1)).astype(np.uint8)[:, None, None, None]
        images[name] = np.broadcast_to(level, (steps + 1, *SIZES.get(name, (16, 16)), 3)).copy()
    return make_episode(id, steps=steps, size=32, seed=seed, extra_images=images)


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    made = EpisodeStore(tmp_path / "store", mode="create")
    made.append([several("a", "wrist", "side"), several("b", "wrist", "side", steps=6, seed=1)])
    return made


@pytest.fixture
def back(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "back", mode="create")


def levels(jpegs: tuple[bytes, ...]) -> list[int]:
    return [round(float(frames.decode(jpeg).mean())) for jpeg in jpegs]


def assert_cameras(read: EncodedEpisode, written: EncodedEpisode, *, equal: bool) -> None:
    assert sorted(read.extra_frames) == sorted(written.extra_frames)
    for name, jpegs in written.extra_frames.items():
        if equal:
            assert read.extra_frames[name] == jpegs
            continue
        assert [frames.size(jpeg) for jpeg in read.extra_frames[name]] == [frames.size(jpeg) for jpeg in jpegs]
        assert np.abs(np.subtract(levels(read.extra_frames[name]), levels(jpegs))).max() <= 3


@pytest.mark.parametrize("sidecar", [True, False])
def test_rlds_and_back_keeps_the_frames_of_all_cameras(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore, sidecar: bool
) -> None:
    folder = export_rlds(store, tmp_path / "out", shard_bytes=1)
    if not sidecar:
        (folder / "soar" / "episodes.parquet").unlink()
    assert import_episodes(open_rlds(folder, RLDSConfig()), back).imported == 2
    for record, other in zip(store.episodes(), back.episodes(), strict=True):
        read, written = back.read_encoded(other.id), store.read_encoded(record.id)
        assert_cameras(read, written, equal=True)
        assert read.frames == written.frames
        if sidecar:
            assert_same(read, written, frames_equal=True)


def test_rlds_says_every_camera_and_its_size(tmp_path: Path, store: EpisodeStore) -> None:
    folder = export_rlds(store, tmp_path / "out", camera="front")
    features = json.loads((folder / "features.json").read_text())["featuresDict"]["features"]
    seen = features["steps"]["sequence"]["feature"]["featuresDict"]["features"]["observation"]["featuresDict"]["features"]
    sizes = {name: seen[name]["image"]["shape"]["dimensions"] for name in ("front", "side", "wrist")}
    assert sizes == {"front": ["32", "32", "3"], "side": ["16", "16", "3"], "wrist": ["24", "32", "3"]}


@pytest.mark.parametrize("sidecar", [True, False])
def test_lerobot_and_back_keeps_the_frames_of_all_cameras(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore, sidecar: bool
) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec="h264")
    config = LeRobotConfig()  # the sidecar says which was the main one
    if not sidecar:
        (folder / "soar" / "episodes.parquet").unlink()
        with pytest.raises(FormatError, match="one of its cameras with --camera: image_0, side, wrist; the others come"):
            open_lerobot(folder, config)
        config = LeRobotConfig(camera="image_0")
    assert import_episodes(open_lerobot(folder, config), back).imported == 2
    for record, other in zip(store.episodes(), back.episodes(), strict=True):
        read, written = back.read_encoded(other.id), store.read_encoded(record.id)
        assert_cameras(read, written, equal=False)
        if sidecar:
            assert_same(read, written, frames_equal=False)


@pytest.mark.parametrize("video_bytes", [0, 10**9])
def test_lerobot_has_a_video_a_camera_with_the_same_episodes_in_it(
    tmp_path: Path, store: EpisodeStore, video_bytes: int
) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec="h264", video_bytes=video_bytes)
    info = json.loads((folder / "meta/info.json").read_text())
    keys = [f"observation.images.{name}" for name in ("image_0", "side", "wrist")]
    assert [name for name, feature in info["features"].items() if feature["dtype"] == "video"] == keys
    assert info["features"]["observation.images.wrist"]["shape"] == [24, 32, 3]
    assert set(keys) <= json.loads((folder / "meta/stats.json").read_text()).keys()
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for row in rows:
        for what in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"):
            assert len({row[f"videos/{key}/{what}"] for key in keys}) == 1
        assert f"stats/{keys[1]}/mean" in row
    for key in keys:
        assert len(list(folder.glob(f"videos/{key}/chunk-000/*.mp4"))) == (2 if video_bytes == 0 else 1)


def test_another_camera_may_be_the_main_one_and_the_others_still_come_along(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore
) -> None:
    folder = export_rlds(store, tmp_path / "out")
    import_episodes(open_rlds(folder, RLDSConfig(camera="wrist")), back)
    read, written = back.read_encoded("a"), store.read_encoded("a")
    assert read.frames == written.extra_frames["wrist"]
    assert read.extra_frames == {"image_0": written.frames, "side": written.extra_frames["side"]}


@pytest.mark.parametrize("format", ["lerobot", "rlds"])
def test_a_dataset_has_the_same_cameras_in_all_episodes_or_the_main_one_alone(
    tmp_path: Path, store: EpisodeStore, format: str
) -> None:
    export: Any = export_lerobot if format == "lerobot" else export_rlds
    store.append(make_episode("plain", size=32))
    with pytest.raises(FormatError, match=r"'plain' has the cameras main, and 'a' main, side, wrist; .*--no-other") as error:
        export(store, tmp_path / "out")
    assert "array_has(cameras, 'side')" in str(error.value)
    assert not (tmp_path / "out").exists()
    export(store, tmp_path / "some", where="array_has(cameras, 'side')")
    folder = export(store, tmp_path / "main", other_cameras=False)
    back = EpisodeStore(tmp_path / "back", mode="create")
    import_episodes(open_lerobot(folder, LeRobotConfig()) if format == "lerobot" else open_rlds(folder, RLDSConfig()), back)
    assert [record.cameras for record in back.episodes()] == [(), (), ()]


def test_a_further_camera_with_the_main_ones_name_is_refused(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "store", mode="create")
    store.append(several("a", "image_0"))
    with pytest.raises(FormatError, match=r"a further camera is called 'image_0'.*--camera"):
        export_rlds(store, tmp_path / "out")
    folder = export_rlds(store, tmp_path / "out", camera="image_1")
    back = EpisodeStore(tmp_path / "back", mode="create")
    import_episodes(open_rlds(folder, RLDSConfig()), back)  # the sidecar says which was the main one
    assert_same(back.read_encoded("a"), store.read_encoded("a"), frames_equal=True)
    assert_cameras(back.read_encoded("a"), store.read_encoded("a"), equal=True)


@pytest.mark.parametrize("format", ["lerobot", "rlds"])
def test_the_main_camera_alone_is_imported_where_nobody_wants_the_others(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore, format: str
) -> None:
    if format == "lerobot":
        dataset = open_lerobot(export_lerobot(store, tmp_path / "o", codec="h264"), LeRobotConfig(other_cameras=False))
    else:
        dataset = open_rlds(export_rlds(store, tmp_path / "o"), RLDSConfig(other_cameras=False))
    import_episodes(dataset, back)
    assert [record.cameras for record in back.episodes()] == [(), ()]


def test_a_camera_that_was_taken_out_after_the_export_is_noticed(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore
) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec="h264")
    info = json.loads((folder / "meta/info.json").read_text())
    del info["features"]["observation.images.wrist"]
    (folder / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(FormatError, match=r"its camera wrist is not in the dataset any more.*--no-other-cameras"):
        import_episodes(open_lerobot(folder, LeRobotConfig()), back)
    import_episodes(open_lerobot(folder, LeRobotConfig(other_cameras=False)), back)
    assert back.count() == 2


def rlds_of(folder: Path, *records: bytes, **options: Any) -> Any:
    write_records(folder / "d-train.tfrecord-00000-of-00001", *records)
    return open_rlds(folder, RLDSConfig(**options))


def images(seed: int, steps: int = 4) -> list[bytes]:
    return list(tfrecord.parse_example(rlds_record(steps, seed=seed), "")["steps/observation/image_0"])


def test_rlds_cameras_of_others_come_along_where_an_episode_has_them(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    both = {"steps__observation__image_1": images(7), "steps__observation__image_2": images(8)}
    deep = cv2.imencode(".png", np.full((8, 8), 3000, np.uint16))[1].tobytes()
    with caplog.at_level(logging.WARNING):
        dataset = rlds_of(
            tmp_path / "d",
            rlds_record(4, seed=1, **both),
            rlds_record(4, seed=2, **both, metadata={"has_image_2": False}),
            rlds_record(4, seed=3, **both, steps__observation__depth=[deep] * 4),
            rlds_record(4, seed=4, **both, steps__observation__depth=[deep] * 4),
        )
        import_episodes(dataset, back)
    assert [record.cameras for record in back.episodes()] == [
        ("image_1", "image_2"),
        ("image_1",),
        ("image_1", "image_2"),
        ("image_1", "image_2"),
    ]
    assert list(back.read_encoded(back.episodes()[0].id).extra_frames["image_1"]) == images(7)
    assert caplog.text.count("the camera depth is not imported: ") == 1


def test_a_further_camera_that_is_damaged_is_an_error_that_says_how_to_do_without(tmp_path: Path, back: EpisodeStore) -> None:
    broken = rlds_record(4, steps__observation__image_1=[*images(7)[:3], b"\xff\xd8broken"])
    with pytest.raises(FormatError, match=r"truncated JPEG\. That is the further camera image_1: --no-other-cameras"):
        import_episodes(rlds_of(tmp_path / "d", broken), back)
    assert import_episodes(rlds_of(tmp_path / "d", broken, other_cameras=False), back).imported == 1


def test_further_frames_move_with_the_others_when_a_latency_is_repaired(tmp_path: Path, back: EpisodeStore) -> None:
    record = rlds_record(
        5, steps__observation__image_1=images(7, 5), metadata={"file_path": "/lab/2021-05-01_10-00-00/raw/traj"}
    )
    import_episodes(rlds_of(tmp_path / "d", record, latency_shift="by-date"), back)
    assert list(back.read_encoded(back.episodes()[0].id).extra_frames["image_1"]) == images(7, 5)[1:]


def test_what_was_imported_without_further_cameras_stays_and_that_is_told(tmp_path: Path, back: EpisodeStore) -> None:
    record = rlds_record(4, steps__observation__image_1=images(7))
    import_episodes(rlds_of(tmp_path / "d", record, other_cameras=False), back)
    done = import_episodes(rlds_of(tmp_path / "d", record), back)
    assert (done.imported, done.present, len(done.fewer_cameras)) == (0, 1, 1)
    assert import_episodes(rlds_of(tmp_path / "d", record, other_cameras=False), back).present == 1


@pytest.mark.parametrize("config", [RLDSConfig(), LeRobotConfig()])
def test_a_dataset_of_one_camera_is_known_by_what_it_was_known_by_before(config: Any) -> None:
    assert "other_cameras" not in repr(config)
    assert repr(config) == repr(replace(config, other_cameras=False))


def test_the_released_writers_video_and_images_both_come_along(tmp_path: Path, back: EpisodeStore) -> None:
    import_episodes(open_lerobot(FIXTURES / "lerobot", LeRobotConfig(camera="front")), back)
    other = EpisodeStore(tmp_path / "other", mode="create")
    import_episodes(open_lerobot(FIXTURES / "lerobot", LeRobotConfig(camera="wrist")), other)
    for one, two in zip(back.episodes(), other.episodes(), strict=True):
        first, second = back.read_encoded(one.id), other.read_encoded(two.id)
        assert first.extra_frames == {"wrist": second.frames}
        assert second.extra_frames == {"front": first.frames}


def test_lerobot_v21_keeps_all_cameras(tmp_path: Path, back: EpisodeStore) -> None:
    source = EpisodeStore(tmp_path / "source", mode="create")
    source.append([several("a", "wrist"), several("b", "wrist", seed=1)])
    folder = write_v21(tmp_path / "old", source)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["observation.images.wrist"] = info["features"]["observation.images.front"]
    (folder / "meta/info.json").write_text(json.dumps(info))
    videos = folder / "videos/chunk-000"
    (videos / "observation.images.wrist").mkdir()
    for path in (videos / "observation.images.front").glob("*.mp4"):  # the same pictures, whatever their size
        (videos / "observation.images.wrist" / path.name).write_bytes(path.read_bytes())
    import_episodes(open_lerobot(folder, LeRobotConfig(camera="front")), back)
    for record in back.episodes():
        read = back.read_encoded(record.id)
        assert read.extra_frames == {"wrist": read.frames}


def test_a_depth_map_and_an_odd_name_stay_behind_with_a_word(
    tmp_path: Path, back: EpisodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    def info(said: dict[str, Any]) -> None:
        front = said["features"]["observation.images.front"]
        said["features"]["observation.images.depth"] = front | {"info": {"video.is_depth_map": True}}
        said["features"]["observation.images.a b"] = front

    folder = write_lerobot(tmp_path / "lr", [[0, 1, 2]], info=info)
    with caplog.at_level(logging.WARNING):
        import_episodes(open_lerobot(folder, LeRobotConfig(camera="front")), back)
    assert [record.cameras for record in back.episodes()] == [()]
    assert "the camera depth is not imported: it is a depth map" in caplog.text
    assert "the camera a b is not imported: a name is short and plain" in caplog.text


def test_a_store_of_one_camera_is_exported_as_ever(tmp_path: Path) -> None:
    folder = export_lerobot(store_of_three(tmp_path / "three"), tmp_path / "out", codec="h264")
    assert sorted(path.name for path in (folder / "videos").iterdir()) == ["observation.images.image_0"]
