"""Stores and foreign datasets to convert."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from soar.episodes import EncodedEpisode, EpisodeStore
from soar.episodes import jpeg as frames
from soar.episodes.encoded import encode
from soar.formats import tfrecord
from soar.formats.steps import actions_of_steps
from soar.formats.vector_maps import VectorConfig
from soar.formats.video import VideoWriter
from soar.types import Provenance
from tests.episodes.builders import goal_images, judged, make_episode

AS_WRITTEN = VectorConfig(gripper_range="0:1", opening_range="0:1")
"""How the datasets of `interop.pictures` are read: their numbers are no pose and no gripper."""
PROVENANCE = Provenance(policy="p", vlm="v", subgoal_model="s", robot="r", run="n", round=2, seed=2**40, faults=("camera",))


def store_of_three(folder: Path, size: int = 32) -> EpisodeStore:
    """A success with subgoals, a failure that a person judged otherwise than the model, and a demonstration without verdict."""
    store = EpisodeStore(folder, mode="create")
    first = make_episode("run-a", steps=5, size=size, seed=1, provenance=PROVENANCE)
    labels = (judged(True, probability=0.7), judged(False, "person:kim", time_s=4.5))
    store.append(
        [
            make_episode("run-a", steps=5, size=size, seed=1, provenance=PROVENANCE, labels=(judged(True, probability=0.9),),
                         subgoals=goal_images(first)),
            make_episode("run-b", steps=7, size=size, seed=2, provenance=PROVENANCE, labels=labels, scene="2"),
            make_episode("demo it's", steps=3, size=size, seed=3, instruction="remove the red fruit"),
        ]
    )  # fmt: skip
    return store


def assert_same(read: EncodedEpisode, written: EncodedEpisode, *, frames_equal: bool) -> None:
    """Actions and states to the bit, and everything else; frames only where no video codec came in between."""
    assert read.states_TD.tobytes() == written.states_TD.tobytes()
    assert read.actions_TD.tobytes() == written.actions_TD.tobytes()
    for name in ("id", "scene", "instruction", "labels", "provenance", "subgoals", "created_s"):
        assert getattr(read, name) == getattr(written, name), name
    if frames_equal:
        assert read.frames == written.frames
    else:
        images = [frames.decode_all(episode.frames).astype(int) for episode in (read, written)]
        assert np.abs(images[0] - images[1]).mean() < 4


def rlds_record(
    steps: int = 6, seed: int = 0, metadata: dict[str, Any] | None = None, goals: Sequence[bytes] | None = None, **changes: Any
) -> bytes:
    """A record as the released datasets have it, with `steps` observations and actions."""
    episode = encode(make_episode("x", steps=steps, size=32, seed=seed))
    features: dict[str, Any] = {
        "steps/observation/image_0": list(episode.frames[:-1]),
        "steps/observation/state": episode.states_TD[:-1],
        "steps/action": episode.actions_TD,
        "steps/is_first": np.arange(steps) == 0,
        "steps/is_last": np.arange(steps) == steps - 1,
        "steps/language_instruction": [b"put the corn in the pot"] * steps,
    }
    if goals is not None:
        features["steps/goal"] = list(goals)
    for name, value in (metadata or {}).items():
        features[f"episode_metadata/{name}"] = [value.encode()] if isinstance(value, str) else np.array([value])
    for name, value in changes.items():
        features[name.replace("__", "/")] = value
    return tfrecord.serialise_example({name: value for name, value in features.items() if value is not None})


def write_records(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for record in records:
            tfrecord.write(file, record)
    return path


def write_raw(folder: Path, steps: int = 22) -> np.ndarray:
    """A trajectory as the released collection code leaves it; returns its actions."""
    folder.mkdir(parents=True)
    episode = make_episode(steps=steps, size=32)
    for name, array in (("actions", episode.actions_TD), ("eef_poses", episode.states_TD[:-1].astype(np.float64))):
        with (folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array(file, array)
    goals = np.repeat(make_episode(steps=2, size=32, seed=5).images_THWC, 20, axis=0)[:steps]
    for name, images in (("trajectory", episode.images_THWC[:-1]), ("goals", goals)):
        video = VideoWriter(folder / f"{name}.mp4", fps=15, size=(32, 32), codec="h264")
        for image in images:
            video.add(image)
        video.close()
    (folder / "language_task.txt").write_text("put the corn in the pot\n")
    (folder / "success.txt").write_text("True")
    (folder / "task_list.txt").write_text(json.dumps(["put the corn in the pot"], indent=4))
    (folder / "object_list.txt").write_text('["corn",\n')
    return episode.actions_TD


def write_v21(folder: Path, store: EpisodeStore) -> Path:
    """Write a store as LeRobot did before v3.0, with the camera `front`."""
    key, records = "observation.images.front", store.episodes()
    tasks = list(dict.fromkeys(record.instruction for record in records))
    height, width = frames.size(store.read_encoded(records[0].id).frames[0]) or (0, 0)
    vector = {"dtype": "float32", "shape": [7], "names": None}
    info = {
        "codebase_version": "v2.1",
        "robot_type": "widowx",
        "total_episodes": len(records),
        "total_frames": sum(record.length + 1 for record in records),
        "total_tasks": len(tasks),
        "total_videos": len(records),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": 5,
        "splits": {"train": f"0:{len(records)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "observation.state": vector,
            "action": vector,
            key: {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {"video.fps": 5.0, "video.codec": "h264", "video.pix_fmt": "yuv420p", "has_audio": False},
            },
            "next.success": {"dtype": "bool", "shape": [1], "names": None},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            **{
                name: {"dtype": "int64", "shape": [1], "names": None}
                for name in ("frame_index", "episode_index", "index", "task_index")
            },
        },
    }
    for name in ("meta", "data/chunk-000", f"videos/chunk-000/{key}"):
        (folder / name).mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    lines: dict[str, list[dict[str, Any]]] = {"episodes": [], "tasks": [], "episodes_stats": []}
    lines["tasks"] = [{"task_index": index, "task": task} for index, task in enumerate(tasks)]
    before = 0
    for number, record in enumerate(records):
        episode = store.read_encoded(record.id)
        steps = np.arange(len(episode.frames))
        actions = actions_of_steps(episode)
        columns = {
            "observation.state": list(episode.states_TD),
            "action": list(actions),
            "next.success": (steps == steps[-1]) & bool(record.success),
            "timestamp": (steps / 5).astype(np.float32),
            "frame_index": steps,
            "episode_index": np.full(len(steps), number),
            "index": before + steps,
            "task_index": np.full(len(steps), tasks.index(record.instruction)),
        }
        types = {name: pa.list_(pa.float32(), 7) for name in ("observation.state", "action")}
        table = pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()})
        pq.write_table(table, folder / f"data/chunk-000/episode_{number:06d}.parquet")
        video = VideoWriter(
            folder / f"videos/chunk-000/{key}/episode_{number:06d}.mp4", fps=5, size=(height, width), codec="h264"
        )
        for jpeg in episode.frames:
            video.add(frames.decode(jpeg))
        video.close()
        lines["episodes"].append({"episode_index": number, "tasks": [record.instruction], "length": len(steps)})
        lines["episodes_stats"].append({"episode_index": number, "stats": _stats(episode.states_TD, actions)})
        before += len(steps)
    for name, entries in lines.items():
        (folder / "meta" / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def _stats(states_ND: np.ndarray, actions_ND: np.ndarray) -> dict[str, Any]:
    found = {}
    for name, values in (("observation.state", states_ND), ("action", actions_ND)):
        parts = {"min": values.min(0), "max": values.max(0), "mean": values.mean(0), "std": values.std(0)}
        found[name] = {key: value.tolist() for key, value in parts.items()} | {"count": [len(values)]}
    return found
