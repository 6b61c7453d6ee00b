from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.episodes import EpisodeStore
from soar.episodes.encoded import encode
from soar.errors import FormatError
from soar.formats import tfrecord
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.steps import Unsaid
from tests.episodes.builders import make_episode

from .datasets import assert_same, rlds_record, store_of_three, write_raw, write_records, write_v21

FIXTURES = Path(__file__).parents[1] / "fixtures"
SOAR_PATH = "/data/robot_3/scene7/gcbc/2024-05-01/success/trajectory_12"


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "store", mode="create")


@given(st.binary(max_size=300))
def test_a_checksum_notices_any_changed_byte(data: bytes) -> None:
    changed = bytearray(data + b"x")
    changed[len(data) // 2] ^= 1
    assert tfrecord.masked_crc(bytes(changed)) != tfrecord.masked_crc(data + b"x")


def test_checksums_are_those_of_tfrecord() -> None:
    # RFC 3720 gives the CRC32C of 32 zero bytes, 0x8A9136AA; TFRecord rotates it by 15 bits and adds a constant.
    crc = 0x8A9136AA
    assert tfrecord.masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_examples_are_parsed_as_the_published_wire_format() -> None:
    # Written by hand: Example{features{feature{key: "a", value{int64_list{value: [3]}}}}}.
    assert tfrecord.parse_example(bytes.fromhex("0a0e0a0c0a016112071a050a03030405"), "here")["a"].tolist() == [3, 4, 5]  # type: ignore[union-attr]


def test_soar_data_is_imported_with_goals_success_and_lineage(tmp_path: Path, store: EpisodeStore) -> None:
    goals = encode(make_episode(steps=2, size=32, seed=9)).frames
    metadata = {"file_path": SOAR_PATH, "has_language": True, "success": True, "task_list": "[", "robot_id": "3"}
    record = rlds_record(6, metadata=metadata, goals=[goals[0]] * 4 + [goals[1]] * 2)
    write_records(tmp_path / "d" / "soar_dataset-success.tfrecord-00000-of-00512", record, rlds_record(3, seed=1))
    write_records(tmp_path / "d" / "soar_dataset-failure.tfrecord-00000-of-01024", rlds_record(4, seed=2))
    done = import_episodes(open_rlds(tmp_path / "d", RLDSConfig(unsaid=Unsaid(vlm="cogvlm"))), store)
    assert (done.imported, done.bad) == (3, ())
    failure, first, second = store.episodes()
    assert (failure.success, first.success, second.success) == (False, True, True)
    assert (first.length, first.scene, first.instruction) == (5, "scene7", "put the corn in the pot")
    assert (first.provenance.policy, first.provenance.robot, first.provenance.vlm) == ("gcbc", "3", "cogvlm")
    assert first.labels[0].source == "cogvlm"
    assert first.origin["metadata"]["task_list"] is None, "the released text is cut off after its first line"
    read, written = store.read_encoded(first.id), encode(make_episode(steps=6, size=32))
    assert read.subgoals == ((0, goals[0]), (4, goals[1]))
    assert read.frames == written.frames[:6]
    assert read.states_TD.tobytes() == written.states_TD[:6].tobytes()
    assert read.actions_TD.tobytes() == written.actions_TD[:5].tobytes()
    assert np.array(read.origin["final_action"], np.float32).tobytes() == written.actions_TD[5].tobytes()


def test_bridge_data_with_other_keys_and_without_language(tmp_path: Path, store: EpisodeStore) -> None:
    extra = {
        "steps__reward": np.zeros(6, np.float32),
        "steps__observation__depth_0": [b"png"] * 6,
        "steps__is_terminal": np.zeros(6, int),
    }
    record = rlds_record(6, metadata={"has_language": False, "has_image_1": False}, **extra)
    write_records(tmp_path / "d" / "bridge_dataset-val.tfrecord-00000-of-00001", record)
    import_episodes(open_rlds(tmp_path / "d", RLDSConfig(actions="reached")), store)
    episode = store.read(store.episodes()[0].id)
    assert (episode.instruction, episode.labels, episode.subgoals) == ("", (), ())
    np.testing.assert_array_equal(episode.actions_TD[:, :3], np.diff(episode.states_TD[:, :3], axis=0))
    np.testing.assert_array_equal(episode.actions_TD[:, 6], make_episode(steps=6).actions_TD[:5, 6])


@pytest.mark.parametrize(("date", "shifted"), [("2021-07-22_10-00-00", True), ("2021-07-23_10-00-00", False)])
def test_the_latency_of_early_recordings_is_repaired_on_request(
    tmp_path: Path, store: EpisodeStore, date: str, shifted: bool
) -> None:
    record = rlds_record(6, metadata={"file_path": f"/bridge/kitchen/00/{date}/raw/traj_group0/traj0"})
    write_records(tmp_path / "d" / "b-train.tfrecord-00000-of-00001", record)
    import_episodes(open_rlds(tmp_path / "d", RLDSConfig(latency_shift="by-date")), store)
    read, written = store.read(store.episodes()[0].id), make_episode(steps=6, size=32)
    assert read.states_TD.tobytes() == written.states_TD[int(shifted) : 6].tobytes()
    assert read.actions_TD.tobytes() == written.actions_TD[: 4 if shifted else 5].tobytes()


def test_an_import_goes_on_where_it_stopped(tmp_path: Path, store: EpisodeStore) -> None:
    write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", *(rlds_record(3, seed=seed) for seed in range(4)))
    assert import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store, limit=2).imported == 2
    again = import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store)
    assert (again.imported, again.present, store.count()) == (2, 2, 4)


