"""Runs under the Python of `scripts/peer.sh lerobot`: what the released LeRobot 0.4.4 reads, and writes.

    python peer_lerobot.py read FOLDER OUT.npz     every frame of a dataset: vectors, decoded images, tasks, extra columns
    python peer_lerobot.py convert FOLDER          a dataset of version 2.1 becomes one of 3.0
    python peer_lerobot.py write FOLDER            two episodes with two cameras, one a video and one images

The dataset that `write` makes is `tests/fixtures/lerobot`; its numbers are those of `pictures.py`.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import library

# The wheel of torchvision registers its operators in a library that another build of torch does not load.
_operators = library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402
from pictures import LENGTHS, SIZE, numbers, picture  # noqa: E402

TASKS = ("put the corn in the pot", "open the drawer")


def write(folder: Path) -> None:
    """Record two episodes."""
    vector = {"dtype": "float32", "shape": (7,), "names": ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]}
    image = {"shape": (SIZE, SIZE, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.state": vector,
        "action": vector,
        "observation.images.front": {"dtype": "video", **image},
        "observation.images.wrist": {"dtype": "image", **image},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create("soar/fixture", fps=5, features=features, root=folder, robot_type="widowx")
    for episode, (task, length) in enumerate(zip(TASKS, LENGTHS, strict=False)):
        for step in range(length):
            dataset.add_frame(
                {
                    "observation.state": numbers(episode, step, 0),
                    "action": numbers(episode, step, 1),
                    "observation.images.front": picture(episode, step),
                    "observation.images.wrist": 255 - picture(episode, step),
                    "next.success": np.array([episode == 0 and step == length - 1]),
                    "task": task,
                }
            )
        dataset.save_episode()
    dataset.finalize()


def read(folder: Path, out: Path) -> None:
    """Read every frame, and write down what was read."""
    dataset = LeRobotDataset("soar/exported", root=folder, video_backend="pyav")
    frames = [dataset[index] for index in range(len(dataset))]
    camera = dataset.meta.video_keys[0]
    rows = [dataset.meta.episodes[index] for index in range(dataset.num_episodes)]
    plain: dict[str, Any] = {
        "camera": camera,
        "fps": dataset.fps,
        "episodes": dataset.num_episodes,
        "robot": dataset.meta.robot_type,
        "tasks": [frame["task"] for frame in frames],
        "columns": [{name: value for name, value in row.items() if name.startswith("soar/")} for row in rows],
        "features": list(dataset.features),
        "stats": {name: sorted(dataset.meta.stats[name]) for name in ("action", camera)},
    }
    np.savez(
        out,
        state=np.stack([frame["observation.state"].numpy() for frame in frames]),
        action=np.stack([frame["action"].numpy() for frame in frames]),
        images=np.stack([frame[camera].numpy() for frame in frames]),
        episode=np.array([int(frame["episode_index"]) for frame in frames]),
        timestamp=np.array([float(frame["timestamp"]) for frame in frames]),
        plain=np.array(json.dumps(plain)),
    )


def convert(folder: Path) -> None:
    """Run the released converter on a folder."""
    from lerobot.datasets.v30.convert_dataset_v21_to_v30 import convert_dataset

    convert_dataset(folder.name, root=folder.parent, push_to_hub=False)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    elif sys.argv[1] == "convert":
        convert(Path(sys.argv[2]))
    else:
        read(Path(sys.argv[2]), Path(sys.argv[3]))
