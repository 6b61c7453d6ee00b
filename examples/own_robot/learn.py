"""A learner of somebody else's: `python learn.py DATASET OUT` reads a LeRobot dataset, and leaves OUT/last/policy.json.

It knows nothing of SOAR. For each task it fits the action as a linear function of the arm's state; episodes that were judged
successes count ten times as much as others, which is what the column `soar/success` is for. A real one trains a network.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

dataset, out = Path(sys.argv[1]), Path(sys.argv[2])
episodes = pq.read_table(dataset / "meta" / "episodes").select(["episode_index", "tasks", "soar/success"]).to_pylist()
rows = pq.read_table(dataset / "data").select(["episode_index", "observation.state", "action"]).to_pydict()
number = np.array(rows["episode_index"])
states, actions = np.array(rows["observation.state"]), np.array(rows["action"])

policy = {}
for task in sorted({episode["tasks"][0] for episode in episodes}):
    weights = np.zeros(len(number))
    for episode in episodes:
        if episode["tasks"][0] == task:
            weights[number == episode["episode_index"]] = 10.0 if episode["soar/success"] else 1.0
    inputs = np.column_stack([states, np.ones(len(states))]) * weights[:, None]
    ridge = inputs.T @ inputs + 1e-3 * np.eye(8)
    policy[task] = np.linalg.solve(ridge, inputs.T @ (actions * weights[:, None])).T.tolist()

(out / "last").mkdir(parents=True)
(out / "last" / "policy.json").write_text(json.dumps(policy), encoding="utf-8")
sys.stdout.write(f"{len(policy)} tasks from {len(episodes)} episodes\n")
