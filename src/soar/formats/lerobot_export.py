"""A LeRobotDataset v3.0 that the released `lerobot` reader opens.

Frames become a video for each camera. Subgoal images stay in the sidecar: LeRobot takes every image feature for an input of the
policy. An episode's verdict and lineage are extra columns `soar/…` of `meta/episodes`, which LeRobot keeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from soar.episodes import jpeg as frames
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.schema import EpisodeRecord
from soar.episodes.scores import Score
from soar.episodes.store import EpisodeStore
from soar.errors import FormatError
from soar.formats.exporting import Report, chosen, further_cameras, new_folder, write_card
from soar.formats.lerobot import CAMERA, DATA_PATH, EPISODES_PATH, VERSION, VIDEO_PATH
from soar.formats.own_steps import say_what_was_cut, with_own_steps
from soar.formats.score_columns import write_lerobot_scores
from soar.formats.sidecar import SidecarWriter
from soar.formats.steps import actions_of_steps
from soar.formats.video import Codec, VideoWriter
from soar.types import ACTION_DIM, STATE_DIM, STEP_S

FPS = round(1 / STEP_S)
_CHUNK_FILES = 1000
_DATA_MB, _VIDEO_MB = 100, 200
_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
_STATE_NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
_IMAGE_SAMPLES = 16
"""Frames of an episode from which the statistics of its pixels are estimated."""
_DATA = pa.schema(
    [
        ("observation.state", pa.list_(pa.float32(), STATE_DIM)),
        ("action", pa.list_(pa.float32(), ACTION_DIM)),
        ("timestamp", pa.float32()),
        ("frame_index", pa.int64()),
        ("episode_index", pa.int64()),
        ("index", pa.int64()),
        ("task_index", pa.int64()),
    ]
)


def export_lerobot(
    store: EpisodeStore,
    out: Path,
    *,
    where: str | None = None,
    camera: str = "image_0",
    other_cameras: bool = True,
    codec: Codec = "av1",
    license: str = "cc-by-4.0",
    video_bytes: int = _VIDEO_MB * 10**6,
    scores: Mapping[str, Score] | None = None,
    cut_reflexes: bool = False,
    report: Report | None = None,
) -> Path:
    """Write episodes as a LeRobotDataset v3.0.

    Args:
        store: The episodes.
        out: Folder of the dataset; must not exist.
        where: SQL that selects some of the episodes.
        camera: What the main camera is called; further ones keep their names.
        other_cameras: Write further cameras, too.
        codec: Of the video.
        license: For the card.
        video_bytes: About how large a file of video, and of data, becomes.
        scores: By episode: columns beside the verdicts, and a file of weights; episodes without one are left out.
        cut_reflexes: Write of each episode only a stretch without a reflex (`soar.formats.own_steps`).
        report: Is told how far it is.

    Returns:
        `out`.

    Raises:
        StoreError: No episode is selected.
        FormatError: The folder exists already or cannot be written, or frames differ in size, or episodes in their cameras.
    """
    records = chosen(store, where, scores)
    further = further_cameras(records, camera, wanted=other_cameras)
    with new_folder(out) as aside:
        own = dict(scores or {})
        export = _Export(aside, (camera, *further), codec, video_bytes)
        written = export.write(store, records, own if cut_reflexes else None, report)
        if scores is not None:
            write_lerobot_scores(aside, written, own)
        write_card(aside, written, name=out.name, license=license, tags=("LeRobot",))
    return out


def robot_type(robots: Iterable[str]) -> str:
    """Return what LeRobot is told of a dataset of these robots: `sim` for `sim-0` and `sim-1`, all kinds where they differ."""
    return ", ".join(sorted({re.sub(r"-\d+$", "", robot) for robot in robots}))


class _Export:
    """The files of an export as they grow."""

    def __init__(self, folder: Path, cameras: Sequence[str], codec: Codec, file_bytes: int) -> None:
        self._folder, self._codec, self._file_bytes = folder, codec, file_bytes
        self._names = tuple(cameras)  # the main one first
        self._cameras = tuple(CAMERA + name for name in cameras)
        self._file = 0
        self._sizes: dict[str, tuple[int, int]] = {}
        self._videos: dict[str, VideoWriter] = {}
        self._data: pq.ParquetWriter | None = None
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._vectors: dict[str, list[NDArray[Any]]] = {name: [] for name in ("observation.state", "action", *self._cameras)}
        self._index = 0

    def write(
        self, store: EpisodeStore, records: list[EpisodeRecord], own: dict[str, Score] | None, report: Report | None
    ) -> list[EpisodeRecord]:
        """Write episodes, or with `own` scores, which are cut, too, their own steps; return what is known of them then."""
        written = list[EpisodeRecord]()
        with closing(SidecarWriter(self._folder)) as known:
            read = store.read_many([record.id for record in records], further=len(self._names) > 1)
            for number, (record, whole) in enumerate(zip(records, read, strict=True)):
                encoded, known_of = (whole, record) if own is None else with_own_steps(whole, record, own)
                written.append(known_of)
                self._add(number, encoded, record)
                known.add(str(number), encoded)
                if report:
                    report(number + 1, len(records))
        self._close_files()
        self._write_meta()
        say_what_was_cut(records, written)
        return written

    def _add(self, number: int, encoded: EncodedEpisode, record: EpisodeRecord) -> None:
        jpegs = (encoded.frames, *(encoded.extra_frames[name] for name in self._names[1:]))
        shots = {camera: frames.decode_all(shot) for camera, shot in zip(self._cameras, jpegs, strict=True)}
        videos, data = self._files({camera: (one.shape[1], one.shape[2]) for camera, one in shots.items()}, encoded.id)
        count = len(encoded.frames)
        task = self._tasks.setdefault(encoded.instruction, len(self._tasks))
        steps = np.arange(count)
        states_ND, actions_ND = np.asarray(encoded.states_TD, np.float32), actions_of_steps(encoded)
        begin_s = videos[self._cameras[0]].count / FPS
        for camera, images_NHWC in shots.items():
            for image_HWC in images_NHWC:
                videos[camera].add(image_HWC)
        end_s = videos[self._cameras[0]].count / FPS
        data.write_table(
            pa.table(
                [
                    pa.FixedSizeListArray.from_arrays(pa.array(states_ND.ravel()), STATE_DIM),
                    pa.FixedSizeListArray.from_arrays(pa.array(actions_ND.ravel()), ACTION_DIM),
                    pa.array((steps / FPS).astype(np.float32)),
                    pa.array(steps),
                    pa.array(np.full(count, number)),
                    pa.array(self._index + steps),
                    pa.array(np.full(count, task)),
                ],
                schema=_DATA,
            )
        )
        where = {"chunk_index": self._file // _CHUNK_FILES, "file_index": self._file % _CHUNK_FILES}
        vectors = {"observation.state": states_ND, "action": actions_ND}
        vectors |= {camera: _pixels(images_NHWC) for camera, images_NHWC in shots.items()}
        for name, values in vectors.items():
            self._vectors[name].append(values)
        provenance = record.provenance
        self._rows.append(
            {
                "episode_index": number,
                "tasks": [encoded.instruction],
                "length": count,
                "dataset_from_index": self._index,
                "dataset_to_index": self._index + count,
                **{f"data/{name}": value for name, value in where.items()},
                **{
                    f"videos/{camera}/{name}": value
                    for camera in self._cameras
                    for name, value in {
                        **where,
                        "from_timestamp": begin_s,
                        "to_timestamp": end_s,
                    }.items()
                },
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **{
                    f"stats/{name}/{key}": value
                    for name, values in vectors.items()
                    for key, value in _statistics(values, image=name in self._cameras).items()
                },
                "soar/id": encoded.id,
                "soar/scene": encoded.scene,
                "soar/success": record.success,
                "soar/probability": record.probability,
                "soar/policy": provenance.policy,
                "soar/vlm": provenance.vlm,
                "soar/subgoal_model": provenance.subgoal_model,
                "soar/robot": provenance.robot,
                "soar/run": provenance.run,
                "soar/round": provenance.round,
                "soar/seed": provenance.seed,
            }
        )
        self._index += count

    def _files(self, sizes: dict[str, tuple[int, int]], id: str) -> tuple[dict[str, VideoWriter], pq.ParquetWriter]:
        """Return the open files; new ones when one of the old ones is large enough."""
        for camera, size in sizes.items():
            before = self._sizes.setdefault(camera, size)
            if before != size:
                raise FormatError(
                    f"episode {id!r} has frames of {size[0]}x{size[1]}, those before it {before}; a LeRobot dataset has one "
                    f"size a camera, and this is {camera}. Select episodes with --where"
                )
        if any(video.bytes >= self._file_bytes for video in self._videos.values()):
            self._close_files()
            self._file += 1
        if not self._data:
            where = {"chunk_index": self._file // _CHUNK_FILES, "file_index": self._file % _CHUNK_FILES}
            data = self._folder / DATA_PATH.format(**where)
            data.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(data, _DATA, compression="snappy")
            for camera, size in sizes.items():
                path = self._folder / VIDEO_PATH.format(video_key=camera, **where)
                try:
                    self._videos[camera] = VideoWriter(path, fps=FPS, size=size, codec=self._codec)
                except FormatError as error:
                    raise FormatError(f"{camera}: {error}") from error
        return self._videos, self._data

    def _close_files(self) -> None:
        for video in self._videos.values():
            video.close()
        if self._data:
            self._data.close()
        self._videos, self._data = {}, None

    def _write_meta(self) -> None:
        meta = self._folder / "meta"
        robots = sorted({row["soar/robot"] for row in self._rows if row["soar/robot"]})
        features: dict[str, Any] = {
            "observation.state": {"dtype": "float32", "shape": [STATE_DIM], "names": _STATE_NAMES},
            "action": {
                "dtype": "float32",
                "shape": [ACTION_DIM],
                "names": [f"d{name}" for name in _STATE_NAMES[:6]] + ["gripper"],
            },
            **{camera: _video_feature(self._sizes[camera], self._codec) for camera in self._cameras},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **{
                n: {"dtype": "int64", "shape": [1], "names": None}
                for n in ("frame_index", "episode_index", "index", "task_index")
            },
        }
        info = {
            "codebase_version": VERSION,
            # One word for all; which episode is whose stands in `soar/robot`.
            "robot_type": robot_type(robots),
            "total_episodes": len(self._rows),
            "total_frames": self._index,
            "total_tasks": len(self._tasks),
            "chunks_size": _CHUNK_FILES,
            "data_files_size_in_mb": _DATA_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": FPS,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH,
            "features": features,
        }
        statistics = {
            name: _statistics(np.concatenate(values), image=name in self._cameras) for name, values in self._vectors.items()
        }
        for name, value in (("info", info), ("stats", statistics)):
            (meta).mkdir(exist_ok=True)
            (meta / f"{name}.json").write_text(json.dumps(value, indent=4) + "\n", encoding="utf-8")
        pq.write_table(_task_table(list(self._tasks)), meta / "tasks.parquet")
        episodes = self._folder / EPISODES_PATH.format(chunk_index=0, file_index=0)
        episodes.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(_episode_table(self._rows), episodes)


def _video_feature(size: tuple[int, int], codec: Codec) -> dict[str, Any]:
    height, width = size
    return {
        "dtype": "video",
        "shape": [height, width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height,
            "video.width": width,
            "video.codec": codec,
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": FPS,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def _pixels(images_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return some pixels (P, 3) of some frames, 0..1."""
    count = len(images_NHWC)
    shown = np.linspace(0, count - 1, min(_IMAGE_SAMPLES, count)).astype(int)
    pixels = images_NHWC[shown].reshape(-1, 3) / np.float32(255)
    return np.asarray(pixels[:: max(1, len(pixels) // 4096)])


def _episode_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return the table of episodes; a column without any value still has its type."""
    types = {"soar/success": pa.bool_(), "soar/probability": pa.float64()}
    return pa.table({name: pa.array([row[name] for row in rows], types.get(name)) for name in rows[0]})


def _statistics(values_ND: NDArray[Any], *, image: bool) -> dict[str, Any]:
    """Return what LeRobot normalises by; of an image by channel, with shape (3, 1, 1)."""
    values = values_ND.astype(np.float64)
    found = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
    found |= {name: np.quantile(values, q, axis=0) for name, q in _QUANTILES.items()}
    shaped = {name: (value.reshape(3, 1, 1) if image else value).tolist() for name, value in found.items()}
    return shaped | {"count": [len(values)]}


def _task_table(tasks: list[str]) -> pa.Table:
    """Return the table of tasks. LeRobot looks them up in the frame's index, which pandas finds by this metadata."""
    index = "__index_level_0__"
    text = {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    header = {
        "name": None,
        "field_name": None,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": {"encoding": "UTF-8"},
    }
    pandas = {"index_columns": [index], "column_indexes": [header], "columns": [number, text], "pandas_version": "2.2.0"}
    columns = pa.schema([("task_index", pa.int64()), (index, pa.string())], metadata={b"pandas": json.dumps(pandas).encode()})
    return pa.table([pa.array(range(len(tasks)), pa.int64()), pa.array(tasks, pa.string())], schema=columns)
