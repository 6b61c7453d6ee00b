"""Runs under the Python of `scripts/peer.sh tfds`: what the released tensorflow_datasets 4.9 reads, and writes.

    python peer_tfds.py read FOLDER OUT.npz     every step of all splits of the dataset of `builder_from_directory`
    python peer_tfds.py write FOLDER            two datasets with the schemas of SOAR-Data and of BridgeData v2

The datasets that `write` makes are `tests/fixtures/rlds`; their numbers are those of `pictures.py`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow_datasets as tfds
from pictures import LENGTHS, SIZE, numbers, picture

EPISODES = {"success": (0, 1), "failure": (2,), "train": (3,), "val": (4,)}


def _image() -> tfds.features.Image:
    return tfds.features.Image(shape=(SIZE, SIZE, 3), dtype=np.uint8, encoding_format="jpeg")


def _vector(dim: int) -> tfds.features.Tensor:
    return tfds.features.Tensor(shape=(dim,), dtype=np.float32)


def _common() -> dict[str, Any]:
    return {"action": _vector(7), "is_first": np.bool_, "is_last": np.bool_, "language_instruction": tfds.features.Text()}


def _step(episode: int, step: int, length: int, instruction: str) -> dict[str, Any]:
    return {
        "observation": {"image_0": picture(episode, step), "state": numbers(episode, step, 0)},
        "action": numbers(episode, step, 1),
        "is_first": step == 0,
        "is_last": step == length - 1,
        "language_instruction": instruction,
    }


class SoarDataset(tfds.core.GeneratorBasedBuilder):
    """SOAR-Data's schema, whose texts are cut off as in the released files."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        texts = ("file_path", "task_list", "object_list", "time", "robot_id")
        steps = {"observation": {"image_0": _image(), "state": _vector(7)}, "goal": _image(), **_common()}
        metadata = {**{name: tfds.features.Text() for name in texts}, "has_language": np.bool_, "success": np.bool_}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps), "episode_metadata": metadata}),
        )

    def _split_generators(self, manager: Any) -> dict[str, Iterator[Any]]:
        return {split: self._generate_examples(split) for split in ("success", "failure")}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, Any]]:
        for episode in EPISODES[split]:
            length = LENGTHS[episode]
            steps = [_step(episode, step, length, "put the corn in the pot") for step in range(length)]
            for step, content in enumerate(steps):
                content["goal"] = 255 - picture(episode, step // 3)
            metadata = {
                "file_path": f"/data/robot_1/scene_2/gcbc/2024-01-01/{split}/trajectory_{episode}",
                "task_list": "[",
                "object_list": "[",
                "time": "2024-01-01 10:00:00",
                "robot_id": "robot_1",
                "has_language": True,
                "success": split == "success",
            }
            yield f"{split}{episode}", {"steps": steps, "episode_metadata": metadata}


class BridgeDataset(tfds.core.GeneratorBasedBuilder):
    """BridgeData v2's schema, with the keys that some of its builders add."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        observation = {"image_0": _image(), "image_1": _image(), "state": _vector(7)}
        observation["depth_0"] = tfds.features.Image(shape=(SIZE, SIZE, 1), dtype=np.uint16, encoding_format="png")
        more = {"reward": np.float32, "discount": np.float32, "is_terminal": np.bool_, "language_embedding": _vector(512)}
        flags = {f"has_{name}": np.bool_ for name in ("image_0", "image_1", "language")}
        metadata = {"file_path": tfds.features.Text(), "episode_id": np.int32, **flags}
        steps = {"observation": observation, **more, **_common()}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps), "episode_metadata": metadata}),
        )

    def _split_generators(self, manager: Any) -> dict[str, Iterator[Any]]:
        return {split: self._generate_examples(split) for split in ("train", "val")}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, Any]]:
        for episode in EPISODES[split]:
            length = LENGTHS[episode]
            # The language of an episode without language is noise that the flag warns of.
            steps = [_step(episode, step, length, "open the drawer") for step in range(length)]
            for step, content in enumerate(steps):
                content["observation"] |= {
                    "image_1": 255 - picture(episode, step),
                    "depth_0": np.full((SIZE, SIZE, 1), step, np.uint16),
                }
                last = step == length - 1
                content |= {"reward": float(last), "discount": 1.0, "is_terminal": last}
                content["language_embedding"] = np.zeros(512, np.float32)
            metadata = {
                "file_path": "/bridge/raw/kitchen/00/2021-07-22_10-00-00/raw/traj_group0/traj0/out.npy",
                "episode_id": episode,
                "has_image_0": True,
                "has_image_1": True,
                "has_language": split == "train",
            }
            yield f"{split}{episode}", {"steps": steps, "episode_metadata": metadata}


def write(folder: Path) -> None:
    """Build both datasets."""
    for builder in (SoarDataset, BridgeDataset):
        builder(data_dir=folder).download_and_prepare()


def read(folder: Path, out: Path) -> None:
    """Read all splits, and write down what was read."""
    builder = tfds.builder_from_directory(folder)
    splits: dict[str, list[dict[str, Any]]] = {}
    arrays: dict[str, np.ndarray] = {}
    for split in builder.info.splits:
        splits[split] = []
        for episode in tfds.as_numpy(builder.as_dataset(split=split)):
            steps = list(episode["steps"])
            key = f"{split}/{len(splits[split])}"
            arrays[f"{key}/state"] = np.stack([step["observation"]["state"] for step in steps])
            arrays[f"{key}/image"] = np.stack([step["observation"]["image_0"] for step in steps])
            for name in ("action", "goal", "is_first", "is_last"):
                arrays[f"{key}/{name}"] = np.stack([step[name] for step in steps])
            metadata = {name: _plain(value) for name, value in episode["episode_metadata"].items()}
            splits[split].append({"instructions": [_plain(step["language_instruction"]) for step in steps], **metadata})
    np.savez(out, plain=np.array(json.dumps(splits)), **arrays)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.item()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        read(Path(sys.argv[2]), Path(sys.argv[3]))
