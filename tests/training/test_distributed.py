"""Data parallel training in real processes, and batches in parts."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError
from soar.policies.learned import LearnedPolicy
from soar.training.loop import fit
from soar.training.policy import train_policy
from tests.training.test_loop import CONFIG as LOOP_CONFIG
from tests.training.test_loop import make_batch, make_model, squared_error
from tests.training.test_policy import CONFIG, MIXTURE, STATISTICS

# Dropout draws from another stream in each part; everything else is the same however a batch is cut.
WHOLE = dataclasses.replace(
    CONFIG,
    fit=dataclasses.replace(CONFIG.fit, log_every=1),
    network=dataclasses.replace(CONFIG.network, dropout=0.0),
    augmentation=dataclasses.replace(CONFIG.augmentation, brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
)
CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from soar.training.distributed import joined
from soar.training.policy import train_policy
from tests.training.test_distributed import MIXTURE, STATISTICS, WHOLE
with joined("cpu") as (group, device):
    assert group.size == 2
    train_policy(WHOLE, MIXTURE, STATISTICS, Path(sys.argv[1]), device=device)
"""


def losses(folder: Path) -> list[float]:
    lines = (folder / "training" / "metrics.jsonl").read_text().splitlines()
    return [values["loss"] for values in map(json.loads, lines) if "loss" in values]  # Validation has lines of its own.


def compare(folder: Path, whole: Path) -> None:
    assert len(losses(whole)) == WHOLE.fit.steps
    np.testing.assert_allclose(losses(folder), losses(whole), rtol=1e-4)
    ours, theirs = (LearnedPolicy.load(path).network.state_dict() for path in (folder, whole))
    for name, value in ours.items():
        # Adam divides by the size of a gradient: where that is mere rounding, single weights may go elsewhere.
        assert float((value - theirs[name]).abs().mean()) < 2e-5, name


def test_two_processes_learn_what_one_does_with_the_same_batches(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(tmp_path / "child.py"), str(tmp_path / "two")]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )
    assert done.returncode == 0, done.stderr
    train_policy(WHOLE, MIXTURE, STATISTICS, tmp_path / "one")
    compare(tmp_path / "two", tmp_path / "one")


def test_a_batch_in_parts_teaches_what_the_whole_does(tmp_path: Path) -> None:
    parts = dataclasses.replace(WHOLE, fit=dataclasses.replace(WHOLE.fit, accumulate=4))
    train_policy(WHOLE, MIXTURE, STATISTICS, tmp_path / "whole")
    train_policy(parts, MIXTURE, STATISTICS, tmp_path / "parts")
    compare(tmp_path / "parts", tmp_path / "whole")


def test_a_batch_that_cannot_be_cut_is_refused_before_the_first_step(tmp_path: Path) -> None:
    config = dataclasses.replace(WHOLE, fit=dataclasses.replace(WHOLE.fit, accumulate=3))
    with pytest.raises(ConfigError, match=r"16 samples cannot be cut into 3 parts \(fit.accumulate 3 x 1 processes\)"):
        train_policy(config, MIXTURE, STATISTICS, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()
    with pytest.raises(ConfigError, match="this model is trained whole"):
        fit(make_model(), make_batch, squared_error, dataclasses.replace(LOOP_CONFIG, accumulate=2), tmp_path)
