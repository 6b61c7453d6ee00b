"""How fast the simulator is: beside robosuite, and when episodes are collected. Writes `results/simulation_speed.json`.

Beside robosuite: one arm picks and places one of several things on a table; a control step moves the gripper by a pose delta
and gives a camera image and the arm's state. Blocks of robosuite's `PickPlaceCan` (Panda, default pose controller, physics of
2 ms) and of our scene 1 (physics of 4 ms) alternate, so that both meet the same load; each is timed in CPU seconds of its own
process, and the ratio is the median over the pairs. It is given twice: each at its own control rate (20 Hz there, 5 Hz here, so
that a step of ours simulates four times as long), and both at 5 Hz.

Collection: transitions a second with 128 pixel frames in two processes at once that do what a collector does without models:
observe, act, home between episodes. A second is one of both processes' CPU time, so that the figure holds for two free cores.

    OMP_NUM_THREADS=1 python benchmarks/simulation.py
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TASK = "put the green block in the wooden bowl"
SIZE = 128
PEER_RATE_HZ, PEER_STEPS, OUR_STEPS = 20, 8, 40
PEER = HERE / "peers" / "robosuite_steps.py"


class Ours:
    """Scene 1, driven at random as the peer is."""

    name = "ours"

    def __init__(self, size: int) -> None:
        import numpy as np

        from soar.sim.ground_truth import reset_for
        from soar.sim.scene import load_scene
        from soar.sim.world import World

        self._world = World(load_scene("scene1"), image_size=size)
        reset_for(self._world, TASK, 0)
        self._world.render()
        self._rng = np.random.default_rng(0)

    def block_s(self, steps: int, pictures: bool) -> float:
        """Return the CPU seconds of some control steps."""
        actions = self._rng.uniform(-1, 1, (steps, 7)) * [0.02, 0.02, 0.02, 0, 0, 0.1, 1]
        start_s = time.process_time()
        for action in actions:
            self._world.step(action)
            if pictures:
                self._world.render()
            self._world.proprioception()
        return time.process_time() - start_s


class Peer:
    """robosuite in its own environment and process; blocks are asked for on its standard input."""

    def __init__(self, size: int, rates_hz: Sequence[int]) -> None:
        python = subprocess.run(
            ["bash", "scripts/peer.sh", "robosuite"], cwd=HERE.parent, check=True, capture_output=True, text=True
        )
        command = [python.stdout.strip(), str(PEER), str(size), *map(str, rates_hz)]
        environment = {**os.environ, "MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl", "PYTHONPATH": ""}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.version = str(self._read()["version"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit("robosuite ended without an answer")

    def block_s(self, steps: int, rate_hz: int) -> float:
        """Return the CPU seconds of some control steps with pictures."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"steps": steps, "rate_hz": rate_hz}) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def compare(peer: Peer, ours: Ours, rate_hz: int, blocks: int) -> dict[str, Any]:
    """Return the row of one comparison; a block of ours has more steps, so that both blocks take about as long."""
    pairs = []
    peer.block_s(1, rate_hz)
    for _ in range(blocks):
        pairs.append((ours.block_s(OUR_STEPS, True) / OUR_STEPS, peer.block_s(PEER_STEPS, rate_hz) / PEER_STEPS))
    rates = "each at its own rate" if rate_hz == PEER_RATE_HZ else "both at 5 Hz"
    return {
        "metric": f"control steps/CPU-s, {SIZE} px, {rates}",
        "ours": round(1 / statistics.median(mine for mine, _ in pairs), 1),
        "peer": f"robosuite {peer.version}",
        "theirs": round(1 / statistics.median(theirs for _, theirs in pairs), 1),
        "ratio": round(statistics.median(theirs / mine for mine, theirs in pairs), 2),
        "limit": 3.0,
    }


def collect(seconds: float, ready: Any, seed: int) -> float:
    """Return the transitions per CPU second of one collector without models."""
    import numpy as np

    from soar.robots.safety import SafeRobot
    from soar.sim.scripted.expert import ScriptedExpert
    from soar.sim.scripted.style import Style
    from soar.sim.workcell import open_robot

    robot = open_robot("scene1", SIZE)
    tasks, rng = robot.world.config.tasks, np.random.default_rng(seed)
    robot.reset_for(TASK, seed)
    safe = SafeRobot(robot, robot.world.config.workspace)
    safe.observe()
    ready.wait()
    count, start_s = 0, time.process_time()
    while True:
        actor = ScriptedExpert(robot.world, str(rng.choice(tasks)), Style(), rng)
        safe.home()
        safe.observe()
        for _ in range(100):
            safe.act(actor.act())
            safe.observe()
            count += 1
            if (spent_s := time.process_time() - start_s) > seconds:
                return count / spent_s


def collection(seconds: float) -> dict[str, Any]:
    """Return the row of collection in two processes."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(2) as pool:
        ready = manager.Barrier(2)
        rates = pool.starmap(collect, [(seconds, ready, seed) for seed in (1, 2)])
    metric = "collected transitions/s, 128 px, two processes, no models"
    return {"metric": metric, "ours": round(sum(rates), 1), "peer": "-", "theirs": None, "ratio": None, "limit": 300.0}


def shares(blocks: int) -> list[dict[str, Any]]:
    """Return control steps a CPU-second with pictures of several sizes, and of physics alone."""
    rows = []
    for size in (0, 64, 128, 256):
        ours = Ours(size or 64)
        ours.block_s(5, bool(size))
        seconds = statistics.median(ours.block_s(20, bool(size)) for _ in range(blocks))
        metric = f"control steps/CPU-s, scene 1, {f'{size} px' if size else 'no picture'}"
        rows.append(
            {"metric": metric, "ours": round(20 / seconds, 1), "peer": "-", "theirs": None, "ratio": None, "limit": None}
        )
    return rows


def main() -> None:
    """Measure, print the rows and write them."""
    from soar.evaluation.results import write_results

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=9, help="pairs of blocks in each comparison")
    parser.add_argument("--seconds", type=float, default=15.0, help="CPU seconds of each collector")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "simulation_speed.json")
    options = parser.parse_args()
    peer, ours = Peer(SIZE, (PEER_RATE_HZ, 5)), Ours(SIZE)
    ours.block_s(5, True)
    rows = [compare(peer, ours, rate_hz, options.blocks) for rate_hz in (PEER_RATE_HZ, 5)]
    peer.close()
    rows += [collection(options.seconds), *shares(options.blocks)]
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    command = f"python benchmarks/simulation.py --blocks {options.blocks} --seconds {options.seconds:g}"
    write_results(options.out, command, rows)


if __name__ == "__main__":
    main()
