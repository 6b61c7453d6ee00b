"""LeRobotDataset v3.0: the layout that reader and writer share, and the reader, which also takes v2.1.

```
meta/info.json   meta/tasks.parquet   meta/stats.json   meta/episodes/chunk-000/file-000.parquet
data/chunk-000/file-000.parquet       videos/CAMERA/chunk-000/file-000.mp4
```

Many episodes stand in one file, one after the other; `meta/episodes` says where each begins. Success comes from the sidecar,
else from a column `soar/success` of the episodes, else from `next.success` of an episode's last step.

Cameras besides the main one come along (`further_cameras`).

What the numbers are is in `vector_maps` and `gripper_range`, which frame belongs to which row in `lerobot_pairing`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from soar.episodes.encoded import EncodedEpisode
from soar.episodes.identity import moment
from soar.errors import FormatError
from soar.formats import lerobot_v21, sidecar
from soar.formats.fingerprints import fingerprint, of_file
from soar.formats.further_cameras import FurtherCameras, check_complete, main_of
from soar.formats.gripper_range import Grippers
from soar.formats.lerobot_images import Videos, image_cells
from soar.formats.lerobot_info import ACTION, STATE, Feature, Info, read_info
from soar.formats.lerobot_list import check_listed_episodes, first_rows, listed_episodes, read_table
from soar.formats.lerobot_pairing import Span, check_rows, row_times
from soar.formats.lerobot_tasks import check_listed, instructions, listed_texts, say_other_texts, tasks_of_table
from soar.formats.lerobot_vectors import VectorColumns, measured_columns, vector_columns
from soar.formats.pictures import ImageRange, check_range
from soar.formats.steps import Actions, Dataset, Found, Unsaid, check_end, episode_of_steps
from soar.formats.texts import verdict_of
from soar.formats.vector_maps import VectorConfig
from soar.formats.vector_survey import survey_vectors

VERSION = "v3.0"
CAMERA = "observation.images."
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotConfig:
    """How a LeRobot dataset is read.

    Attributes:
        camera: Name of the main camera, with or without `observation.images.`; may be left out where there is one, and where
            an export says which one it was.
        other_cameras: Bring the others along as further ones.
        actions: `reached` replaces the commanded motions by those that the next state shows.
        vectors: What the numbers of states and actions are, where that is not clear.
        image_range: What becomes black and white in images of more than 8 bits; they are refused without.
        unsaid: What the files do not say.
    """

    camera: str = ""
    other_cameras: bool = field(default=True, repr=False)
    actions: Actions = "commanded"
    vectors: VectorConfig = field(default_factory=VectorConfig)
    image_range: ImageRange | None = None
    unsaid: Unsaid = field(default_factory=Unsaid)

    def __post_init__(self) -> None:
        check_range(self.image_range)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    info: Info
    camera: str
    further: Mapping[str, str]
    """Features of further cameras, by the cameras' names."""
    others: FurtherCameras
    tasks: dict[int, str]
    config: LeRobotConfig
    state: VectorColumns
    action: VectorColumns
    grippers: Grippers
    videos: Mapping[str, Videos]
    """By camera."""
    offsets: dict[Path, int]
    """By data file, which row of the dataset its first one is."""


