"""What is different in LeRobotDataset v2.1, the format before: a file an episode, and JSON lines instead of tables.

```
meta/info.json   meta/tasks.jsonl   meta/episodes.jsonl
data/chunk-000/episode_000000.parquet       videos/chunk-000/CAMERA/episode_000000.mp4
```
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from soar.errors import FormatError
from soar.formats.lerobot_tasks import tasks_of_lines
from soar.formats.texts import read_text
from soar.untrusted import parse_json

VERSION = "v2.1"


def episode_rows(folder: Path, chunk_size: int, cameras: Sequence[str]) -> list[dict[str, Any]]:
    """Return the episodes as v3.0 lists them, each alone in its files.

    Raises:
        FormatError: `meta/episodes.jsonl` cannot be read.
    """
    rows = []
    for entry in _lines(folder / "meta" / "episodes.jsonl", "episode_index", "length"):
        index = entry["episode_index"]
        if type(index) is not int:
            raise FormatError(f"{folder / 'meta' / 'episodes.jsonl'}: episode_index must be a number; it is {index!r}")
        chunk = index // chunk_size
        videos = [f"videos/{camera}" for camera in cameras]
        place = {f"{prefix}/{key}": 0 for prefix in ("data", *videos) for key in ("chunk_index", "file_index")}
        begins = {f"{video}/from_timestamp": 0.0 for video in videos}
        rows.append({**place, **entry, "episode_chunk": chunk, **begins})
    return rows


def task_texts(folder: Path) -> dict[int, str]:
    """Return the tasks by index.

    Raises:
        FormatError: `meta/tasks.jsonl` cannot be read.
    """
    path = folder / "meta" / "tasks.jsonl"
    return tasks_of_lines(_lines(path, "task_index", "task"), path)


def _lines(path: Path, *keys: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    try:
        # Only a newline ends an entry: a text may hold what else Python takes for the end of a line.
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            entry = parse_json(line)
            if not isinstance(entry, dict) or not all(key in entry for key in keys):
                raise FormatError(f"{path} line {number} must hold {', '.join(keys)}")
            entries.append(entry)
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {path}: {error}; restore the file") from error
    return entries
