"""LeRobotDataset v3.0: the layout that reader and writer share, and the reader, which also takes v2.1.

```
meta/info.json   meta/tasks.parquet   meta/stats.json   meta/episodes/chunk-000/file-000.parquet
data/chunk-000/file-000.parquet       videos/CAMERA/chunk-000/file-000.mp4
```

Many episodes stand in one file, one after the other; `meta/episodes` says where each begins. Success comes from the sidecar,
else from a column `soar/success` of the episodes, else from `next.success` of an episode's last step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from soar.episodes import jpeg as frames
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.identity import moment
from soar.errors import FormatError
from soar.formats import lerobot_v21, sidecar
from soar.formats.fingerprints import fingerprint, of_file
from soar.formats.lerobot_tasks import instructions, tasks_of_table
from soar.formats.pictures import ImageRange, check_range
from soar.formats.steps import Actions, Dataset, Found, Unsaid, episode_of_steps
from soar.formats.texts import read_text, verdict_of
from soar.formats.video import read_span

VERSION = "v3.0"
CAMERA = "observation.images."
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotConfig:
    """How a LeRobot dataset is read.

    Attributes:
        camera: Name of the camera, with or without `observation.images.`; may be left out where there is one.
        actions: `reached` replaces the commanded motions by those that the next state shows.
        image_range: What becomes black and white in images of more than 8 bits; they are refused without.
        unsaid: What the files do not say.
    """

    camera: str = ""
    actions: Actions = "commanded"
    image_range: ImageRange | None = None
    unsaid: Unsaid = field(default_factory=Unsaid)

    def __post_init__(self) -> None:
        check_range(self.image_range)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    folder: Path
    info: dict[str, Any]
    camera: str
    tasks: dict[int, str]
    config: LeRobotConfig


def open_lerobot(folder: Path, config: LeRobotConfig) -> Dataset:
    """Find the episodes of a LeRobotDataset v3.0 or v2.1.

    Raises:
        FormatError: It is none, or of another version, or has no such camera.
    """
    try:
        info = json.loads(read_text(folder / "meta" / "info.json"))
    except (OSError, ValueError, FormatError) as error:
        raise FormatError(f"{folder} is no LeRobot dataset, meta/info.json cannot be read: {error}") from error
    version = info.get("codebase_version")
    if version not in (VERSION, lerobot_v21.VERSION):
        raise FormatError(
            f"{folder} is a LeRobot dataset of version {version}, this reads {VERSION} and {lerobot_v21.VERSION}; convert it "
            "with the scripts of lerobot"
        )
    features = info["features"]
    for name in ("observation.state", "action"):
        shape = features.get(name, {}).get("shape")
        if list(shape or ()) != [7]:
            raise FormatError(
                f"{folder}: {name} must be 7 numbers (x y z, roll pitch yaw, gripper), its shape is {shape}; "
                f"the features are {', '.join(features)}"
            )
    camera = _camera(folder, features, config.camera)
    _check_no_depth(folder, features[camera], camera, config)
    if version == VERSION:
        path = folder / "meta" / "tasks.parquet"
        episodes, tasks = (
            _rows(sorted((folder / "meta" / "episodes").rglob("*.parquet")), folder),
            tasks_of_table(_table(path), path),
        )
    else:
        episodes, tasks = lerobot_v21.episode_rows(folder, info, camera), lerobot_v21.task_texts(folder)
    episodes.sort(key=lambda row: int(row["episode_index"]))
    source = _Source(folder=folder, info=info, camera=camera, tasks=tasks, config=config)
    known = sidecar.read(folder)
    name = folder.resolve().name

    def found() -> Iterator[Found]:
        for row in episodes:
            index = row["episode_index"]
            stored = known.get(str(index))
            id = stored["id"] if stored else f"{name}-{index:06d}"
            place = f"{folder} episode {index}"
            yield Found(
                id=id,
                place=place,
                read=partial(_read, source, row, id, stored, place),
                fingerprint=partial(_fingerprint, source, row, stored),
            )

    return Dataset(count=len(episodes), episodes=found())


def _read(source: _Source, row: dict[str, Any], id: str, stored: dict[str, Any] | None, place: str) -> EncodedEpisode:
    path = _path(source, row, "data_path", "data")
    table = _table(path)
    table = table.filter(pc.equal(table["episode_index"], row["episode_index"]))
    if len(table) != row["length"]:
        raise FormatError(f"{place}: {path} holds {len(table)} of its {row['length']} steps; is the file truncated?")
    _check_order(table, place)
    states_ND, actions_ND = _vectors(table["observation.state"], place), _vectors(table["action"], place)
    images = _images(source, row, table)
    if stored is not None:
        return sidecar.restore(stored, images, states_ND, actions_ND, place)
    success = verdict_of(row.get("soar/success"), f"{place}: soar/success")
    if success is None and "next.success" in table.column_names:
        success = verdict_of(table["next.success"].to_pylist()[-1], f"{place}: next.success")
    unsaid = source.config.unsaid
    return episode_of_steps(
        id,
        place,
        images=images,
        states_ND=states_ND,
        actions_ND=actions_ND,
        actions=source.config.actions,
        origin={"format": "lerobot", "episode_index": row["episode_index"], "camera": source.camera, "fps": source.info["fps"]},
        scene=row.get("soar/scene") or unsaid.scene,
        instructions=instructions(table, source.tasks, place),
        image_range=source.config.image_range,
        labels=() if success is None else (unsaid.label(success),),
        provenance=unsaid.provenance(policy=row.get("soar/policy") or "", robot=source.info.get("robot_type") or ""),
    )


def _fingerprint(source: _Source, row: dict[str, Any], stored: dict[str, Any] | None) -> str:
    """Return what changes with the episode's files, its row in `meta/episodes`, or its task."""
    if stored is not None:
        return moment(stored["created_s"], stored["length"])
    files = [of_file(_path(source, row, "data_path", "data"))]
    if source.info["features"][source.camera]["dtype"] != "image":
        files.append(of_file(_path(source, row, "video_path", f"videos/{source.camera}")))
    texts = [name for name in row.get("tasks") or () if name in source.tasks.values()] or sorted(source.tasks.items())
    return fingerprint(replace(source.config, unsaid=Unsaid()), sorted(row.items()), files, texts)