def test_bad_records_are_named_and_skipped_only_on_request(tmp_path: Path, store: EpisodeStore) -> None:
    good = rlds_record(3)
    nan = rlds_record(3, steps__action=np.full(21, np.nan, np.float32))
    cut = rlds_record(3, steps__observation__image_0=[encode(make_episode(steps=1, size=64)).frames[0][:-100]] * 3)
    short = rlds_record(3, steps__action=np.zeros(14, np.float32))
    other = rlds_record(3, steps__observation__image_0=None, steps__observation__image_1=[b""] * 3)
    path = write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", good, nan, cut, short, other, b"no example", good)
    broken = tfrecord.scan(path)[-1]
    content = bytearray(path.read_bytes())
    content[broken.offset + 40] ^= 1
    path.write_bytes(bytes(content) + content[:8])

    with pytest.raises(FormatError, match=r"record 1\).*not finite.*--skip-bad"):
        import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store)
    assert store.count() == 1
    done = import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store, skip_bad=True)
    assert (done.imported, done.present) == (0, 1)
    expected = (
        "not finite",
        "truncated JPEG",
        "'actions': 2",
        "there is image_1, state",
        "not a tf.train.Example",
        "checksum",
        "truncated",
    )
    for line, words in zip(done.bad, expected, strict=True):
        assert words in line
    assert f"{path} at offset {broken.offset} (record 6)" in done.bad[5]


def test_steps_that_are_not_in_order_are_refused(tmp_path: Path, store: EpisodeStore) -> None:
    two = rlds_record(4, steps__is_first=np.array([1, 0, 1, 0]))
    early = rlds_record(4, steps__is_last=np.array([0, 1, 0, 0]))
    write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", two, early, rlds_record(4, steps__is_last=None))
    done = import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store, skip_bad=True)
    assert done.imported == 1
    assert "is_first is set at step 2 of 4; its steps are not in order" in done.bad[0]
    assert "is_last is set at step 1 of 4" in done.bad[1]

    folder = export_lerobot(store_of_three(tmp_path / "three"), tmp_path / "lr", codec="h264")
    path = folder / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    order = [*range(7), 8, 7, *range(9, len(table))]
    pq.write_table(table.take(order), path)
    done = import_episodes(open_lerobot(folder, LeRobotConfig()), store, skip_bad=True)
    assert done.imported == 2
    assert "lr episode 1: the steps are not in order, frame_index is 2 where 1 is expected" in done.bad[0]


def test_a_final_action_that_is_none_is_no_action(tmp_path: Path, store: EpisodeStore) -> None:
    actions = make_episode(steps=4).actions_TD
    actions[-1] = np.nan
    write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", rlds_record(4, steps__action=actions))
    import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store)
    read = store.read_encoded(store.episodes()[0].id)
    assert read.actions_TD.tobytes() == actions[:3].tobytes()
    assert "final_action" not in read.origin


