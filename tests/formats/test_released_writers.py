"""Datasets that the released LeRobot and tensorflow_datasets wrote (`tests/interop` makes them anew), in our store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.errors import FormatError
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.rlds import RLDSConfig, open_rlds
from tests.interop.pictures import LENGTHS, numbers, picture

from .datasets import AS_WRITTEN

FIXTURES = Path(__file__).parents[1] / "fixtures"


def imported(dataset: object, store: Path) -> list[EncodedEpisode]:
    target = EpisodeStore(store, mode="create")
    import_episodes(dataset, target)  # type: ignore[arg-type]
    return [target.read_encoded(record.id) for record in target.episodes()]


def assert_holds(read: EncodedEpisode, episode: int, *, inverted: bool = False, levels: float = 3.0) -> None:
    """Whether an episode has the numbers and pictures that were written as the `episode`-th."""
    steps = LENGTHS[episode]
    assert len(read.frames) == steps
    assert read.states_TD.tobytes() == np.stack([numbers(episode, step, 0) for step in range(steps)]).tobytes()
    assert read.actions_TD.tobytes() == np.stack([numbers(episode, step, 1) for step in range(steps - 1)]).tobytes()
    assert np.array(read.origin["final_action"], np.float32).tobytes() == numbers(episode, steps - 1, 1).tobytes()
    for step, jpeg in enumerate(read.frames):
        expected = picture(episode, step).astype(int)
        assert np.abs(frames.decode(jpeg) - (255 - expected if inverted else expected)).mean() < levels, step


def check_lerobot(folder: Path, scratch: Path) -> None:
    for camera, inverted in (("front", False), ("observation.images.wrist", True)):
        read = imported(open_lerobot(folder, LeRobotConfig(camera=camera, vectors=AS_WRITTEN)), scratch / f"store-{inverted}")
        assert [episode.instruction for episode in read] == ["put the corn in the pot", "open the drawer"]
        assert [episode.labels[0].success for episode in read] == [True, False]
        assert {episode.provenance.robot for episode in read} == {"widowx"}
        for number, episode in enumerate(read):
            assert_holds(episode, number, inverted=inverted)


def check_soar(folder: Path, scratch: Path) -> None:
    read = imported(open_rlds(folder, RLDSConfig(vectors=AS_WRITTEN)), scratch / "soar")
    by_path = {episode.origin["metadata"]["file_path"]: episode for episode in read}
    for number, split in ((0, "success"), (1, "success"), (2, "failure")):
        episode = by_path[f"/data/robot_1/scene_2/gcbc/2024-01-01/{split}/trajectory_{number}"]
        assert_holds(episode, number)
        assert [label.success for label in episode.labels] == [split == "success"]
        assert (episode.scene, episode.provenance.robot, episode.provenance.policy) == ("scene_2", "robot_1", "gcbc")
        assert [step for step, _ in episode.subgoals] == [step for step in (0, 3) if step < LENGTHS[number] - 1]
        assert np.abs(frames.decode(episode.subgoals[0][1]).astype(int) - (255 - picture(number, 0))).mean() < 3
    assert len(read) == 3


def check_bridge(folder: Path, scratch: Path) -> None:
    train, val = imported(open_rlds(folder, RLDSConfig(vectors=AS_WRITTEN)), scratch / "bridge")
    assert (train.instruction, val.instruction) == ("open the drawer", ""), "the flag says that the other has no language"
    assert_holds(train, 3)
    assert_holds(val, 4)
    assert (train.labels, train.subgoals) == ((), ())
    (other,) = imported(
        open_rlds(folder, RLDSConfig(vectors=AS_WRITTEN, camera="image_1", splits=("val",))), scratch / "image_1"
    )
    assert_holds(other, 4, inverted=True)


def test_lerobot_datasets_of_the_released_writer_are_imported_by_camera(tmp_path: Path) -> None:
    check_lerobot(FIXTURES / "lerobot", tmp_path)
    with pytest.raises(FormatError, match="choose one of its cameras with --camera: front, wrist"):
        open_lerobot(FIXTURES / "lerobot", LeRobotConfig())


def test_soar_data_of_the_released_writer_is_imported(tmp_path: Path) -> None:
    check_soar(FIXTURES / "rlds" / "soar_dataset", tmp_path)


def test_bridge_data_of_the_released_writer_is_imported(tmp_path: Path) -> None:
    check_bridge(FIXTURES / "rlds" / "bridge_dataset", tmp_path)


def test_reached_motion_and_latency_of_the_released_writer(tmp_path: Path) -> None:
    config = RLDSConfig(vectors=AS_WRITTEN, actions="reached", latency_shift="by-date", splits=("train",))
    (read,) = imported(open_rlds(FIXTURES / "rlds" / "bridge_dataset", config), tmp_path / "store")
    states = np.stack([numbers(3, step, 0) for step in range(1, LENGTHS[3])])
    assert read.states_TD.tobytes() == states.tobytes()
    np.testing.assert_allclose(read.actions_TD[:, :6], np.diff(states[:, :6], axis=0), atol=1e-6)
    np.testing.assert_array_equal(read.actions_TD[:, 6], [numbers(3, step, 1)[6] for step in range(LENGTHS[3] - 2)])