def _check_no_depth(folder: Path, feature: dict[str, Any], camera: str, config: LeRobotConfig) -> None:
    """Refuse a camera that is said to measure depth, unless it is known which values become black and white."""
    said = (feature.get("info") or {}).get("video.is_depth_map") or feature.get("is_depth_map")
    if said and config.image_range is None:
        raise FormatError(
            f"{folder}: {camera} is a depth map (video.is_depth_map in meta/info.json), no picture. Choose another camera with "
            "--camera, or name the values that become black and white, for example --image-range 0 2000"
        )


def _check_order(table: pa.Table, place: str) -> None:
    """Refuse an episode whose steps are not in order."""
    if "frame_index" not in table.column_names:
        return
    wrong = np.flatnonzero(np.asarray(table["frame_index"]) != np.arange(len(table)))
    if wrong.size:
        found = table["frame_index"][int(wrong[0])].as_py()
        raise FormatError(f"{place}: the steps are not in order, frame_index is {found} where {wrong[0]} is expected")


def _images(source: _Source, row: dict[str, Any], table: pa.Table) -> list[bytes]:
    camera = source.camera
    if source.info["features"][camera]["dtype"] == "image":
        return [cell["bytes"] for cell in table[camera].to_pylist()]
    path = _path(source, row, "video_path", f"videos/{camera}")
    start_s = row[f"videos/{camera}/from_timestamp"]
    images = read_span(path, start_s, row["length"], source.info["fps"], source.config.image_range)
    return [frames.encode(image) for image in images]


def _path(source: _Source, row: dict[str, Any], template: str, columns: str) -> Path:
    """Return the file that an episode is in; the names in the template are those of its version."""
    names = {
        "video_key": source.camera,
        "chunk_index": row[f"{columns}/chunk_index"],
        "file_index": row[f"{columns}/file_index"],
        "episode_chunk": row.get("episode_chunk", 0),
        "episode_index": row["episode_index"],
    }
    return source.folder / str(source.info[template]).format(**names)


def _camera(folder: Path, features: dict[str, Any], wanted: str) -> str:
    cameras = [name for name, feature in features.items() if feature["dtype"] in ("video", "image")]
    chosen = [name for name in cameras if wanted in (name, name.removeprefix(CAMERA))] if wanted else cameras
    if len(chosen) != 1:
        names = ", ".join(name.removeprefix(CAMERA) for name in cameras) or "none"
        raise FormatError(
            f"{folder} has no camera {wanted!r}; its cameras: {names}"
            if wanted
            else f"{folder}: choose one of its cameras with --camera: {names}"
        )
    return chosen[0]


def _rows(paths: list[Path], folder: Path) -> list[dict[str, Any]]:
    if not paths:
        raise FormatError(f"{folder} has no meta/episodes/*/*.parquet; the dataset is incomplete")
    rows: list[dict[str, Any]] = []
    for path in paths:
        table = _table(path)
        rows += table.select([name for name in table.column_names if not name.startswith("stats/")]).to_pylist()
    return rows


def _vectors(column: pa.ChunkedArray, place: str) -> NDArray[np.float32]:
    if column.null_count:
        raise FormatError(f"{place}: a state or an action is missing")
    return np.array(column.to_pylist(), np.float32)


def _table(path: Path) -> pa.Table:
    try:
        return _read_table(path, path.stat().st_mtime_ns)
    except (OSError, pa.ArrowException) as error:
        raise FormatError(f"cannot read {path}: {error}; restore the file") from error


@lru_cache(maxsize=2)
def _read_table(path: Path, changed_ns: int) -> pa.Table:
    """Read a parquet file; the last ones stay in memory, as episodes stand in them one after the other."""
    return pq.read_table(path)
