"""What we export, read by the software that others will read it with. `make test-interop` runs these."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.episodes import jpeg as frames
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.rlds_export import export_rlds
from soar.formats.steps import actions_of_steps
from tests.formats.datasets import AS_WRITTEN, assert_same, store_of_three, write_v21
from tests.formats.test_released_writers import check_bridge, check_lerobot, check_soar

from .conftest import Peer

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    return store_of_three(tmp_path / "store", size=64)


def assert_decoded_alike(read: np.ndarray, decoded: np.ndarray) -> None:
    """TensorFlow decodes JPEGs with a faster and coarser transform than we do."""
    difference = np.abs(read.astype(int) - decoded)
    assert difference.max() <= 6
    assert difference.mean() < 2


@pytest.mark.parametrize(("codec", "video_bytes"), [("av1", 10**9), ("h264", 0)])
def test_the_released_lerobot_reads_our_export(
    tmp_path: Path, store: EpisodeStore, lerobot: Peer, codec: str, video_bytes: int
) -> None:
    folder = export_lerobot(store, tmp_path / "out", codec=codec, camera="front", video_bytes=video_bytes)  # type: ignore[arg-type]
    lerobot("read", folder, tmp_path / "read.npz")
    read = np.load(tmp_path / "read.npz")
    plain = json.loads(str(read["plain"]))
    episodes = [store.read_encoded(record.id) for record in store.episodes()]

    assert (plain["camera"], plain["fps"], plain["episodes"]) == ("observation.images.front", 5, 3)
    # No subgoal, success or lineage is among what LeRobot gives to a policy.
    assert [name for name in plain["features"] if name.startswith("observation")] == [
        "observation.state",
        "observation.images.front",
    ]
    assert read["state"].tobytes() == np.concatenate([episode.states_TD for episode in episodes]).tobytes()
    assert read["action"].tobytes() == np.concatenate([actions_of_steps(episode) for episode in episodes]).tobytes()
    assert read["episode"].tolist() == [0] * 6 + [1] * 8 + [2] * 4
    assert plain["tasks"] == [episode.instruction for episode in episodes for _ in episode.frames]
    np.testing.assert_allclose(read["timestamp"], np.concatenate([np.arange(len(e.frames)) / 5 for e in episodes]), atol=1e-6)
    images = np.concatenate([frames.decode_all(episode.frames) for episode in episodes]).astype(np.float32)
    difference = np.abs(read["images"].transpose(0, 2, 3, 1) * 255 - images)
    assert difference.mean() < 4, f"frames went through {codec} and are otherwise the same"
    assert difference.mean((1, 2, 3)).max() < 8, "each is the frame of its step"
    assert [row["soar/success"] for row in plain["columns"]] == [True, False, None]
    assert [row["soar/policy"] for row in plain["columns"]] == ["p", "p", "base"]
    assert [row["soar/seed"] for row in plain["columns"]] == [2**40, 2**40, 0]
    assert {"mean", "std", "q01", "q99"} <= set(plain["stats"]["action"])


def test_the_released_tensorflow_datasets_reads_our_export(tmp_path: Path, store: EpisodeStore, tfds: Peer) -> None:
    folder = export_rlds(store, tmp_path / "out", shard_bytes=1)
    tfds("read", folder, tmp_path / "read.npz")
    read = np.load(tmp_path / "read.npz")
    plain = json.loads(str(read["plain"]))

    assert {split: len(episodes) for split, episodes in plain.items()} == {"success": 1, "failure": 1, "unlabelled": 1}
    for split, id in (("success", "run-a"), ("failure", "run-b"), ("unlabelled", "demo it's")):
        episode = store.read_encoded(id)
        assert read[f"{split}/0/state"].tobytes() == episode.states_TD.tobytes()
        assert read[f"{split}/0/action"].tobytes() == actions_of_steps(episode).tobytes()
        assert_decoded_alike(read[f"{split}/0/image"], frames.decode_all(episode.frames))
        assert read[f"{split}/0/is_last"].tolist() == [False] * (len(episode.frames) - 1) + [True]
        (described,) = plain[split]
        assert set(described["instructions"]) == {episode.instruction}
        assert described["success"] is (split == "success")
        assert described["file_path"] == id
    goals = read["success/0/goal"]
    (_, first), (begin, second) = store.read_encoded("run-a").subgoals
    assert_decoded_alike(goals[0], frames.decode(first))
    assert_decoded_alike(goals[begin], frames.decode(second))


def test_what_the_released_writers_write_now_is_what_the_fixtures_hold(tmp_path: Path, lerobot: Peer, tfds: Peer) -> None:
    lerobot("write", tmp_path / "lerobot")
    tfds("write", tmp_path / "rlds")
    check_lerobot(tmp_path / "lerobot", tmp_path)
    check_soar(tmp_path / "rlds" / "soar_dataset" / "1.0.0", tmp_path)
    check_bridge(tmp_path / "rlds" / "bridge_dataset" / "1.0.0", tmp_path)


def test_version_21_is_imported_as_what_the_released_converter_makes_of_it(tmp_path: Path, lerobot: Peer) -> None:
    theirs = Path(__file__).parents[1] / "fixtures" / "lerobot"
    new, before, after = (EpisodeStore(tmp_path / name, mode="create") for name in ("new", "before", "after"))
    import_episodes(open_lerobot(theirs, LeRobotConfig(camera="front", vectors=AS_WRITTEN)), new)
    folder = write_v21(tmp_path / "lerobot", new)
    import_episodes(open_lerobot(folder, LeRobotConfig(vectors=AS_WRITTEN)), before)
    lerobot("convert", folder)
    assert json.loads((folder / "meta" / "info.json").read_text())["codebase_version"] == "v3.0"
    import_episodes(open_lerobot(folder, LeRobotConfig(vectors=AS_WRITTEN)), after)
    for record in before.episodes():
        read, written = after.read_encoded(record.id), before.read_encoded(record.id)
        assert_same(replace(read, created_s=written.created_s), written, frames_equal=True)


def test_a_dataset_of_theirs_that_went_through_our_store_is_read_by_them(tmp_path: Path, lerobot: Peer, tfds: Peer) -> None:
    theirs = Path(__file__).parents[1] / "fixtures"
    one, two = EpisodeStore(tmp_path / "1", mode="create"), EpisodeStore(tmp_path / "2", mode="create")
    import_episodes(open_lerobot(theirs / "lerobot", LeRobotConfig(camera="front", vectors=AS_WRITTEN)), one)
    import_episodes(open_rlds(theirs / "rlds" / "soar_dataset" / "1.0.0", RLDSConfig(vectors=AS_WRITTEN)), two)
    lerobot("read", export_lerobot(one, tmp_path / "out"), tmp_path / "lerobot.npz")
    lerobot("read", theirs / "lerobot", tmp_path / "theirs.npz")
    ours, original = np.load(tmp_path / "lerobot.npz"), np.load(tmp_path / "theirs.npz")
    for name in ("state", "action", "timestamp", "episode"):
        assert ours[name].tobytes() == original[name].tobytes(), name
    assert json.loads(str(ours["plain"]))["tasks"] == json.loads(str(original["plain"]))["tasks"]

    folder = export_rlds(two, tmp_path / "rlds")
    for name, source in (("ours", folder), ("original", theirs / "rlds" / "soar_dataset" / "1.0.0")):
        tfds("read", source, tmp_path / f"{name}.npz")
    ours, original = np.load(tmp_path / "ours.npz"), np.load(tmp_path / "original.npz")
    paths = {name: json.loads(str(read["plain"])) for name, read in (("ours", ours), ("original", original))}
    for split, episodes in paths["original"].items():
        order = [row["file_path"] for row in paths["ours"][split]]
        for number, row in enumerate(episodes):
            same = order.index(row["file_path"])
            assert paths["ours"][split][same]["instructions"] == row["instructions"]
            # A goal that is new at the last step is pursued by no action, and is not kept.
            for name, end in (("state", None), ("action", None), ("image", None), ("goal", -1)):
                read, written = ours[f"{split}/{same}/{name}"][:end], original[f"{split}/{number}/{name}"][:end]
                assert read.tobytes() == written.tobytes(), (split, number, name)
    back = EpisodeStore(tmp_path / "3", mode="create")
    import_episodes(open_rlds(folder, RLDSConfig(vectors=AS_WRITTEN)), back)
    for record in two.episodes():
        assert_same(back.read_encoded(record.id), two.read_encoded(record.id), frames_equal=True)
