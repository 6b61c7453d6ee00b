"""What the rows of an episode say of its task, against what the list of episodes says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soar.errors import FormatError

from .lerobot_folders import imported, write_lerobot

TASKS = ["open it", "close it"]


def two_tasks(folder: Path, listed: list[Any], rows: list[list[int]]) -> Path:
    """A dataset of two episodes: what the list calls them, and the task_index of their rows."""
    write_lerobot(
        folder,
        [range(6), range(6)],  # type: ignore[list-item]
        columns=lambda number, columns: columns | {"task_index": np.array(rows[number])},
        listed=lambda entries: [entry | {"tasks": listed[entry["episode_index"]]} for entry in entries],
    )
    pq.write_table(pa.table({"task_index": [0, 1], "task": TASKS}), folder / "meta/tasks.parquet")
    return folder


def test_episodes_whose_rows_and_list_name_each_the_others_task_are_refused_with_both(tmp_path: Path) -> None:
    folder = two_tasks(tmp_path / "d", [[TASKS[1]], [TASKS[0]]], [[0] * 6, [1] * 6])
    with pytest.raises(
        FormatError, match=r"episode 0: its rows say by task_index .* 'open it', and `tasks` in meta/episodes .* 'close it'"
    ):
        imported(folder, tmp_path / "s")
    assert imported(folder, tmp_path / "t", skip_bad=True) == []


@pytest.mark.parametrize(
    ("listed", "rows", "instruction", "said"),
    [
        ([["open it"], ["close it"]], [[0] * 6, [1] * 6], "open it", ""),
        ([["open it"], None], [[0] * 6, [1] * 6], "open it", ""),
        ([["unlatch it"], ["close it"]], [[0] * 6, [1] * 6], "open it", "has 1 texts that the file of tasks lacks, for exam"),
        ([["open it"], ["close it"]], [[0] * 3 + [1] * 3, [1] * 6], "open it", "'close it', 'open it', and meta/episodes 'op"),
        ([["open it"], ["close it"]], [[-1] * 6, [1] * 6], "", ""),
    ],
)
def test_the_rows_count_where_they_do_not_contradict_the_list(
    tmp_path: Path, listed: list[Any], rows: list[list[int]], instruction: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    read = imported(two_tasks(tmp_path / "d", listed, rows), tmp_path / "s")
    assert [episode.instruction for episode in read] == [instruction, "close it"]
    assert said in caplog.text
    assert bool(said) is ("meta/episodes" in caplog.text)
