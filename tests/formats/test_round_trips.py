from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from soar.episodes import EpisodeStore
from soar.errors import FormatError, StoreError
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.rlds_export import export_rlds
from soar.formats.steps import Unsaid
from tests.episodes.builders import make_episode

from .datasets import assert_same, store_of_three, write_raw


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return store_of_three(tmp_path / "store")


@pytest.fixture
def back(tmp_path: Path) -> EpisodeStore:
    return EpisodeStore(tmp_path / "back", mode="create")


@pytest.mark.parametrize("shard_bytes", [1, 10**9])
def test_rlds_and_back_changes_nothing(tmp_path: Path, store: EpisodeStore, back: EpisodeStore, shard_bytes: int) -> None:
    folder = export_rlds(store, tmp_path / "out", shard_bytes=shard_bytes)
    assert import_episodes(open_rlds(folder, RLDSConfig()), back).imported == 3
    for record in store.episodes():
        assert_same(back.read_encoded(record.id), store.read_encoded(record.id), frames_equal=True)


@pytest.mark.parametrize("codec", ["av1", "h264"])
def test_lerobot_and_back_changes_only_pixels(tmp_path: Path, store: EpisodeStore, back: EpisodeStore, codec: str) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec=codec, video_bytes=0)  # type: ignore[arg-type]
    assert len(list(folder.glob("videos/*/chunk-000/*.mp4"))) == 3
    assert import_episodes(open_lerobot(folder, LeRobotConfig(camera="image_0")), back).imported == 3
    for record in store.episodes():
        assert_same(back.read_encoded(record.id), store.read_encoded(record.id), frames_equal=False)


@pytest.mark.parametrize("layout", ["traj2", "wx1/kitchen/gcbc/2024-01-01/success/trajectory_2"])
def test_raw_to_lerobot_and_back_changes_only_pixels(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore, layout: str
) -> None:
    write_raw(tmp_path / "raw" / layout)
    raw = EpisodeStore(tmp_path / "raw-store", mode="create")
    known = Unsaid(scene="mine", vlm="cogvlm", subgoal_model="susie", run="monday")
    import_episodes(open_raw(tmp_path / "raw", RawConfig(unsaid=known)), raw)
    folder = export_lerobot(raw, tmp_path / "out")
    import_episodes(open_lerobot(folder, LeRobotConfig()), back)
    (record,) = raw.episodes()
    assert (len(raw.read_encoded(record.id).subgoals), record.success) == (2, True)
    assert_same(back.read_encoded(record.id), raw.read_encoded(record.id), frames_equal=False)
    assert back.episodes()[0].origin == record.origin


def test_without_the_sidecar_what_the_formats_say_comes_back(tmp_path: Path, store: EpisodeStore) -> None:
    rlds, lerobot = export_rlds(store, tmp_path / "rlds"), export_lerobot(store, tmp_path / "lerobot", codec="h264")
    for name, dataset in (
        ("rlds", lambda: open_rlds(rlds, RLDSConfig())),
        ("lr", lambda: open_lerobot(lerobot, LeRobotConfig())),
    ):
        for folder in (rlds, lerobot):
            (folder / "soar" / "episodes.parquet").unlink(missing_ok=True)
        target = EpisodeStore(tmp_path / f"back-{name}", mode="create")
        import_episodes(dataset(), target)
        written = {
            store.read(record.id).instruction: store.read_encoded(record.id) for record in store.episodes("id != 'run-b'")
        }
        assert target.count() == 3
        assert (target.count("success"), target.count("not success")) == (1, 1)
        for record in target.episodes(f"length in ({','.join(str(len(e.actions_TD)) for e in written.values())})"):
            read, original = target.read_encoded(record.id), written[record.instruction]
            assert read.states_TD.tobytes() == original.states_TD.tobytes()
            assert read.actions_TD.tobytes() == original.actions_TD.tobytes()
            # Nothing moved after the last observation.
            assert read.origin["final_action"][:6] == [0.0] * 6


def test_several_episodes_of_one_video_are_told_apart(tmp_path: Path, store: EpisodeStore, back: EpisodeStore) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec="h264", where="id != 'run-a'")
    assert len(list(folder.glob("videos/*/chunk-000/*.mp4"))) == 1
    import_episodes(open_lerobot(folder, LeRobotConfig()), back)
    for id in ("run-b", "demo it's"):
        assert_same(back.read_encoded(id), store.read_encoded(id), frames_equal=False)


def test_lerobot_metadata_holds_verdict_lineage_and_statistics(tmp_path: Path, store: EpisodeStore) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec="h264")
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["soar/success"] for row in rows] == [True, False, None]
    assert [row["soar/policy"] for row in rows] == ["p", "p", "base"]
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 6), (6, 14), (14, 18)]
    info = json.loads((folder / "meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"], info["fps"]) == (3, 18, 2, 5)
    assert [name for name, feature in info["features"].items() if feature["dtype"] == "video"] == ["observation.images.image_0"]
    statistics = json.loads((folder / "meta/stats.json").read_text())
    assert statistics["action"]["count"] == [18]
    assert statistics["action"]["min"] <= statistics["action"]["q50"] <= statistics["action"]["max"]
    assert "run-a" not in (folder / "README.md").read_text()
    assert "3 episodes, 15 actions, 2 scenes; 1 judged successful and 1 failed" in (folder / "README.md").read_text()


def test_an_export_writes_over_nothing_and_leaves_nothing_half_done(tmp_path: Path, store: EpisodeStore) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("x")
    with pytest.raises(FormatError, match="never writes over anything"):
        export_lerobot(store, out)
    with pytest.raises(StoreError, match="nothing to export"):
        export_rlds(store, tmp_path / "none", where="scene = 'moon'")
    store.append([*store_of_three(tmp_path / "odd", size=31).episodes("id = 'x'")])
    odd = EpisodeStore(tmp_path / "odd")
    with pytest.raises(FormatError, match="even height and width"):
        export_lerobot(odd, tmp_path / "odd-out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd", "out", "store"]


def test_a_dataset_that_was_changed_after_its_export_is_noticed(
    tmp_path: Path, store: EpisodeStore, back: EpisodeStore
) -> None:
    folder = export_rlds(store, tmp_path / "out")
    (shard,) = folder.glob("*success*")
    (other,) = folder.glob("*failure*")
    shard.write_bytes(other.read_bytes())
    with pytest.raises(FormatError, match="changed after its export"):
        import_episodes(open_rlds(folder, RLDSConfig(splits=("success",))), back)
    assert back.count() == 0


def test_lerobot_is_told_every_kind_of_robot_and_each_episode_keeps_its_own(tmp_path: Path) -> None:
    store = EpisodeStore(tmp_path / "store", mode="create")
    for robot in ("sim-0", "sim-1", "bench-3"):
        episode = make_episode(robot, steps=3, size=64)
        store.append(dataclasses.replace(episode, provenance=dataclasses.replace(episode.provenance, robot=robot)))
    folder = export_lerobot(store, tmp_path / "out")
    assert json.loads((folder / "meta" / "info.json").read_text())["robot_type"] == "bench, sim"
    (episodes,) = (folder / "meta" / "episodes").rglob("*.parquet")
    assert pq.read_table(episodes)["soar/robot"].to_pylist() == ["sim-0", "sim-1", "bench-3"]
    simulated = export_lerobot(store, tmp_path / "one", where="robot != 'bench-3'")
    assert json.loads((simulated / "meta" / "info.json").read_text())["robot_type"] == "sim"
