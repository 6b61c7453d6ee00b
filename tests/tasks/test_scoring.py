"""From verdicts to what episodes are worth, and to columns that others read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from soar.episodes import EpisodeStore
from soar.episodes.copying import merge
from soar.episodes.schema import SCORE
from soar.episodes.scores import makers_of_scores, score_by, scores_by
from soar.errors import ConfigError, StoreError
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_export import export_lerobot
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.rlds_export import export_rlds
from soar.formats.score_columns import WEIGHTS
from soar.formats.tfrecord import parse_example, read, scan
from soar.tasks.evidence import Evidence, written
from soar.tasks.scoring import scores_of, store_scores
from soar.types import Label
from tests.episodes.builders import judged, make_episode


def curve(*points: float, length: int = 5) -> Label:
    """The label of a judge that saw these probabilities, evenly."""
    frames = tuple(int(frame) for frame in np.linspace(0, length, len(points)))
    p = points[-1]
    seen = Evidence(
        judge="vqa-1 sees looks:3",
        frames=frames,
        probabilities=points,
        answers=("?",) * len(points),
        success=p >= 0.5,
        probability=p,
        curve=True,
    )
    return Label(success=p >= 0.5, probability=p, source="vqa-1 sees looks:3", answer=written([seen]))


LABELS: Mapping[str, tuple[Label, ...]] = {
    "probable": (judged(True, probability=0.8),),
    "curve": (curve(0.1, 0.2, 0.9),),
    "bare": (judged(False),),
    "audited": (judged(True, probability=0.9), judged(False, "person:kim")),
    "contradicted": (curve(0.1, 0.2, 0.9), judged(False, "person:kim")),
    "agreed": (curve(0.0, 0.4, 0.6), judged(True, "person:kim")),
    "undecided": (judged(None),),
    "silent": (),
}


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "store", mode="create")
    store.append([make_episode(id, labels=labels, seed=n) for n, (id, labels) in enumerate(LABELS.items())])
    return store


def test_a_person_counts_before_a_probability_and_a_bare_verdict_is_all_or_nothing(store: EpisodeStore) -> None:
    scored = scores_of(store.episodes())
    weights = {id: score.weight for id, score in scored.scores.items()}
    assert weights == {"probable": 0.8, "curve": 0.9, "bare": 0.0, "audited": 0.0, "contradicted": 0.0, "agreed": 1.0}
    assert (scored.left_out, scored.by_people, scored.bare, scored.contradicted, scored.curves) == (2, 3, 1, 1, 2)
    mean = np.mean(list(weights.values()))
    assert scored.scores["probable"].advantage == pytest.approx(0.8 - mean)
    assert sum(score.advantage for score in scored.scores.values()) == pytest.approx(0)


def test_an_advantage_is_over_attempts_at_the_same_task(store: EpisodeStore) -> None:
    other = replace(make_episode("other", labels=(judged(True, probability=0.7),)), instruction="open the drawer")
    store.append(other)
    assert scores_of(store.episodes()).scores["other"].advantage == 0.0


def test_a_steps_advantage_is_how_far_the_curve_rises_and_nan_where_there_is_none(store: EpisodeStore) -> None:
    scores = scores_of(store.episodes(), horizon=2).scores
    progress_N, advantage_N = scores["curve"].per_step(5)
    np.testing.assert_allclose(progress_N, np.interp(range(6), [0, 2, 5], [0.1, 0.2, 0.9]), atol=1e-6)
    np.testing.assert_allclose(advantage_N[:-2], progress_N[2:] - progress_N[:-2], atol=1e-6)
    assert advantage_N[-1] == 0.0
    assert np.isnan(scores["contradicted"].per_step(5)).all(), "a person says that it ended wrongly"
    assert scores["agreed"].by == "person:kim, curve: vqa-1 sees looks:3"


def test_scores_stand_beside_the_labels_and_change_no_verdict(store: EpisodeStore) -> None:
    before = {record.id: (record.success, record.probability, record.labels) for record in store.episodes()}
    scored = store_scores(store, "night 1")
    for record in store.episodes():
        success, probability, labels = before[record.id]
        assert (record.success, record.probability) == (success, probability)
        assert record.labels[: len(labels)] == labels
        assert score_by(record, "night 1") == scored.scores.get(record.id)
    assert makers_of_scores(store.episodes()) == ["night 1"]


def test_a_score_is_never_overwritten_and_an_interrupted_call_goes_on(store: EpisodeStore) -> None:
    store_scores(store, "first")
    counts = [len(record.labels) for record in store.episodes()]
    store_scores(store, "first")
    assert [len(record.labels) for record in store.episodes()] == counts, "the same again changes nothing"
    store.add_label("bare", judged(True, "person:kim", 1.0))
    with pytest.raises(StoreError, match=r"has another score by 'first'.*never overwritten: choose another --name"):
        store_scores(store, "first")
    assert [len(record.labels) for record in store.episodes()] == [n + (i == 2) for i, n in enumerate(counts)]
    store_scores(store, "second")
    assert makers_of_scores(store.episodes()) == ["first", "second"]


def test_nothing_to_score_and_senseless_wishes_are_refused(store: EpisodeStore) -> None:
    with pytest.raises(StoreError, match=r"none of 2 episodes has a verdict.*soar data rejudge"):
        store_scores(store, "x", where="id IN ('silent', 'undecided')")
    with pytest.raises(ConfigError, match="whose it is"):
        store_scores(store, " ")
    with pytest.raises(ConfigError, match="--horizon"):
        store_scores(store, "x", horizon=0)
    with pytest.raises(StoreError, match=r"none of 8 episodes has a score by 'x'; there are some by nobody"):
        scores_by(store.episodes(), "x", store.uri)


@pytest.mark.parametrize("answer", ["", "{}", "[1]", '{"weight": 2, "advantage": 0}', '{"weight": NaN, "advantage": 0}'])
def test_a_damaged_score_is_an_error_and_never_a_weight(store: EpisodeStore, answer: str) -> None:
    store.add_label("bare", Label(success=None, probability=None, source=f"{SCORE}kim", answer=answer))
    with pytest.raises(StoreError, match="'bare': the score by 'kim' is damaged"):
        scores_by(store.episodes(), "kim", store.uri)


def test_lerobot_gets_columns_of_episodes_and_a_file_of_frames_and_gives_the_scores_back(
    store: EpisodeStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scores = store_scores(store, "mine").scores
    with caplog.at_level(logging.WARNING):
        folder = export_lerobot(store, tmp_path / "out", codec="h264", scores=scores_by(store.episodes(), "mine", store.uri))
    assert "2 of 8 episodes have no score and are left out" in caplog.text
    assert "4 of 6 episodes have no curve" in caplog.text
    episodes = pq.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    found = {row["soar/id"]: (row["soar/weight"], row["soar/advantage"]) for row in episodes}
    assert found == {id: (score.weight, score.advantage) for id, score in scores.items()}
    progress = pq.read_table(folder / WEIGHTS)
    assert progress["index"].to_pylist() == list(range(6 * len(scores)))
    for row in episodes:
        begin, end = row["dataset_from_index"], row["dataset_to_index"]
        own = {name: progress[name].to_numpy()[begin:end] for name in progress.column_names}
        assert list(own["frame_index"]) == list(range(6))
        assert set(own["episode_index"]) == {row["episode_index"]}
        np.testing.assert_array_equal(own["progress_sparse"], scores[row["soar/id"]].per_step(5)[0])
        np.testing.assert_array_equal(own["weight"], np.float32(row["soar/weight"]))
    back = EpisodeStore(tmp_path / "back", mode="create")
    import_episodes(open_lerobot(folder, LeRobotConfig()), back)
    assert scores_by(back.episodes(), "mine", "back") == scores


def test_rlds_gets_features_of_episodes_and_steps_and_gives_the_scores_back(store: EpisodeStore, tmp_path: Path) -> None:
    scores = store_scores(store, "mine").scores
    folder = export_rlds(store, tmp_path / "out", scores=scores)
    seen = {}
    for path in sorted(folder.glob("*.tfrecord*")):
        for record in scan(path):
            example = parse_example(read(record), str(path))
            seen[example["episode_metadata/file_path"][0].decode()] = example
    assert seen.keys() == scores.keys()
    for id, example in seen.items():
        assert example["episode_metadata/weight"][0] == np.float32(scores[id].weight)
        assert example["episode_metadata/advantage"][0] == np.float32(scores[id].advantage)
        np.testing.assert_array_equal(example["steps/progress"], scores[id].per_step(5)[0])
    back = EpisodeStore(tmp_path / "back", mode="create")
    import_episodes(open_rlds(folder, RLDSConfig()), back)
    assert scores_by(back.episodes(), "mine", "back") == scores


def test_without_a_curve_progress_is_unknown_and_without_scores_there_are_no_columns(
    store: EpisodeStore, tmp_path: Path
) -> None:
    scores = scores_of(store.episodes("id IN ('probable', 'bare')")).scores
    folder = export_lerobot(store, tmp_path / "scored", codec="h264", scores=scores)
    assert np.isnan(pq.read_table(folder / WEIGHTS)["progress_sparse"].to_numpy()).all()
    plain = export_lerobot(store, tmp_path / "plain", codec="h264")
    assert "soar/weight" not in pq.read_table(plain / "meta/episodes/chunk-000/file-000.parquet").column_names
    with pytest.raises(StoreError, match="none of the 1 chosen episodes has a score"):
        export_rlds(store, tmp_path / "none", where="id = 'silent'", scores=scores)


def test_scores_travel_with_copies(store: EpisodeStore, tmp_path: Path) -> None:
    scores = store_scores(store, "mine").scores
    merge([store], tmp_path / "copy")
    assert scores_by(EpisodeStore(tmp_path / "copy").episodes(), "mine", "copy") == scores
