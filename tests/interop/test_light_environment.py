"""A robot's computer, for real: an environment with nothing but the core collects. `make test-interop` runs this."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from tests.cli.test_light import COLLECT, ROOT, TOKEN, lab  # noqa: F401

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]
HEAVY = ("torch", "mujoco", "diffusers", "transformers", "tensorboard", "gymnasium")


def test_an_environment_without_what_trains_and_simulates_collects(lab: Path) -> None:  # noqa: F811
    made = subprocess.run([ROOT / "scripts" / "peer.sh", "light"], check=True, stdout=subprocess.PIPE, text=True)
    python = made.stdout.strip()
    looks = f"import importlib.util; print([name for name in {HEAVY} if importlib.util.find_spec(name)])"
    assert subprocess.run([python, "-c", looks], check=True, stdout=subprocess.PIPE, text=True).stdout == "[]\n"
    environment = os.environ | {"SOAR_TOKEN": TOKEN, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [python, "-m", "soar", *COLLECT, "--run", "runs/light"]
    done = subprocess.run(command, cwd=lab, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    (record,) = EpisodeStore(lab / "runs" / "light" / "episodes").episodes()
    assert (record.scene, record.length) == ("lab", 6)
    assert record.provenance.policy.endswith("+onnx")
