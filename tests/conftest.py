"""What all tests share: the GL library, how Hypothesis runs, and the tiny models of `soar pretrain`."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

# The headless GL library is chosen before any test imports MuJoCo, which reads the choice when it is imported.
import soar.sim.rendering  # noqa: F401

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: nobody would hear Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Servers, their clients and robots are threads of one process here, and wait for each other as in `soar serve`, not ten times
# longer: who computes lets others in every half millisecond.
sys.setswitchinterval(5e-4)

# No test is about a power cut: what this process writes need not reach the disk, which may be a slow one, before it goes on.
os.fsync = lambda _: None

# How long an example takes, and its drawing, says nothing on a machine that is shared.
settings.register_profile("soar", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soar")


LONGEST = ("test_tutorial.py", "test_blocks.py", "test_looks.py", "test_loop.py", "test_own_robot.py", "test_kills.py")
"""Files with tests of a minute and the like."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: nobody waits at the end for a worker that has just begun with it."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


class Pretrained(NamedTuple):
    """What the tiny `soar pretrain` left."""

    data: Path
    weights: Path
    manifest: dict[str, Any]
    preset: str
    demonstrations: str
    pictures: str
    corrections: str


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    from soar.improve.preset import load_preset
    from soar.pretraining.pretrain import pretrain
    from tests.improve.tiny import CORRECTIONS, DEMONSTRATIONS, PICTURES, PRESET, write

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the first worker makes them for all
    folder /= "pretrained"
    folder.mkdir(exist_ok=True)
    preset, made = folder / "tiny.yaml", folder / "made.json"
    kinds = {"demonstrations": DEMONSTRATIONS, "pictures": PICTURES, "corrections": CORRECTIONS}
    paths = {kind: str(folder / f"{kind}.yaml") for kind in kinds}
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for kind, text in {"tiny": PRESET, **kinds}.items():
                write(folder, f"{kind}.yaml", text)
            manifest = pretrain(load_preset(str(preset)).pretraining, folder / "data", folder / "weights", **paths)
            made.write_text(json.dumps(manifest))
    return Pretrained(folder / "data", folder / "weights", json.loads(made.read_text()), str(preset), **paths)