@pytest.mark.parametrize("split", ["trian", ""])
def test_what_is_no_dataset_says_so(tmp_path: Path, split: str) -> None:
    with pytest.raises(FormatError, match=r"holds no \.tfrecord file"):
        open_rlds(tmp_path / "nowhere", RLDSConfig())
    write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", rlds_record(3))
    with pytest.raises(FormatError, match=r"no split nope; its files are of: train"):
        open_rlds(tmp_path / "d", RLDSConfig(splits=("nope",)))
    with pytest.raises(FormatError, match="no trajectory"):
        open_raw(tmp_path / "d", RawConfig())
    with pytest.raises(FormatError, match="no LeRobot dataset"):
        open_lerobot(tmp_path / "d", LeRobotConfig())


@pytest.mark.parametrize("layout", ["traj2", "wx1/kitchen/gcbc/2024-01-01/success/trajectory_2"])
def test_raw_folders_of_both_layouts(tmp_path: Path, store: EpisodeStore, layout: str) -> None:
    actions = write_raw(tmp_path / "raw" / layout)
    done = import_episodes(open_raw(tmp_path / "raw", RawConfig(unsaid=Unsaid(scene="mine"))), store)
    assert done.imported == 1
    read = store.read_encoded(f"raw/{layout}")
    assert read.actions_TD.tobytes() == actions[:-1].tobytes()
    assert [step for step, _ in read.subgoals] == [0, 20]
    assert (read.instruction, read.labels[0].success) == ("put the corn in the pot", True)
    assert read.origin["metadata"]["task_list"] == ["put the corn in the pot"]
    nested = "/" in layout
    assert (read.scene, read.provenance.policy, read.provenance.robot) == (
        ("kitchen", "gcbc", "wx1") if nested else ("mine", "", "")
    )


def test_a_damaged_raw_folder_is_named(tmp_path: Path, store: EpisodeStore) -> None:
    for number in range(4):
        write_raw(tmp_path / "raw" / f"traj{number}", steps=4)
    (tmp_path / "raw/traj0/success.txt").write_text("maybe")
    (tmp_path / "raw/traj1/trajectory.mp4").write_bytes(b"no video")
    (tmp_path / "raw/traj2/actions.npy").write_bytes(b"\x93NUMPY")
    done = import_episodes(open_raw(tmp_path / "raw", RawConfig()), store, skip_bad=True)
    assert done.imported == 1
    for line, words in zip(done.bad, ("must say True or False", "cannot read the video", "cannot read"), strict=True):
        assert words in line
        assert "raw/traj" in line


def test_lerobot_says_which_cameras_versions_and_files(tmp_path: Path, store: EpisodeStore) -> None:
    folder = export_lerobot(store_of_three(tmp_path / "three"), tmp_path / "lr", codec="h264", camera="front")
    with pytest.raises(FormatError, match="no camera 'wrist'; its cameras: front"):
        open_lerobot(folder, LeRobotConfig(camera="wrist"))
    video = next(folder.rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:-200])
    with pytest.raises(FormatError, match=rf"{video}"):
        import_episodes(open_lerobot(folder, LeRobotConfig(camera="observation.images.front")), store)
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.0"}))
    with pytest.raises(FormatError, match=r"codebase_version is 'v2\.0', this reads v3\.0 and v2\.1; convert"):
        open_lerobot(folder, LeRobotConfig())
    assert store.count() == 0


def test_lerobot_v21_is_imported_as_its_conversion_to_v30_is(tmp_path: Path, store: EpisodeStore) -> None:
    new = EpisodeStore(tmp_path / "new", mode="create")
    import_episodes(open_lerobot(FIXTURES / "lerobot", LeRobotConfig(camera="front")), new)
    old = write_v21(tmp_path / "lerobot", new)
    import_episodes(open_lerobot(old, LeRobotConfig()), store)
    assert [record.instruction for record in store.episodes()] == ["put the corn in the pot", "open the drawer"]
    for record in new.episodes():
        read, written = store.read_encoded(record.id), new.read_encoded(record.id)
        assert_same(replace(read, created_s=written.created_s), written, frames_equal=False)
    (old / "meta" / "episodes.jsonl").write_text('{"episode_index": 0}\n')
    with pytest.raises(FormatError, match=r"episodes.jsonl line 1 must hold episode_index, length"):
        open_lerobot(old, LeRobotConfig())