def open_lerobot(folder: Path, config: LeRobotConfig) -> Dataset:
    """Find the episodes of a LeRobotDataset v3.0 or v2.1.

    The columns of states and actions are read once, to know what the gripper's numbers mean.

    Raises:
        FormatError: It is none, or of another version, or has no such camera, or its numbers are no pose and no gripper.
        ConfigError: A map or a range is none.
    """
    info = read_info(folder, (VERSION, lerobot_v21.VERSION))
    state = vector_columns(info, STATE, config.vectors.state_map)
    action = vector_columns(info, ACTION, config.vectors.action_map)
    known = sidecar.read(folder)
    camera = _camera(folder, info.features, config.camera, known)
    _check_no_depth(folder, info.features[camera], camera, config)
    others = FurtherCameras(str(folder))
    further = _further(info.features, camera, config, others)
    cameras = (camera, *further.values())
    if info.version == VERSION:
        path = folder / "meta" / "tasks.parquet"
        episodes, tasks = (
            listed_episodes(sorted((folder / "meta" / "episodes").rglob("*.parquet")), folder),
            tasks_of_table(read_table(path), path),
        )
    else:
        episodes, tasks = lerobot_v21.episode_rows(folder, info.chunk_size, cameras), lerobot_v21.task_texts(folder)
    for one in cameras:
        episodes = check_listed_episodes(folder, episodes, f"videos/{one}" if info.features[one].dtype == "video" else "")
    name = folder.resolve().name
    files: dict[Path, list[dict[str, Any]]] = {}
    spans: dict[str, dict[Path, list[Span]]] = {one: {} for one in cameras}
    for row in episodes:
        files.setdefault(_path(info, camera, row, "data_path", "data"), []).append(row)
        for one in cameras if info.version == VERSION else ():
            if info.features[one].dtype == "video":
                video = f"videos/{one}"
                start_s, end_s = float(row[f"{video}/from_timestamp"]), row.get(f"{video}/to_timestamp")
                span = Span(episode=row["episode_index"], start_s=start_s, end_s=end_s, steps=row["length"])
                spans[one].setdefault(_path(info, one, row, "video_path", video), []).append(span)
    numbers = frozenset(row["episode_index"] for row in episodes)
    say_other_texts(folder, episodes, tasks)
    if info.total is not None and info.total != len(numbers):
        _log.warning(
            "%s: meta/info.json counts %d episodes, and %d are listed: what is not listed is not imported",
            folder,
            info.total,
            len(numbers),
        )
    wanted = {
        path: [row["episode_index"] for row in rows if str(row["episode_index"]) not in known] for path, rows in files.items()
    }
    grippers, notes = survey_vectors(
        measured_columns([(path, wanted[path]) for path in files if wanted[path]], state, action),
        config.vectors,
        actions=config.actions,
        place=str(folder),
        state=state.map,
        action=action.map,
    )
    if any(wanted.values()):
        for note in filter(None, (state.note, action.note, *notes)):
            _log.warning("%s", note)
    source = _Source(
        info=info,
        camera=camera,
        further=further,
        others=others,
        tasks=tasks,
        config=config,
        state=state,
        action=action,
        grippers=grippers,
        videos={one: Videos(info=info, spans=spans[one], episodes=numbers) for one in cameras},
        offsets=first_rows(files) if numbers == frozenset(range(len(numbers))) else {},
    )

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
    path = _path(source.info, source.camera, row, "data_path", "data")
    table = read_table(path)
    table = check_rows(table, row, source.offsets.get(path), path=path, place=place)
    states_ND = source.state.map(source.state.read(table, str(path)), place)
    actions_ND = source.action.map(source.action.read(table, str(path)), place)
    if "next.done" in table.column_names:
        check_end(
            "next.done",
            [flag[0] if isinstance(flag, list) and flag else flag for flag in table["next.done"].to_pylist()],
            place,
        )
    images = _images(source, source.camera, row, table, place)
    readers = {name: partial(_images, source, feature, row, table, place) for name, feature in source.further.items()}
    further = source.others.frames(readers, place, source.config.image_range)
    if stored is not None:
        if source.config.other_cameras:
            check_complete(stored, source.camera.removeprefix(CAMERA), further, place)
        return sidecar.restore(stored, images, states_ND, actions_ND, place=place, further=further)
    states_ND, actions_ND = source.grippers(states_ND, actions_ND)
    success = verdict_of(row.get("soar/success"), f"{place}: soar/success")
    if success is None and "next.success" in table.column_names:
        success = verdict_of(table["next.success"].to_pylist(), f"{place}: next.success")
    said = instructions(table, source.tasks, place)
    check_listed(said, row.get("tasks"), source.tasks, place)
    unsaid = source.config.unsaid
    return episode_of_steps(
        id,
        place,
        images=images,
        states_ND=states_ND,
        actions_ND=actions_ND,
        actions=source.config.actions,
        origin={"format": "lerobot", "episode_index": row["episode_index"], "camera": source.camera, "fps": source.info.fps},
        scene=row.get("soar/scene") or unsaid.scene,
        instructions=said,
        image_range=source.config.image_range,
        further=further,
        labels=() if success is None else (unsaid.label(success),),
        provenance=unsaid.provenance(policy=row.get("soar/policy") or "", robot=source.info.robot),
    )


