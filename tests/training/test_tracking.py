from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from soar.errors import ConfigError
from soar.training.tracking import weights_and_biases


def test_metrics_are_written_without_a_network_and_a_resumed_run_keeps_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "mine" / "training"
    folder.mkdir(parents=True)
    for first in (1, 3):
        with weights_and_biases("project", folder, {"steps": 4}) as track:
            for step in (first, first + 1):
                track(step, {"loss": 1 / step})
    identity = (folder / "wandb-id").read_text()
    files = list(folder.glob(f"wandb/offline-run-*-{identity}/run-{identity}.wandb"))
    assert files
    # A process of its own writes them, and may be behind on a machine that is busy.
    for _ in range(600):
        if all(b"loss" in file.read_bytes() for file in files):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"{[(str(file), file.stat().st_size) for file in files]} have no loss")


def test_without_the_package_the_message_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'soar-robot\[wandb\]'"),
        weights_and_biases("project", tmp_path, {}),
    ):
        pass
