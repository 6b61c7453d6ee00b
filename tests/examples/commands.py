"""Runs commands as people type them, in the folder of an example."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
SOAR = [sys.executable, "-m", "soar.cli"]
PRESET = """
extends: laptop
workers: 1
pretraining:
  policy: &policy
    fit: {steps: 3, batch_size: 8, warmup_steps: 1, checkpoint_every: 2, bf16: false, channels_last: false}
    network: {encoder: {name: small, width: 4}, image_size: 64}
improvement:
  rounds: 1
  trials: 1
  success_only: false
  threshold: 0
  collection: {episodes: 2, robots: 1, set_table_every: 0, rollout: {subgoals: 1}}
  policy: *policy
"""


def soar(*arguments: object, folder: Path, status: int = 0) -> str:
    """Run a command in a folder, and return what it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*SOAR, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == status, f"{arguments}: {done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def trials(path: Path) -> list[dict[str, Any]]:
    """Return the trials of an evaluation."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trials"]
    return found
