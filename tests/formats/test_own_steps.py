"""Datasets for learners that imitate whole episodes: what was not the policy's doing is cut away."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from soar.cli import main
from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.episodes.encoded import encode
from soar.episodes.schema import SIMULATOR
from soar.episodes.scores import Score, score_label
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.own_steps import own_steps
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.rlds_export import export_rlds
from soar.types import Label, Provenance
from tests.episodes.builders import goal_images, judged, make_episode

MADE = Provenance(policy="base", vlm="vqa-1", run="night", round=1)


def walked(ways_m: list[float], reflexes: tuple[int, ...] = ()) -> EncodedEpisode:
    """An episode whose hand goes so far along x in each step."""
    states_TD = np.zeros((len(ways_m) + 1, 7), np.float32)
    states_TD[1:, 0] = np.cumsum(ways_m)
    return encode(make_episode("a", steps=len(ways_m), states_TD=states_TD, reflex_steps=reflexes))


@pytest.mark.parametrize(
    ("ways_m", "reflexes", "kept"),
    [
        ([0.02] * 10, (), range(10)),
        ([0.02] * 10, (3, 4), range(5, 10)),
        ([0.02] * 10, (3, 4, 8, 9), range(5, 8)),  # it let go at an early end
        ([0.02] * 10, (0, 1, 6), range(7, 10)),
        ([0.02] * 6 + [0.0] * 3 + [0.02] * 4 + [0.001] * 7, (9, 10, 11, 12), range(9)),  # it was done, and stood about
        ([0.0] * 10, (4,), range(5, 10)),  # it never moved
        ([0.02] * 10, tuple(range(10)), range(10)),  # nothing is its own: then nothing tells what to leave out
    ],
)
def test_own_steps_are_the_last_stretch_in_which_the_hand_went_somewhere(
    ways_m: list[float], reflexes: tuple[int, ...], kept: range
) -> None:
    assert own_steps(walked(ways_m, reflexes)) == kept


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    """One episode with a reflex at steps 3 and 4 that let go at 8 and 9, and one without."""
    store = EpisodeStore(tmp_path / "store", mode="create")
    score = score_label("me", Score(weight=1, advantage=0, by="me", frames=(0, 10), progress=(0, 1)), time_s=1.0)
    true = Label(success=True, probability=None, source=SIMULATOR, answer="it is")
    own = make_episode("tried", steps=10, size=32, labels=(judged(True, probability=0.9), score, true), provenance=MADE)
    plain = make_episode("plain", steps=4, size=32, seed=1, labels=(judged(True, probability=0.9),))
    marked = {"reflex_steps": (3, 4, 8, 9), "limited_steps": (1, 6, 9), "subgoals": goal_images(own)}
    store.append([dataclasses.replace(own, **marked), plain])
    return store


def is_cut(read: EncodedEpisode, whole: EncodedEpisode) -> None:
    assert (read.id, read.provenance.run, read.provenance.round) == ("tried-own-5-8", "night-own", 1)
    assert [(label.source, label.success, label.answer) for label in read.labels] == [
        ("vqa-1", True, ""),
        (SIMULATOR, True, "it is"),
    ], "what was said of single frames was said of others"
    assert read.origin["part"] == {"of": "tried", "first_step": 5}
    assert read.actions_TD.tobytes() == whole.actions_TD[5:8].tobytes()
    assert read.states_TD.tobytes() == whole.states_TD[5:9].tobytes()
    pictures = [frames.decode_all(jpegs).astype(int) for jpegs in (read.frames, whole.frames[5:9])]
    assert np.abs(pictures[0] - pictures[1]).mean() < 4
    assert (read.reflex_steps, read.limited_steps) == ((), (1,))
    assert read.subgoals == ((0, whole.subgoals[-1][1]),), "the one that was pursued then"
    assert "final_action" not in read.origin, "that would be the reflex's"


def test_a_lerobot_dataset_has_them_alone_and_comes_back_as_an_episode_of_its_own(
    tmp_path: Path, store: EpisodeStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "soar")
    scores = {id: Score(weight=1, advantage=0, by="me", frames=(0, 10), progress=(0, 1)) for id in ("tried", "plain")}
    folder = export_lerobot(store, tmp_path / "out", codec="h264", cut_reflexes=True, scores=scores)
    rows = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["soar/id"], row["length"]) for row in rows] == [("tried-own-5-8", 4), ("plain", 5)]
    progress = pq.read_table(folder / "soar" / "weights.parquet")["progress_sparse"].to_pylist()
    assert progress == pytest.approx([0.5, 0.6, 0.7, 0.8, 0, 0.1, 0.2, 0.3, 0.4])
    assert "2 episodes, 7 actions" in (folder / "README.md").read_text()
    assert "1 of 2 episodes had reflexes: 3 of their 10 steps are written" in caplog.text
    back = EpisodeStore(tmp_path / "back", mode="create")
    import_episodes(open_lerobot(folder, LeRobotConfig()), back)
    is_cut(back.read_encoded("tried-own-5-8"), store.read_encoded("tried"))
    assert back.read_encoded("plain").actions_TD.tobytes() == store.read_encoded("plain").actions_TD.tobytes()


def test_an_rlds_dataset_has_them_alone_and_without_the_word_there_is_all(tmp_path: Path, store: EpisodeStore) -> None:
    for words, lengths in ((["--cut-reflexes"], {"tried-own-5-8": 3, "plain": 4}), ([], {"tried": 10, "plain": 4})):
        out = tmp_path / str(len(words))
        assert main(["data", "export", "rlds", str(tmp_path / "store"), "--out", str(out), *words]) == 0
        back = EpisodeStore(out / "back", mode="create")
        import_episodes(open_rlds(out / "soar_dataset" / "1.0.0", RLDSConfig()), back)
        assert {record.id: record.length for record in back.episodes()} == lengths
        if words:
            is_cut(back.read_encoded("tried-own-5-8"), store.read_encoded("tried"))
    scores = {id: Score(weight=1, advantage=0, by="me", frames=(0, 10), progress=(0, 1)) for id in ("tried", "plain")}
    assert export_rlds(store, tmp_path / "scored", cut_reflexes=True, scores=scores).exists()
