"""LeRobot's own program lets its reward model look at what we exported, and we judge by what it left. `make test-interop`."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.cli import main
from soar.episodes import EpisodeStore
from soar.formats.lerobot_export import export_lerobot
from soar.tasks.evidence import curve_of
from tests.formats.datasets import store_of_three

from .conftest import Peer

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]


def test_sarm_of_the_released_lerobot_judges_our_episodes(tmp_path: Path, sarm: Peer) -> None:
    store = store_of_three(tmp_path / "store", size=64)
    homes = {"HF_HOME": str(tmp_path / "hub"), "HF_LEROBOT_HOME": str(tmp_path / "lerobot")}
    folder = export_lerobot(store, tmp_path / "lerobot" / "me" / "mine", codec="h264", camera="front")
    sarm("me/mine", tmp_path / "scratch", "observation.images.front", **homes)
    assert main(["data", "rejudge", str(tmp_path / "store"), "--progress", str(folder / "sarm_progress.parquet")]) == 0
    for record in EpisodeStore(tmp_path / "store").episodes():
        label = record.labels[-1]
        assert label.source == f"{tmp_path / 'scratch' / 'sarm'} progress_sparse"
        assert [frame for frame, _ in curve_of(label)] == list(range(record.length + 1))
        assert label.probability == pytest.approx(curve_of(label)[-1][1], abs=1e-4)
