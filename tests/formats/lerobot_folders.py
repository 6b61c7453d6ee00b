"""LeRobot datasets whose pictures say which frame they are, with whatever is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig, open_lerobot

CAMERA = "observation.images.front"
POSE = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
FPS = 10
_LEVELS = 12
"""Grey levels between two frames."""
Rows = dict[str, Any]


def motion(steps: int, dim: int = 7) -> np.ndarray:
    """Vectors that move a little, with a gripper, in the last place, that is open and then closed."""
    values = np.random.default_rng(steps).normal(0, 0.01, (steps, dim)).astype(np.float32)
    values[:, -1] = np.arange(steps) < steps / 2
    return values


def write_lerobot(
    folder: Path,
    frames_of: Sequence[Sequence[int]],
    *,
    steps: Sequence[int] | None = None,
    version: str = "v3.0",
    names: Any = POSE,
    vectors: Sequence[np.ndarray] | None = None,
    states: Sequence[np.ndarray] | None = None,
    times: Sequence[Sequence[float]] | None = None,
    begins: Sequence[float] | None = None,
    columns: Callable[[int, Rows], Rows] = lambda _, rows: rows,
    listed: Callable[[list[Rows]], list[Rows]] = lambda rows: rows,
    info: Callable[[dict[str, Any]], Any] = lambda info: None,
    cells: Callable[[int], Any] | None = None,
) -> Path:
    """Write a dataset with an episode for each list of frame numbers.

    Args:
        folder: Of the dataset.
        frames_of: The pictures of each episode's video.
        steps: Rows of each episode; as many as pictures by default.
        version: v3.0, all episodes in one file, or v2.1.
        names: Of the numbers of states and actions.
        vectors: Actions of each episode, and states if these are not given.
        states: States of each episode.
        times: The column `timestamp` of each episode.
        begins: `from_timestamp` of each episode; where its frames are by default.
        columns: Changes the columns of an episode.
        listed: Changes the list of episodes.
        info: Changes meta/info.json in place.
        cells: What stands in the image column for a frame; a video by default.
    """
    steps = [len(numbers) for numbers in frames_of] if steps is None else steps
    actions = [motion(count) for count in steps] if vectors is None else vectors
    states = actions if states is None else states
    v3, dim, kind = version == "v3.0", actions[0].shape[1], "image" if cells else "video"
    vector = {"dtype": "float32", "shape": [dim], "names": names}
    written = {
        "codebase_version": version,
        "robot_type": "arm",
        "total_episodes": len(steps),
        "fps": FPS,
        "data_path": f"data/chunk-{{{'chunk_index' if v3 else 'episode_chunk'}:03d}}/"
        + ("file-{file_index:03d}.parquet" if v3 else "episode_{episode_index:06d}.parquet"),
        "video_path": "videos/{video_key}/file-{file_index:03d}.mp4" if v3 else "videos/{video_key}/{episode_index:06d}.mp4",
        "features": {
            "observation.state": {**vector, "shape": [states[0].shape[1]]},
            "action": vector,
            CAMERA: {"dtype": kind, "shape": [32, 32, 3], "names": ["height", "width", "channels"]},
        },
    }
    info(written)
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(written), encoding="utf-8")
    tables, rows, pictures, first = [], [], [], 0
    for number, (count, of_video) in enumerate(zip(steps, frames_of, strict=True)):
        cell = {CAMERA: [cells(index) for index in of_video]} if cells else {}
        table = columns(
            number,
            {
                "observation.state": states[number].tolist(),
                "action": actions[number].tolist(),
                "timestamp": np.asarray(np.arange(count) / FPS if times is None else times[number], np.float32),
                "frame_index": np.arange(count),
                "episode_index": np.full(count, number),
                "index": first + np.arange(count),
                "task_index": np.zeros(count, int),
                **cell,
            },
        )
        tables.append(pa.table(table))
        begin = len(pictures) / FPS if v3 else 0.0
        files = {f"{what}/{key}": 0 for what in ("data", f"videos/{CAMERA}") for key in ("chunk_index", "file_index")}
        rows.append(
            {
                "episode_index": number,
                "length": count,
                "tasks": ["put"],
                **({"dataset_from_index": first, "dataset_to_index": first + count} if v3 else {}),
                **(files if v3 else {}),
                **({f"videos/{CAMERA}/from_timestamp": begin if begins is None else begins[number]} if v3 else {}),
                **({f"videos/{CAMERA}/to_timestamp": begin + len(of_video) / FPS} if v3 else {}),
            }
        )
        first += count
        if v3:
            pictures += of_video
        else:
            _parquet(tables[-1], folder / f"data/chunk-000/episode_{number:06d}.parquet")
            _video(folder / f"videos/{CAMERA}/{number:06d}.mp4", of_video)
    rows = listed(rows)
    if v3:
        _parquet(pa.concat_tables(tables), folder / "data/chunk-000/file-000.parquet")
        _video(folder / f"videos/{CAMERA}/file-000.mp4", pictures)
        _parquet(pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/file-000.parquet")
        _parquet(pa.table({"task_index": [0], "task": ["put"]}), folder / "meta/tasks.parquet")
    else:
        for name, entries in (("episodes", rows), ("tasks", [{"task_index": 0, "task": "put"}])):
            (folder / f"meta/{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return folder


def picture(number: int) -> np.ndarray:
    return np.full((32, 32, 3), 10 + _LEVELS * number, np.uint8)


def shown(episode: EncodedEpisode) -> list[int]:
    """The numbers of an episode's frames."""
    return [round((float(frames.decode(jpeg).mean()) - 10) / _LEVELS) for jpeg in episode.frames]


def imported(folder: Path, store: Path, config: LeRobotConfig | None = None, *, skip_bad: bool = False) -> list[EncodedEpisode]:
    target = EpisodeStore(store, mode="create")
    import_episodes(open_lerobot(folder, config or LeRobotConfig()), target, skip_bad=skip_bad)
    return [target.read_encoded(record.id) for record in sorted(target.episodes(), key=lambda record: record.id)]


def _parquet(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _video(path: Path, numbers: Sequence[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"g": "2", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for place, number in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
