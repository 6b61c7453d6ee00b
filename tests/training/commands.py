"""Learners and servers as users write them: programs that know nothing of SOAR's learners, run by their paths.

python tests/training/commands.py learn DATASET OUT MANNER    a "checkpoint" with one action; MANNER says how well it goes
python tests/training/commands.py serve CHECKPOINT PORT       that action behind openpi's protocol
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

WELL = [0.004, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
WRONG = {"units": [4.0, 0, 0, 0, 0, 0, 1], "gripper": [0.004, 0, 0, 0, 0, 0, 9], "other": [0.004, 0, 0], "nothing": []}


def learn(dataset: Path, out: Path, manner: str) -> None:
    info = json.loads((dataset / "meta" / "info.json").read_text())
    sys.stdout.write(f"{info['total_episodes']} episodes\n")
    sys.stdout.flush()
    with (dataset.parent / "runs").open("a") as runs:
        runs.write("x")
    if manner == "fails":
        sys.exit("out of memory")
    if manner == "hangs":
        (dataset.parent / "begun").touch()
        time.sleep(3600)
    if manner == "leaves nothing":
        return
    if manner.startswith("waits for "):
        while not Path(manner.removeprefix("waits for ")).exists():
            time.sleep(0.02)
    (out / "last").mkdir(parents=True)
    (out / "last" / "weights.json").write_text(json.dumps({"action": WRONG.get(manner, WELL)}))


def open_checkpoint(path: str) -> Any:
    """The policy in a checkpoint: of a module of the user's own."""
    from soar.testing import FakePolicy

    class Checkpoint(FakePolicy):
        id = "own"
        conditioning: Literal["goal", "language"] = "language"

    action = json.loads((Path(path) / "weights.json").read_text())["action"]
    if not action:
        raise ValueError("there are no weights")
    return Checkpoint(action)


def serve(checkpoint: Path, port: int) -> None:
    from soar.testing.openpi_server import OpenPIServer

    action = json.loads((checkpoint / "weights.json").read_text())["action"]
    with OpenPIServer(lambda observation: {"actions": [action] * 4}, {"checkpoint": checkpoint.name}, port=port) as server:
        server.wait()


if __name__ == "__main__":
    what, first, *rest = sys.argv[1:]
    if what == "learn":
        learn(Path(first), Path(rest[0]), rest[1])
    else:
        serve(Path(first), int(rest[0]))
