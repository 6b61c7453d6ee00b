"""The server of what `learn.py` left, in openpi's protocol: `python serve.py CHECKPOINT PORT`.

It stands where openpi's `scripts/serve_policy.py` would stand, or a server of your own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soar.testing.openpi_server import OpenPIServer

policy = json.loads((Path(sys.argv[1]) / "policy.json").read_text(encoding="utf-8"))


def infer(observation: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with four actions (4, 7), each what the state alone would have."""
    linear = np.array(policy.get(observation["prompt"], np.zeros((7, 8))))
    action = linear @ np.append(observation["observation/state"], 1.0)
    longest = np.linalg.norm(action[:3])
    action[:3] *= min(1.0, 0.02 / longest) if longest else 1.0
    return {"actions": np.tile(action.astype(np.float32), (4, 1))}


with OpenPIServer(infer, {"tasks": sorted(policy)}, port=int(sys.argv[2])) as server:
    sys.stdout.write(f"{len(policy)} tasks at {server.url}\n")
    sys.stdout.flush()
    server.wait()
