"""Curves of progress from another program, for a dataset that we exported, judge the store that it came from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soar.cli import main
from soar.episodes import EpisodeStore
from soar.errors import FormatError
from soar.formats.lerobot_export import export_lerobot
from soar.formats.progress import read_progress
from soar.tasks.evidence import curve_of
from soar.tasks.scoring import scores_of
from tests.episodes.builders import judged, make_episode

NAN = float("nan")


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "store", mode="create")
    for name in ("done", "half", "unknown"):
        store.append(make_episode(name, steps=4, labels=(judged(False),)))
    return store


def as_lerobot_does(
    path: Path, curves: dict[int, list[float]], *, column: str = "progress_sparse", model: str = "ada/sarm"
) -> None:
    """Write a file as LeRobot's `compute_rabc_weights` does: a row a frame."""
    rows = [(number, frame, value) for number, curve in curves.items() for frame, value in enumerate(curve)]
    columns = {
        "index": np.arange(len(rows), dtype=np.int64),
        "episode_index": np.array([row[0] for row in rows], np.int64),
        "frame_index": np.array([row[1] for row in rows], np.int64),
        column: np.array([row[2] for row in rows], np.float32),
    }
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({b"reward_model_path": model.encode()} if model else None), path)


def test_progress_at_the_last_frame_is_the_verdict_and_the_curve_the_scores(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export_lerobot(store, tmp_path / "dataset")
    file = folder / "sarm_progress.parquet"
    as_lerobot_does(file, {0: [0, 0.25, 0.5, NAN, 0.96], 1: [0, 0.2, 0.5, 0.6, 0.55], 2: [0, 0.1, 0.2, 0.3, NAN]})
    assert main(["data", "rejudge", str(tmp_path / "store"), "--progress", str(file)]) == 0
    assert "3 episodes judged by ada/sarm progress_sparse, 2 verdicts changed" in capsys.readouterr().out
    done, half, unknown = EpisodeStore(tmp_path / "store").episodes()
    assert [label.source for label in done.labels] == ["vqa-1", "ada/sarm progress_sparse"]
    assert (done.success, half.success, unknown.success) == (True, False, None)
    assert done.probability == pytest.approx(0.96)
    assert curve_of(done.labels[-1]) == ((0, 0.0), (1, 0.25), (2, 0.5), (4, 0.96))
    scored = scores_of([done, half, unknown])
    assert scored.scores["done"].progress == (0.0, 0.25, 0.5, 0.96)
    assert scored.left_out == 1, "no value at the last frame is no verdict"
    # A repeated call finds nothing to do, and another threshold is another name.
    assert main(["data", "rejudge", str(tmp_path / "store"), "--progress", str(file)]) == 0
    assert "0 episodes judged" in capsys.readouterr().out
    words = ["--progress", str(file), "--threshold", "0.5", "--judge", "sarm at .5", "--where", "id = 'half'"]
    assert main(["data", "rejudge", str(tmp_path / "store"), *words]) == 0
    assert EpisodeStore(tmp_path / "store").episodes("id = 'half'")[0].success is True


@pytest.mark.parametrize(
    ("curves", "words", "message"),
    [
        ({0: [0, 0.5, 1.5, 0.5, 0.5]}, [], r"frame 2 of episode 0 has progress_sparse 1\.5"),
        ({0: [0, 0.5]}, [], "episode 0 has 2 frames, and in .* it has 5"),
        ({7: [0] * 5}, [], "has an episode 7, and the dataset in .* has 3"),
        ({0: [0] * 5}, ["--column", "progress_dense"], "has no column 'progress_dense'; it has index, episode_index"),
        ({0: [0] * 5}, ["--vlm", "vlm.yaml"], "leave out --vlm"),
        ({0: [0] * 5}, ["--threshold", "0"], "over 0 and at most 1, got 0"),
        ({0: [0] * 5}, ["--judge", "person:ada"], "neither a person nor the simulator"),
        ({0: [0] * 5}, ["--dataset", "."], "is no LeRobot dataset that SOAR exported"),
    ],
)
def test_what_is_no_progress_of_this_store_is_refused(
    tmp_path: Path,
    store: EpisodeStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    curves: dict[int, list[float]],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = export_lerobot(store, tmp_path / "dataset")
    as_lerobot_does(folder / "sarm_progress.parquet", curves)
    assert main(["data", "rejudge", "store", "--progress", "dataset/sarm_progress.parquet", *words]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error), error
    assert all(len(record.labels) == 1 for record in EpisodeStore(tmp_path / "store").episodes())


def test_a_file_that_names_no_model_and_words_without_a_file_are_asked_about(
    tmp_path: Path, store: EpisodeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export_lerobot(store, tmp_path / "dataset")
    as_lerobot_does(folder / "mine.parquet", {1: [0, 0, 0, 0, 1]}, column="progress", model="")
    assert main(["data", "rejudge", str(tmp_path / "store"), "--progress", str(folder / "mine.parquet")]) == 2
    assert "name the model with --judge" in " ".join(capsys.readouterr().err.split())
    assert read_progress(folder / "mine.parquet").curves == {"half": ((0, 0), (1, 0), (2, 0), (3, 0), (4, 1))}
    assert main(["data", "rejudge", str(tmp_path / "store"), "--judge", "mine"]) == 2
    assert "--progress names" in " ".join(capsys.readouterr().err.split())
    (folder / "damaged.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(FormatError, match="cannot be read as Parquet"):
        read_progress(folder / "damaged.parquet")
    pq.write_table(pa.table({"episode_index": ["a"], "frame_index": [0], "progress": [0.5]}), folder / "text.parquet")
    with pytest.raises(FormatError, match="no numbers"):
        read_progress(folder / "text.parquet")
    pq.write_table(
        pa.table({"episode_index": [0, None], "frame_index": [0, 1], "progress": [0.5, None]}), folder / "gap.parquet"
    )
    with pytest.raises(FormatError, match="episode_index is missing in some rows"):
        read_progress(folder / "gap.parquet")
