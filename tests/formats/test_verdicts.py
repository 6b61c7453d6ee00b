"""Verdicts of foreign files: unknown stays unknown, and what is not clear is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.errors import FormatError
from soar.formats.importing import import_episodes
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.texts import verdict_of

from .datasets import rlds_record, write_raw, write_records


@pytest.mark.parametrize(
    ("values", "verdict", "said"),
    [
        ([False, False, True], True, ""),
        ([False, False, False], False, ""),
        ([0.0, 0.0, 1.0], True, ""),
        ([[0], [0], [1]], True, ""),
        ([0.2, 0.9, 1.0], True, ""),
        ([False, True, False], None, "here is true at step 1 and not at the last, 2: no verdict"),
        ([True, None], None, "here is true at step 0"),
        ([False, None], None, ""),
        (0.7, None, "here is 0.7, neither 0 nor 1: no verdict"),
        (["0.25"], None, "here is 0.25, neither"),
        (np.array([0.5], np.float32), None, "here is 0.5, neither"),
        (b"1.0", True, ""),
        ("0", False, ""),
        ([], None, ""),
    ],
)
def test_the_last_verdict_counts_and_a_fraction_is_none(
    values: Any, verdict: bool | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert verdict_of(values, "here") is verdict
    assert said in caplog.text
    assert bool(caplog.text) is bool(said)


@pytest.mark.parametrize("value", ["perhaps", 2, 1.5, b"100"])
def test_what_is_neither_true_nor_false_is_refused(value: Any) -> None:
    with pytest.raises(FormatError, match="here must say True or False, or nothing; it says"):
        verdict_of(value, "here")


@pytest.mark.parametrize(
    ("split", "changes", "verdict", "said"),
    [
        ("success", {"success": True}, True, ""),
        ("success", {}, True, ""),
        ("success", {"success": False}, None, "episode_metadata/success says failure, the split says success: no verdict"),
        ("train", {"success": True, "file_path": "/d/arm/1/p/day/failure/trajectory_0"}, None, "file_path says failure"),
        ("train", {"file_path": "/d/arm/1/p/day/failure/trajectory_0"}, False, ""),
    ],
)
def test_a_record_whose_own_verdict_split_and_path_disagree_has_none(
    tmp_path: Path, split: str, changes: dict[str, Any], verdict: bool | None, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_records(tmp_path / "d" / f"x-{split}.tfrecord-00000-of-00001", rlds_record(4, metadata=changes))
    store = EpisodeStore(tmp_path / "s", mode="create")
    import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), store)
    assert store.episodes()[0].success is verdict
    assert said in caplog.text


@pytest.mark.parametrize(
    ("folder", "text", "verdict"),
    [("failure", "True", None), ("failure", "", False), ("success", "True", True), ("day", "", None)],
)
def test_a_raw_trajectory_in_a_folder_of_the_other_verdict_has_none(
    tmp_path: Path, folder: str, text: str, verdict: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    write_raw(tmp_path / "d" / folder / "traj0", steps=4)
    (tmp_path / "d" / folder / "traj0" / "success.txt").write_text(text)
    store = EpisodeStore(tmp_path / "s", mode="create")
    import_episodes(open_raw(tmp_path / "d", RawConfig()), store)
    assert store.episodes()[0].success is verdict
    assert ("traj0: success.txt says success, the folder says failure: no verdict" in caplog.text) is (
        bool(text) and verdict is None
    )
