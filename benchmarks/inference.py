"""How long a robot waits for its action: the paper's policy at 256 px, one CPU thread; writes results/inference.json.

    OMP_NUM_THREADS=1 python benchmarks/inference.py

CPU-milliseconds from the camera's image to the action in physical units, by torch and by onnxruntime from an exported file,
against the control period of 200 ms, of which at most half may go, and against the same network jitted by XLA (see
peers/flax_policy.py). All are interleaved in one run. On a machine that does nothing else, CPU time is waiting time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer import Peer
from train_step import ONE_THREAD

from soar.evaluation.results import write_results
from soar.normalization import ActionStatistics
from soar.policies.chunked import PlanningPolicy
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import Lineage
from soar.policies.network import NetworkConfig, PolicyNetwork
from soar.policies.onnx import ExportedPolicy
from soar.policies.onnx_export import export_policy
from soar.types import STEP_S, Observation

SIZE, CALLS = 256, 5
PERIOD_MS = STEP_S * 1000


def act_cpu_s(policy: PlanningPolicy) -> list[float]:
    """Return the CPU-seconds of some actions."""
    image, goal = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    observation = Observation(image_HWC=image, state=np.zeros(7, np.float32))
    cpu_s = []
    for _ in range(CALLS):
        start_s = time.process_time()
        policy.act([observation], [goal])
        cpu_s.append(time.process_time() - start_s)
    return cpu_s


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("results/inference.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    statistics_D = ActionStatistics(mean=np.zeros(7, np.float32), std=np.ones(7, np.float32))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        learned = LearnedPolicy.save(path / "policy", PolicyNetwork(NetworkConfig()), statistics_D, Lineage())
        difference = export_policy(learned, path / "policy.onnx")
        policies: dict[str, PlanningPolicy] = {
            "torch": learned,
            "torch, bfloat16": LearnedPolicy.load(path / "policy", bf16=True),
            "onnxruntime": ExportedPolicy.load(path / "policy.onnx", threads=1),
        }
    cpu_s: dict[str, list[float]] = {name: [] for name in policies}
    theirs_s = []
    with Peer("flax", "flax_policy.py", ["--size", SIZE, "--batch", 1], ONE_THREAD) as peer:
        name = peer.versions("flax", "jax")
        for _ in range(options.rounds):
            theirs_s.append(peer.ask(f"act {CALLS}")["cpu_s"])
            for kind, policy in policies.items():
                cpu_s[kind] += act_cpu_s(policy)[1:]
    rows: list[dict[str, Any]] = []
    what = f"CPU-ms an action, ResNet-34, {SIZE} px"
    for kind, values in cpu_s.items():
        # A robot has to live with the median; two programs are compared by their best, which other programs disturb least.
        rows.append(row(f"{what}, {kind}, median", 1000 * statistics.median(values), "control period", PERIOD_MS, 0.5))
        rows.append(row(f"{what}, {kind}, best", 1000 * min(values), name, 1000 * min(theirs_s), None))
    rows.append(row("largest difference of onnxruntime to torch", difference, "tolerance", 1e-4, 1.0))
    write_results(options.out, "OMP_NUM_THREADS=1 python benchmarks/inference.py", rows)


def row(metric: str, ours: float, peer: str, theirs: float, limit: float | None) -> dict[str, Any]:
    """Return a row of the results."""
    figures = {"ours": float(f"{ours:.4g}"), "peer": peer, "theirs": float(f"{theirs:.4g}"), "ratio": round(ours / theirs, 3)}
    row = {"metric": metric, **figures, "limit": limit}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
