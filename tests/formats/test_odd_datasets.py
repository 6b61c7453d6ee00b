"""Datasets as they are out there: each kind is read right, or refused with the reason."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soar.episodes import EpisodeStore
from soar.episodes.copying import merge
from soar.episodes.encoded import EncodedEpisode, encode
from soar.episodes.integrity import examine
from soar.errors import FormatError
from soar.formats import tfrecord
from soar.formats.detecting import format_of
from soar.formats.importing import Imported, import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.steps import Dataset, Unsaid
from soar.formats.vector_maps import VectorConfig
from tests.episodes.builders import judged, make_episode

from .datasets import rlds_record, store_of_three, write_raw, write_records, write_v21

FIXTURES = Path(__file__).parents[1] / "fixtures"
SHARD = "x-train.tfrecord-00000-of-00001"


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "store", mode="create")


def rlds(folder: Path, *records: bytes, **config: Any) -> Dataset:
    write_records(folder / SHARD, *records)
    return open_rlds(folder, RLDSConfig(**config))


def only(store: EpisodeStore) -> EncodedEpisode:
    (record,) = store.episodes()
    return store.read_encoded(record.id)


# Two datasets with one name. Each maker writes a dataset whose content depends on a number, below the same names.


def _raw(folder: Path, number: int) -> Dataset:
    write_raw(folder / "collected" / "traj0", steps=4)
    np.lib.format.write_array((folder / "collected/traj0/eef_poses.npy").open("wb"), np.full((4, 7), 0.1 * number))
    return open_raw(folder / "collected", RawConfig())


def _rlds(folder: Path, number: int) -> Dataset:
    return rlds(folder / "1.0.0", rlds_record(4, seed=number))


def _rlds_text(folder: Path, number: int) -> Dataset:
    return rlds(folder / "1.0.0", rlds_record(4, steps__language_instruction=[b"open it %d" % number] * 4))


def _rlds_goal(folder: Path, number: int) -> Dataset:
    goals = tfrecord.parse_example(rlds_record(1, seed=number), "")["steps/observation/image_0"]
    return rlds(folder / "1.0.0", rlds_record(4, goals=list(goals) * 4))  # type: ignore[arg-type]


def _lerobot_v21(folder: Path, number: int) -> Dataset:
    source = EpisodeStore(folder / "store", mode="open_or_create")
    if not source.count():
        source.append(make_episode("x", steps=4, size=32, seed=number))
        write_v21(folder / "pick_cube", source)
    return open_lerobot(folder / "pick_cube", LeRobotConfig())


@pytest.mark.parametrize("make", [_raw, _rlds, _rlds_text, _rlds_goal, _lerobot_v21])
def test_two_datasets_of_one_name_are_both_stored_and_known_again(
    tmp_path: Path, store: EpisodeStore, make: Callable[[Path, int], Dataset]
) -> None:
    def again(number: int) -> Imported:
        folder = tmp_path / f"lab_{number}"
        if make is _raw and folder.exists():
            return import_episodes(open_raw(folder / "collected", RawConfig()), store)
        return import_episodes(make(folder, number), store)

    assert (again(1).imported, again(1).imported) == (1, 0)
    second = again(2)
    ((taken, id),) = second.renamed
    assert (second.imported, id.partition("~")[0]) == (1, taken)
    assert store.episodes()[1].origin["renamed_from"] == taken
    contents = [store.read_encoded(record.id) for record in store.episodes()]
    for number in (1, 2):
        own = EpisodeStore(tmp_path / f"own-{number}", mode="create")
        folder = tmp_path / f"lab_{number}"
        import_episodes(open_raw(folder / "collected", RawConfig()) if make is _raw else make(folder, number), own)
        alone = only(own)
        assert contents[number - 1].frames == alone.frames
        assert contents[number - 1].states_TD.tobytes() == alone.states_TD.tobytes()
        assert (contents[number - 1].instruction, contents[number - 1].subgoals) == (alone.instruction, alone.subgoals)
        repeated = again(number)
        assert (repeated.imported, repeated.present, repeated.renamed) == (0, 1, ())


def test_what_is_known_by_its_source_is_not_read_again(tmp_path: Path, store: EpisodeStore) -> None:
    def known(dataset: Dataset) -> Dataset:
        def unread() -> EncodedEpisode:
            raise AssertionError("read again")

        return replace(dataset, episodes=[replace(found, read=unread) for found in dataset.episodes])

    makers = (
        lambda: _rlds(tmp_path / "a", 1),
        lambda: _lerobot_v21(tmp_path / "b", 1),
        lambda: open_raw(tmp_path / "c", RawConfig()),
    )
    write_raw(tmp_path / "c" / "traj0", steps=4)
    for make in makers:
        assert import_episodes(make(), store).imported == 1
        assert import_episodes(known(make()), store).present == 1


def test_another_camera_of_the_same_record_is_another_episode(tmp_path: Path, store: EpisodeStore) -> None:
    images = tfrecord.parse_example(rlds_record(4, seed=7), "")["steps/observation/image_0"]
    record = rlds_record(4, steps__observation__image_1=list(images))
    assert import_episodes(rlds(tmp_path / "d", record), store).imported == 1
    done = import_episodes(rlds(tmp_path / "d", record, camera="image_1"), store)
    assert (done.imported, len(done.renamed)) == (1, 1)
    named = import_episodes(rlds(tmp_path / "d", record, unsaid=Unsaid(policy="human")), store)
    assert (named.imported, named.present) == (0, 1), "who acted is no other content"


def test_a_verdict_that_changed_is_said(tmp_path: Path, store: EpisodeStore) -> None:
    import_episodes(rlds(tmp_path / "d", rlds_record(4, metadata={"success": True})), store)
    done = import_episodes(rlds(tmp_path / "d", rlds_record(4, metadata={"success": False})), store)
    assert (done.imported, done.present, len(done.other_labels)) == (0, 1, 1)


def test_what_an_earlier_version_imported_from_a_video_is_known_again(tmp_path: Path, store: EpisodeStore) -> None:
    _lerobot_v21(tmp_path / "lab", 1)
    import_episodes(open_lerobot(tmp_path / "lab/pick_cube", LeRobotConfig()), store)
    new = store.read(store.episodes()[0].id)
    darker = replace(new, images_THWC=np.maximum(new.images_THWC.astype(int) - 1, 0).astype(np.uint8))
    old = EpisodeStore(tmp_path / "old", mode="create")
    old.append(replace(encode(darker), origin={"format": "lerobot"}))
    done = import_episodes(open_lerobot(tmp_path / "lab/pick_cube", LeRobotConfig()), old)
    assert (done.imported, done.present) == (0, 1)


def test_merging_a_renamed_episode_on_keeps_its_names_apart(tmp_path: Path, store: EpisodeStore) -> None:
    other = EpisodeStore(tmp_path / "other", mode="create")
    store.append(make_episode("a", seed=1))
    other.append(make_episode("a", seed=2, labels=(judged(True),)))
    assert merge([other], store.uri).copied == 1
    third = tmp_path / "third"
    assert [merge(sources, third).copied for sources in ([store], [other], [store, other])] == [2, 0, 0]
    assert examine(str(third), check_frames=True) == []


# Cameras that an episode does not have.


@pytest.mark.parametrize(
    ("flag", "value", "camera", "words"),
    [
        (
            "episode_metadata/has_image_0",
            [0],
            "image_0",
            r"episode_metadata/has_image_0 is 0: .*pictures of image_1: --camera image_1",
        ),
        (
            "episode_metadata/has_image_1",
            [0],
            "image_1",
            r"there was no camera image_1, and what steps/observation/image_1 holds are no pictures.*--camera image_0",
        ),
        ("episode_metadata/has_image_1", [b"False"], "image_1", "has_image_1 is 0"),
        ("steps/observation/has_image_1", [1, 1, 0, 1], "image_1", r"steps/observation/has_image_1 is 0 at step 2"),
    ],
)
def test_the_flags_of_every_camera_are_honoured(
    tmp_path: Path, store: EpisodeStore, flag: str, value: list[Any], camera: str, words: str
) -> None:
    images = tfrecord.parse_example(rlds_record(4), "")["steps/observation/image_0"]
    feature = value if isinstance(value[0], bytes) else np.array(value)
    changes = {flag.replace("/", "__"): feature, "steps__observation__image_1": list(images)}
    record = rlds_record(4, metadata={"has_image_2": True, "has_language": True}, **changes)
    with pytest.raises(FormatError, match=words):
        import_episodes(rlds(tmp_path / "d", record, camera=camera), store)
    done = import_episodes(rlds(tmp_path / "d", record, rlds_record(4, seed=1), camera=camera), store, skip_bad=True)
    assert (len(done.bad), done.imported) == (1 if camera == "image_0" else 2, 1 if camera == "image_0" else 0)


def test_filler_instead_of_images_and_goals_is_no_picture(tmp_path: Path, store: EpisodeStore) -> None:
    with pytest.raises(FormatError, match=r"an image is empty, 0 bytes; is there such a camera"):
        import_episodes(rlds(tmp_path / "a", rlds_record(4, steps__observation__image_0=[b""] * 4)), store)
    with pytest.raises(FormatError, match=r"offset 0.*neither JPEG nor PNG"):
        import_episodes(rlds(tmp_path / "b", rlds_record(4, goals=[b"x"] * 4)), store)
    import_episodes(rlds(tmp_path / "c", rlds_record(4, goals=[b""] * 4)), store)
    assert only(store).subgoals == ()


def test_a_depth_camera_is_refused_or_scaled(tmp_path: Path) -> None:
    folder = tmp_path / "lr"
    source = EpisodeStore(tmp_path / "source", mode="create")
    source.append(make_episode("x", steps=4, size=32))
    write_v21(folder, source)
    info = json.loads((folder / "meta/info.json").read_text(encoding="utf-8"))
    info["features"]["observation.images.front"]["info"]["video.is_depth_map"] = True
    (folder / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(FormatError, match=r"front is a depth map .*--camera, or name the values .*--image-range"):
        open_lerobot(folder, LeRobotConfig())
    assert open_lerobot(folder, LeRobotConfig(image_range=(0.0, 255.0))).count == 1


# Language and success.


@pytest.mark.parametrize(
    ("changes", "instruction"),
    [
        ({"steps__language_instruction": [b"None"] * 4}, ""),
        ({"steps__language_instruction": [b"\xef\xbb\xbfopen it\0\0"] * 4}, "open it"),
        ({"steps__language_instruction": [b""] * 2 + ["打开".encode()] * 2}, "打开"),
        ({"steps__language_instruction": [b"open it"]}, "open it"),
        ({"steps__language_instruction": None}, ""),
        (
            {"steps__language_instruction": None, "steps__observation__natural_language_instruction": [b"open it"] * 4},
            "open it",
        ),
        ({"episode_metadata__has_language": np.array([0])}, ""),
        ({"episode_metadata__has_language": np.array([], np.int64)}, "put the corn in the pot"),
    ],
)
def test_the_instruction_of_a_record_is_what_was_meant(
    tmp_path: Path, store: EpisodeStore, changes: dict[str, Any], instruction: str
) -> None:
    import_episodes(rlds(tmp_path / "d", rlds_record(4, **changes)), store)
    assert only(store).instruction == instruction


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps__language_instruction": [b"caf\xe9"] * 4}, "steps/language_instruction: the text .* is not UTF-8"),
        ({"steps__language_instruction": [b"a\0b"] * 4}, "holds a NUL"),
        ({"steps__language_instruction": [b"a"] * 3}, "has 3 texts, and there are 4 images"),
        ({"steps__language_instruction": np.zeros(4, np.int64)}, "language_instruction holds 1 x int64 a step, and no texts"),
        ({"steps__goal": [b"x"] * 3}, "steps/goal has 3 values, and there are 4 images"),
        ({"steps__observation__image_0": None, "steps__observation__wrist": [b"\xff\xd8"] * 4}, "Pictures are in wrist: --cam"),
        ({"steps__is_terminal": np.array([0, 1, 0, 0])}, "is_terminal is set at step 1, and the episode goes on to step 3"),
        ({"steps__is_terminal": np.array([0, 1, 0, 1])}, "is_terminal is set at step 1, and the episode goes on to step 3"),
        ({"steps__reward": np.zeros(5, np.float32)}, "steps/reward has 5 values, and there are 4 images"),
        ({"episode_metadata__success": [b"perhaps"]}, "episode_metadata/success must say True or False"),
    ],
)
def test_a_record_whose_texts_and_counts_do_not_fit_is_refused(
    tmp_path: Path, store: EpisodeStore, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(FormatError, match=words):
        import_episodes(rlds(tmp_path / "d", rlds_record(4, **changes)), store)


def test_a_terminal_state_that_lasts_is_kept_and_said(
    tmp_path: Path, store: EpisodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    import_episodes(rlds(tmp_path / "d", rlds_record(4, steps__is_terminal=np.array([0, 0, 1, 1]))), store)
    assert len(only(store).frames) == 4
    assert "is_terminal is set from step 2 on, to the last, 3; all are kept" in caplog.text


@pytest.mark.parametrize(
    ("value", "success"),
    [([1], True), ([0], False), ([], None), ([-1], None), ([b"True"], True), ([b""], None), ([b"None"], None)],
)
def test_the_verdict_of_a_record_is_its_own_or_unknown(
    tmp_path: Path, store: EpisodeStore, value: list[Any], success: bool | None
) -> None:
    feature = value if value and isinstance(value[0], bytes) else np.array(value, np.int64)
    import_episodes(rlds(tmp_path / "d", rlds_record(4, episode_metadata__success=feature)), store)
    assert store.episodes()[0].success is success


def test_several_instructions_are_kept_and_the_episode_is_split_on_request(tmp_path: Path, store: EpisodeStore) -> None:
    texts = [b"", b"open it", b"open it", b"", b"close it", b"close it", b"wait"]
    goals = tfrecord.parse_example(rlds_record(2, seed=5), "")["steps/observation/image_0"]
    record = rlds_record(
        7, steps__language_instruction=texts, metadata={"success": True}, goals=[goals[0]] * 2 + [goals[1]] * 5
    )  # type: ignore[list-item]
    done = import_episodes(rlds(tmp_path / "d", record), store)
    whole = only(store)
    assert done.several == (whole.id,)
    assert (whole.instruction, whole.origin["instructions"]) == ("open it", [[0, "open it"], [4, "close it"], [6, "wait"]])

    parts_store = EpisodeStore(tmp_path / "parts", mode="create")
    for imported, present in ((2, 0), (0, 1)):
        done = import_episodes(rlds(tmp_path / "d", record), parts_store, split=True)
        assert (done.imported, done.present, done.several) == (imported, present, ())
    opened, closed = (parts_store.read_encoded(f"{whole.id}-part-{number}") for number in (0, 1))
    assert (opened.instruction, closed.instruction) == ("open it", "close it")
    assert opened.frames + closed.frames[1:] == whole.frames
    np.testing.assert_array_equal(np.concatenate([opened.actions_TD, closed.actions_TD]), whole.actions_TD)
    np.testing.assert_array_equal(closed.states_TD, whole.states_TD[4:])
    np.testing.assert_array_equal(np.array(opened.origin["final_action"], np.float32), whole.actions_TD[4])
    assert [step for step, _ in opened.subgoals] == [0, 2]
    assert [step for step, _ in closed.subgoals] == [0]
    assert closed.subgoals[0][1] == opened.subgoals[1][1]
    assert (opened.labels, [label.success for label in closed.labels]) == ((), [True])


def test_other_wordings_of_one_task_are_kept(tmp_path: Path, store: EpisodeStore) -> None:
    record = rlds_record(4, steps__language_instruction_2=[b"open the drawer"] * 4, steps__language_instruction_3=[b""] * 4)
    import_episodes(rlds(tmp_path / "d", record), store)
    assert only(store).origin["other_wordings"] == ["open the drawer"]


# LeRobot's tasks, whose file has many shapes.


def _lerobot(folder: Path) -> Path:
    """A v3.0 dataset of two episodes with an instruction each."""
    source = EpisodeStore(folder / "source", mode="create")
    source.append([make_episode(id, steps=4, size=32, instruction=id) for id in ("open it", "close it")])
    out = export_lerobot(source, folder / "lr", codec="h264")
    (out / "soar/episodes.parquet").unlink()
    return out


NAMES = ["open it", "close it"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (pa.table({"task_index": [0, 1], "task": NAMES}), NAMES),
        (pa.table({"task_index": [0, 1], "category": ["a", "b"], "task": NAMES}), NAMES),
        (pa.table({"task_index": [0, 1], "category": ["a", "b"], "__index_level_0__": NAMES}), NAMES),
        (pa.table({"task_index": [0, 1], "words": pa.array(NAMES).dictionary_encode()}), NAMES),
        (pa.table({"task_index": [0, 1], "task": pa.array(NAMES, pa.large_string())}), NAMES),
        (pa.table({"task_index": [0, 1], "task": pa.array(NAMES, pa.string_view())}), NAMES),
        (pa.table({"task_index": [0, 1], "task": ["\ufeffput\u2028it", None]}), ["put\u2028it", ""]),
        (pa.table({"task_index": [0, 1], "a": ["a", "b"], "b": NAMES}), "must have a column task_index"),
        (pa.table({"task_index": [0, 0], "task": NAMES}), "task 0 is both 'open it' and 'close it'"),
        (pa.table({"task_index": [0], "task": NAMES[:1]}), r"task_index is 1, and the tasks in meta/ are 0 to 0 \(1\)"),
        (pa.table({"task_index": [0, 1], "task": ["a\0b", "c"]}), "task 0: the text .* holds a NUL"),
    ],
)
def test_tasks_of_any_shape_are_read_or_refused(
    tmp_path: Path, store: EpisodeStore, table: pa.Table, expected: list[str] | str
) -> None:
    folder = _lerobot(tmp_path)
    pq.write_table(table, folder / "meta/tasks.parquet")
    if isinstance(expected, str):
        with pytest.raises(FormatError, match=expected):
            import_episodes(open_lerobot(folder, LeRobotConfig()), store)
        return
    import_episodes(open_lerobot(folder, LeRobotConfig()), store)
    assert [record.instruction for record in store.episodes()] == expected


def test_lines_of_tasks_end_at_newlines_only(tmp_path: Path, store: EpisodeStore) -> None:
    _lerobot_v21(tmp_path, 1)
    tasks = tmp_path / "pick_cube/meta/tasks.jsonl"
    for text, read in (("put\u2028it\x85now", "put\u2028it\x85now"), (None, "")):
        line = json.dumps({"task_index": 0, "task": text}, ensure_ascii=False)
        tasks.write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n")
        target = EpisodeStore(tmp_path / f"to-{read[:3]}", mode="create")
        import_episodes(open_lerobot(tmp_path / "pick_cube", LeRobotConfig()), target)
        assert only(target).instruction == read


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("next.success", pa.array([True] * 4 + [None], pa.bool_()), None),
        ("next.success", pa.array([False] * 4 + [True]), True),
        ("next.success", pa.array([[False]] * 5), False),
        ("task_index", pa.array([0, 0, 1, 1, 1]), [[0, "open it"], [2, "close it"]]),
        ("task_index", pa.array([None] * 5, pa.int64()), ""),
        ("task_index", pa.array([-1] * 5), ""),
    ],
)
def test_what_the_rows_of_an_episode_say_of_task_and_success(
    tmp_path: Path, store: EpisodeStore, column: str, values: pa.Array, expected: Any
) -> None:
    folder = _lerobot(tmp_path)
    rows = folder / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(rows).drop_columns(["soar/success"]), rows)
    path = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    whole = pa.chunked_array([values, values]).cast(values.type)
    place = table.column_names.index(column) if column in table.column_names else None
    pq.write_table(table.append_column(column, whole) if place is None else table.set_column(place, column, whole), path)
    import_episodes(open_lerobot(folder, LeRobotConfig()), store, limit=1)
    (record,) = store.episodes()
    if column == "next.success":
        assert record.success is expected
    else:
        assert (record.origin["instructions"] if isinstance(expected, list) else record.instruction) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("language_task", b"\xef\xbb\xbfopen it\r\n", "open it"),
        ("language_task", b"None", ""),
        ("language_task", "open it".encode("utf-16"), "is not UTF-8"),
        ("language_task", b"open\0 it", "holds a NUL"),
        ("success", b"\xef\xbb\xbfTrue", True),
        ("success", b"None", None),
        ("success", b"0", False),
        ("success", b"maybe", "must say True or False"),
    ],
)
def test_texts_of_a_raw_folder(tmp_path: Path, store: EpisodeStore, name: str, content: bytes, expected: Any) -> None:
    write_raw(tmp_path / "raw/traj0", steps=4)
    (tmp_path / f"raw/traj0/{name}.txt").write_bytes(content)
    dataset = open_raw(tmp_path / "raw", RawConfig())
    if isinstance(expected, str) and " " in expected and expected != "open it":
        with pytest.raises(FormatError, match=rf"{name}.txt.*{expected}"):
            import_episodes(dataset, store)
        return
    import_episodes(dataset, store)
    (record,) = store.episodes()
    assert (record.success if name == "success" else record.instruction) == expected


def test_the_other_text_of_a_raw_folder_is_kept(tmp_path: Path, store: EpisodeStore) -> None:
    write_raw(tmp_path / "raw/traj0", steps=4)
    (tmp_path / "raw/traj0/language_text.txt").write_text("open the drawer")
    import_episodes(open_raw(tmp_path / "raw", RawConfig()), store)
    assert (only(store).instruction, only(store).origin["other_wordings"]) == ("put the corn in the pot", ["open the drawer"])


# How records are packed, and what they are called.


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        (SHARD, gzip.compress),
        (SHARD + ".gz", gzip.compress),
        ("x-train.tfrecord.gz", gzip.compress),
        (SHARD, zlib.compress),
        (SHARD, lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:])),
        (SHARD, lambda data: gzip.compress(data) + b"\0" * 512),
    ],
)
def test_packed_shards_are_read(tmp_path: Path, store: EpisodeStore, name: str, pack: Callable[[bytes], bytes]) -> None:
    plain = write_records(tmp_path / "plain" / SHARD, *(rlds_record(3, seed=seed) for seed in range(3)))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_bytes(pack(plain.read_bytes()))
    assert format_of(tmp_path / "d") == "rlds"
    dataset = open_rlds(tmp_path / "d", RLDSConfig(splits=("train",)))
    assert import_episodes(dataset, store).imported == 3
    own = EpisodeStore(tmp_path / "own", mode="create")
    import_episodes(open_rlds(tmp_path / "plain", RLDSConfig()), own)
    for packed, unpacked in zip(store.episodes(), own.episodes(), strict=True):
        assert store.read_encoded(packed.id).frames == own.read_encoded(unpacked.id).frames


@pytest.mark.parametrize("cut", [30, 1])
def test_a_packed_shard_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, store: EpisodeStore, cut: int) -> None:
    path = write_records(tmp_path / "d" / SHARD, *(rlds_record(3, seed=seed) for seed in range(3)))
    path.write_bytes(gzip.compress(path.read_bytes())[:-cut])
    done = import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store, skip_bad=True)
    assert done.imported >= 2
    assert "damaged or the file is truncated" in done.bad[-1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x-train.array_record-00000-of-00002", b"x", "1 files of array_record, .*convert_format --dataset_version_dir="),
        ("x-train.riegeli-00000-of-00002", b"x", "1 files of riegeli"),
        (SHARD, b"\x28\xb5\x2f\xfd" + b"x" * 20, "packed by zstd, and this reads gzip and zlib"),
        ("features.json", b"{}", r"holds no \.tfrecord file"),
    ],
)
def test_other_files_of_records_are_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=words):
        open_rlds(tmp_path, RLDSConfig())


def test_a_dictionary_of_actions_is_refused_with_a_map_that_fits(tmp_path: Path, store: EpisodeStore) -> None:
    whole = tfrecord.parse_example(rlds_record(4), "")["steps/action"].reshape(4, 7)  # type: ignore[union-attr]
    opened = np.array([1, 1, 0, 0])
    parts = {
        "world_vector": whole[:, :3],
        "rotation_delta": whole[:, 3:6],
        "open_gripper": opened,
        "terminate": np.zeros((4, 3)),
    }
    record = rlds_record(4, steps__action=None, **{f"steps__action__{name}": part for name, part in parts.items()})
    with pytest.raises(FormatError, match=r"open_gripper \(1 x int64 a step\).*world_vector \(3 x float32 a step\)") as error:
        import_episodes(rlds(tmp_path / "d", record), store)
    text = str(error.value).partition("--action-map ")[2].partition(". ")[0]
    import_episodes(rlds(tmp_path / "d", record, vectors=VectorConfig(action_map=text)), store)
    read = only(store)
    np.testing.assert_array_equal(read.actions_TD[:, :6], whole[:3, :6])
    np.testing.assert_array_equal(read.actions_TD[:, 6], opened[:3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"steps__observation__state": np.zeros((4, 8), np.float32)},
            r"state has 8 numbers a step, 7 are needed .*--state-map x=0",
        ),
        ({"steps__action": np.zeros((4, 14), np.float32)}, r"steps/action has 14 numbers a step, 7 are needed .*--action-map"),
        ({"steps__action": np.zeros((4, 7), np.int64)}, r"no steps/action of floats, it holds 7 x int64 a step"),
        ({"steps__action": [b"\0" * 56] * 4}, r"no steps/action of floats, it holds 1 x bytes a step"),
    ],
)
def test_vectors_of_another_kind_are_refused_with_what_they_are(
    tmp_path: Path, store: EpisodeStore, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(FormatError, match=words):
        import_episodes(rlds(tmp_path / "d", rlds_record(4, **changes)), store)


def test_episodes_without_text_that_an_earlier_version_stored_as_null_are_read(tmp_path: Path) -> None:
    store = store_of_three(tmp_path / "old")
    lance.dataset(f"{store.uri}/episodes.lance").update({"instruction": "null"}, where="id = 'run-a'")
    assert {record.id: record.instruction for record in store.episodes()}["run-a"] == ""
    assert store.read("run-a").instruction == ""


def test_what_the_seven_numbers_of_rlds_are_taken_for_is_said_unless_a_map_says_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rlds(tmp_path / "plain", rlds_record(4))
    for what in ("state", "action"):
        assert f"nothing names the seven numbers of the {what}; they are taken for x y z roll pitch yaw gripper" in caplog.text
    caplog.clear()
    pose = "x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=6"
    rlds(tmp_path / "mapped", rlds_record(4), vectors=VectorConfig(state_map=pose, action_map=pose))
    assert "nothing names" not in caplog.text
