"""Rows and frames of LeRobotDatasets: by time, or refused with both numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.episodes import jpeg as frames
from soar.errors import FormatError
from soar.formats.lerobot import LeRobotConfig, open_lerobot
from soar.formats.lerobot_pairing import Span, check_spans

from .lerobot_folders import CAMERA, imported, picture, shown, write_lerobot

THREE = [list(range(8)), list(range(6)), list(range(7))]
ENDS_EARLY = {"next.done": lambda number, _: np.arange(len(THREE[number])) == 1}
FROM, TO = f"videos/{CAMERA}/from_timestamp", f"videos/{CAMERA}/to_timestamp"


def with_columns(**changes: Any) -> Any:
    """Changes columns of every episode; a function gets the number of the episode and the column."""

    def change(number: int, columns: dict[str, Any]) -> dict[str, Any]:
        found = {name: value(number, columns.get(name)) if callable(value) else value for name, value in changes.items()}
        return {name: value for name, value in (columns | found).items() if value is not None}

    return change


def with_rows(**changes: Any) -> Any:
    """Changes the list of episodes, a list of values by key."""
    keys = {"start": FROM, "end": TO}

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for key, values in changes.items():
            for row, value in zip(rows, values, strict=True):
                row[keys.get(key, key)] = value
        return [{key: value for key, value in row.items() if value is not None} for row in rows]

    return change


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_frames_follow_the_timestamps_of_rows_that_were_left_out(tmp_path: Path, version: str) -> None:
    kept = [0, 1, 2, 5, 6, 9, 11]
    times = [[frame / 10 for frame in kept], [frame / 10 for frame in range(6)]]
    folder = write_lerobot(tmp_path / "d", [range(12), range(6)], steps=[7, 6], times=times, version=version)  # type: ignore[list-item]
    assert [shown(episode) for episode in imported(folder, tmp_path / "s")] == [kept, list(range(6))]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"columns": with_columns(timestamp=None)},
        {"columns": with_columns(index=None, frame_index=None)},
        {"columns": with_columns(timestamp=lambda _, times: times + np.float32(0.004))},
        {"listed": with_rows(end=[None] * 3)},
        {"listed": with_rows(start=[0, 0.8004, 1.4009])},
        {"listed": lambda rows: [*rows, dict(rows[1])]},
        {"listed": lambda rows: rows[::2], "info": lambda info: info.update(total_episodes=3)},
    ],
    ids="plain no-timestamps no-indices shifted-by-4-ms no-ends offsets-drift listed-twice a-part-of-it".split(),  # noqa: SIM905
)
def test_what_agrees_is_paired(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = write_lerobot(tmp_path / "d", THREE, **changes)
    read = imported(folder, tmp_path / "s")
    assert [shown(episode) for episode in read] == [THREE[int(episode.origin["episode_index"])] for episode in read]
    assert len(read) >= 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listed": with_rows(start=[0, 0.9, 1.4])}, "episode 0 ends at 0.8000 s, and episode 1 begins at 0.9000 s: 1 frames"),
        ({"listed": with_rows(start=[0, 0.9, 1.4], end=[0.8, 1.5, 2.1])}, "episode 1 begins at 0.9000 s"),
        ({"listed": with_rows(start=[0, 0.9, 1.5], end=[0.8, 1.5, 2.2])}, "episode 1 begins at 0.9000 s"),
        ({"listed": with_rows(start=[0.1, 0.9, 1.5], end=[0.9, 1.5, 2.2])}, "begins at 0.1000 s and not at 0"),
        ({"listed": with_rows(start=[0, 0.7, 1.3], end=[0.8, 1.3, 2.0])}, "they overlap by 1 frames"),
        ({"listed": with_rows(start=[0, 0, 0], end=[0.8, 0.6, 0.7])}, "overlap by"),
        ({"listed": with_rows(start=[0, 0.8, 1.4], end=[0.8, 1.4, 1.9])}, "has 21 frames at 10 fps.* end at 1.9000 s"),
        ({"listed": with_rows(length=[7, 7, 7])}, "8 rows of .* have episode_index 0, and meta/episodes says 7"),
        ({"listed": with_rows(dataset_from_index=[0, 9, 14])}, "rows 9 to 14, which are 5, and a length of 6"),
        ({"listed": with_rows(dataset_from_index=[0, 15, 9], dataset_to_index=[8, 21, 16])}, "begin at 8 by .*, and at 15 by"),
        ({"columns": with_columns(index=lambda _, index: index + 1)}, "begin at 1 by its column index, and at 0 by"),
        ({"columns": with_columns(episode_index=lambda number, index: index + 1)}, "0 rows of .* have episode_index 0"),
        ({"columns": with_columns(frame_index=lambda _, index: index[::-1])}, "frame_index is 7 where 0"),
        ({"columns": with_columns(timestamp=lambda _, times: times / 1.5)}, "of 8 frames, and its 8 rows last 5.67 frames"),
        ({"columns": with_columns(timestamp=lambda _, times: times + np.float32(0.04))}, "expected a frame at 0.0400 s"),
        ({"columns": with_columns(timestamp=lambda _, times: times[::-1])}, "do not increase, 0.7000 s at step 0"),
        ({"columns": with_columns(timestamp=lambda _, times: [None, *times[1:]])}, "missing in 1 rows"),
        ({"columns": with_columns(timestamp=lambda _, times: times * np.float32("nan"))}, "do not increase"),
        ({"columns": with_columns(**ENDS_EARLY)}, "next.done is set at step 1, and the episode goes on to step 7"),
        ({"columns": with_columns(task_index=lambda _, index: ["put"] * len(index))}, "must be the number of a task .* 'put'"),
        ({"steps": [7, 6, 7]}, "is of 8 frames, and its 7 rows last 7 frames"),
        ({"steps": [9, 6, 7]}, "is of 8 frames, and its 9 rows last 9 frames"),
        ({"info": lambda info: info.update(fps=30)}, "of 24 frames, and its 8 rows last 22 frames at 30 fps"),
    ],
)  # fmt: skip
def test_what_does_not_agree_is_refused_with_both_numbers(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = write_lerobot(tmp_path / "d", THREE, **changes)
    with pytest.raises(FormatError, match=words):
        imported(folder, tmp_path / "s")


@pytest.mark.parametrize("late", [(0, 1), (0, 0, 1), (1, 1, 1)])
def test_no_episode_of_a_video_whose_times_are_off_is_stored(tmp_path: Path, late: tuple[int, ...]) -> None:
    # The last episodes are one frame late, and agree with one another: only the first of them shows it.
    late = (*late, *[1] * (3 - len(late)))
    starts = [start + shift / 10 for start, shift in zip((0, 0.8, 1.4), late, strict=True)]
    ends = [start + len(numbers) / 10 for start, numbers in zip(starts, THREE, strict=True)]
    folder = write_lerobot(tmp_path / "d", THREE, listed=with_rows(start=starts, end=ends))
    assert imported(folder, tmp_path / "s", skip_bad=True) == []


@pytest.mark.parametrize("extra", [-1, 1, 2])
def test_a_v21_video_with_more_or_fewer_frames_than_rows_is_refused(tmp_path: Path, extra: int) -> None:
    folder = write_lerobot(tmp_path / "d", [range(8 + extra), range(6)], steps=[8, 6], version="v2.1")  # type: ignore[list-item]
    with pytest.raises(FormatError, match=rf"has {8 + extra} frames at 10 fps.*\(8 frames at 10 fps\)"):
        imported(folder, tmp_path / "s")
    assert len(imported(folder, tmp_path / "t", skip_bad=True)) == 1


def test_a_list_that_calls_one_episode_two_things_is_refused(tmp_path: Path) -> None:
    folder = write_lerobot(tmp_path / "d", THREE, listed=lambda rows: [*rows, rows[1] | {"length": 5}])
    with pytest.raises(FormatError, match="episode 1 is listed twice, with different places"):
        open_lerobot(folder, LeRobotConfig())


@pytest.mark.parametrize("key", ["length", "data/chunk_index", f"videos/{CAMERA}/file_index", FROM])
def test_a_list_of_episodes_without_a_key_is_refused_by_its_name(tmp_path: Path, key: str) -> None:
    folder = write_lerobot(tmp_path / "d", THREE, listed=with_rows(**{key: [None] * 3}))
    with pytest.raises(FormatError, match=f"meta, the list of episodes: {key} of episode 0 must be a number; it is None"):
        open_lerobot(folder, LeRobotConfig())


@pytest.mark.parametrize("column", ["observation.state", "action", "episode_index"])
def test_a_data_file_without_a_column_is_refused_by_its_name(tmp_path: Path, column: str) -> None:
    folder = write_lerobot(tmp_path / "d", THREE)
    path = folder / "data/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(FormatError, match=rf"file-000.parquet.* has no column {column}"):
        imported(folder, tmp_path / "s")


@given(
    st.lists(st.integers(2, 30), min_size=2, max_size=6),
    st.integers(0, 5),
    st.integers(-3, 3).filter(bool),
    st.sampled_from(["start", "end", "both"]),
)
def test_any_shift_of_whole_frames_is_noticed(lengths: list[int], which: int, shift: int, what: str) -> None:
    fps, which = 15.0, which % len(lengths)
    bounds = np.cumsum([0, *lengths])
    spans = [Span(episode=n, start_s=bounds[n] / fps, end_s=bounds[n + 1] / fps, steps=lengths[n]) for n in range(len(lengths))]
    check_spans(spans, Path("v.mp4"), (int(bounds[-1]), fps), fps, whole=lambda _: True)
    moved = spans[which]
    spans[which] = Span(
        episode=which,
        start_s=moved.start_s + shift / fps * (what != "end"),
        end_s=(moved.end_s or 0) + shift / fps * (what != "start"),
        steps=moved.steps,
    )
    with pytest.raises(FormatError):
        check_spans(spans, Path("v.mp4"), (int(bounds[-1]), fps), fps, whole=lambda _: True)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ([0.0, 0.1, 0.1, 0.3], r"do not increase, 0.1000 s at step 1, then 0.1000 s"),
        ([0.0, 0.2, 0.1, 0.3], r"do not increase, 0.2000 s at step 1, then 0.1000 s"),
    ],
)
def test_images_in_cells_need_times_that_increase_too(tmp_path: Path, times: list[float], words: str) -> None:
    cells = {"bytes": frames.encode(picture(3)), "path": None}
    folder = write_lerobot(tmp_path / "d", [range(4)], times=[times], cells=lambda _: cells)  # type: ignore[list-item]
    with pytest.raises(FormatError, match=f"episode 0: its timestamps {words}"):
        imported(folder, tmp_path / "s")


def test_a_list_with_an_episode_of_no_rows_names_it_and_the_others_are_imported(tmp_path: Path) -> None:
    nothing = {"episode_index": 3, "length": 0, "dataset_from_index": 21, "dataset_to_index": 21, FROM: 2.1, TO: 2.1}
    folder = write_lerobot(tmp_path / "d", THREE, listed=lambda rows: [*rows, rows[0] | nothing])
    with pytest.raises(FormatError, match=r"episode 3: it has no rows in .*, and meta/episodes says 0, too"):
        imported(folder, tmp_path / "s")
    assert len(imported(folder, tmp_path / "t", skip_bad=True)) == 3


def test_episodes_that_are_counted_and_not_listed_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_lerobot(tmp_path / "d", THREE, info=lambda info: info.update(total_episodes=5))
    assert len(imported(folder, tmp_path / "s")) == 3
    assert "meta/info.json counts 5 episodes, and 3 are listed: what is not listed is not imported" in caplog.text


@pytest.mark.parametrize(("key", "value"), [("episode_index", "zero"), ("episode_index", 1.5), ("length", "8")])
def test_a_v21_list_whose_numbers_are_none_is_refused_by_the_key(tmp_path: Path, key: str, value: Any) -> None:
    folder = write_lerobot(tmp_path / "d", [range(8)], version="v2.1", listed=with_rows(**{key: [value]}))  # type: ignore[list-item]
    with pytest.raises(FormatError, match=rf"meta.*{key}.* must be a number; it is {value!r}"):
        open_lerobot(folder, LeRobotConfig())
