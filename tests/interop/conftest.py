"""Environments of other people's software, made when they are missing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Peer = Callable[..., None]
ROOT = Path(__file__).parents[2]


def _peer(name: str, script: str) -> Peer:
    made = subprocess.run([ROOT / "scripts" / "peer.sh", name], check=True, stdout=subprocess.PIPE, text=True)
    # Nothing of ours is on their path, and they look for nothing on the network.
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PYTHONPATH": ""}

    def run(*arguments: object, **variables: str) -> None:
        command = [made.stdout.strip(), str(Path(__file__).parent / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | offline | variables, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    return run


@pytest.fixture(scope="session")
def lerobot() -> Peer:
    """Run `peer_lerobot.py` with the released LeRobot."""
    return _peer("lerobot", "peer_lerobot.py")


@pytest.fixture(scope="session")
def tfds() -> Peer:
    """Run `peer_tfds.py` with the released tensorflow_datasets."""
    return _peer("tfds", "peer_tfds.py")


@pytest.fixture(scope="session")
def d3rlpy() -> Peer:
    """Run `peer_d3rlpy.py` with the released d3rlpy."""
    return _peer("d3rlpy", "peer_d3rlpy.py")


@pytest.fixture(scope="session")
def sarm() -> Peer:
    """Run `peer_sarm.py` with the released LeRobot's SARM."""
    return _peer("lerobot-policies", "peer_sarm.py")