def _fingerprint(source: _Source, row: dict[str, Any], stored: dict[str, Any] | None) -> str:
    """Return what changes with the episode's files, its row in `meta/episodes`, or its task."""
    if stored is not None:
        return moment(stored["created_s"], stored["length"])
    files = [of_file(_path(source.info, source.camera, row, "data_path", "data"))]
    if source.info.features[source.camera].dtype != "image":
        files.append(of_file(_path(source.info, source.camera, row, "video_path", f"videos/{source.camera}")))
    listed = [name for name in listed_texts(row.get("tasks"), "") if name in source.tasks.values()]
    texts: list[Any] = [*listed] or sorted(source.tasks.items())
    more: list[Any] = []
    for name, feature in source.further.items():
        is_video = source.info.features[feature].dtype == "video"
        more.append((name, of_file(_path(source.info, feature, row, "video_path", f"videos/{feature}")) if is_video else ""))
    # Nothing more where there is one camera: what was imported before further ones came along is known by this, too.
    return fingerprint(replace(source.config, unsaid=Unsaid()), sorted(row.items()), files, texts, *([more] if more else []))


def _check_no_depth(folder: Path, feature: Feature, camera: str, config: LeRobotConfig) -> None:
    """Refuse a camera that is said to measure depth, unless it is known which values become black and white."""
    if feature.depth and config.image_range is None:
        raise FormatError(
            f"{folder}: {camera} is a depth map (video.is_depth_map in meta/info.json), no picture. Choose another camera with "
            "--camera, or name the values that become black and white, for example --image-range 0 2000"
        )


def _images(source: _Source, camera: str, row: dict[str, Any], table: pa.Table, place: str) -> list[bytes]:
    info = source.info
    if info.features[camera].dtype == "video":
        path = _path(info, camera, row, "video_path", f"videos/{camera}")
        return source.videos[camera].read(path, row, table, source.config.image_range, place)
    if camera not in table.column_names:
        raise FormatError(f"{place}: the file has no column {camera}; it has {', '.join(table.column_names)}")
    # Cells belong to their rows; times that fall or stand still mean that these are not one episode, in order.
    row_times(table, info.fps, place)
    return image_cells(table[camera], info.folder, camera, row["episode_index"], place)


def _path(info: Info, camera: str, row: dict[str, Any], template: str, columns: str) -> Path:
    """Return the file that an episode is in; the names in the template are those of its version."""
    return info.path(
        template,
        video_key=camera,
        chunk_index=row.get(f"{columns}/chunk_index", 0),
        file_index=row.get(f"{columns}/file_index", 0),
        episode_chunk=row.get("episode_chunk", 0),
        episode_index=row["episode_index"],
    )


def _camera(folder: Path, features: Mapping[str, Feature], wanted: str, known: Mapping[str, dict[str, Any]]) -> str:
    """Return the feature of the main camera."""
    cameras = [name for name, feature in features.items() if feature.dtype in ("video", "image")]
    was = wanted or main_of(known.values(), [name.removeprefix(CAMERA) for name in cameras])
    chosen = [name for name in cameras if was in (name, name.removeprefix(CAMERA))] if was else cameras
    if len(chosen) != 1:
        names = ", ".join(name.removeprefix(CAMERA) for name in cameras) or "none"
        raise FormatError(
            f"{folder} has no camera {wanted!r}; its cameras: {names}"
            if wanted
            else f"{folder}: choose one of its cameras with --camera: {names}; the others come along"
        )
    return chosen[0]


def _further(features: Mapping[str, Feature], camera: str, config: LeRobotConfig, others: FurtherCameras) -> dict[str, str]:
    """Return the features of the cameras that come along, by the cameras' names."""
    if not config.other_cameras:
        return {}
    found = {
        name.removeprefix(CAMERA): name
        for name, feature in features.items()
        if feature.dtype in ("video", "image") and name != camera
    }
    for name, feature in list(found.items()):
        if features[feature].depth and config.image_range is None:
            others.left(name, "it is a depth map (video.is_depth_map in meta/info.json)")
            del found[name]
    return {name: found[name] for name in others.usable(found)}
