"""Runs under the Python of `scripts/peer.sh lerobot`: pairs per second of LeRobotDataset, by its own DataLoader recipe.

    python read_lerobot.py FOLDER FRAMES_AHEAD WORKERS

Prints one JSON line. A pair is one item of a dataset with `delta_timestamps` (FRAMES_AHEAD > 0), or two items (0).
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
from torch import library

# The wheel of torchvision registers its operators in a library that another build of torch does not load.
_operators = library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from lerobot.datasets.lerobot_dataset import LeRobotDataset  # noqa: E402

KEY = "observation.images.image_0"
BATCH = 32
WINDOW = 24


class TwoItems(torch.utils.data.Dataset[Any]):
    """Pairs whose goal is any of the next frames."""

    def __init__(self, dataset: LeRobotDataset) -> None:
        self.dataset, self.rng = dataset, np.random.default_rng()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        goal = min(index + int(self.rng.integers(WINDOW + 1)), len(self.dataset) - 1)
        first, second = self.dataset[index], self.dataset[goal]
        return {"pair": torch.stack([first[KEY], second[KEY]]), "action": first["action"]}


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore")
    folder, ahead, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    deltas = {KEY: [0.0, ahead / 5]} if ahead else None
    dataset = LeRobotDataset("soar/benchmark", root=folder, delta_timestamps=deltas, video_backend="pyav")
    pairs = dataset if ahead else TwoItems(dataset)
    pairs[0]  # what is loaded with the first item is not counted
    # A batch for each worker, so that all work all the time; of 32, because an item takes as long in a batch of any size.
    some = torch.utils.data.Subset(pairs, np.random.default_rng(0).permutation(len(dataset))[: workers * BATCH].tolist())
    begin_s, begin_cpu_s = time.perf_counter(), cpu_s()
    count = sum(len(batch["action"]) for batch in torch.utils.data.DataLoader(some, batch_size=BATCH, num_workers=workers))
    # The workers are gone by now, and their time counts as their parent's.
    rates = {"pairs_per_s": count / (time.perf_counter() - begin_s), "pairs_per_cpu_s": count / (cpu_s() - begin_cpu_s)}
    print(json.dumps(rates))


def cpu_s() -> float:
    """Return the processor time of this process and of those that it started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()
