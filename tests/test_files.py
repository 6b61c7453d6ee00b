"""What is written is on the disk, under its name, before anybody goes on; here `os.fsync` only tells what it is asked for."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.files import replacing, sync_folder, write_text


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was synchronised, in order: "file" or "folder", and its inode."""
    asked: list[tuple[str, int]] = []

    def fsync(handle: int) -> None:
        status = os.fstat(handle)
        asked.append(("folder" if stat.S_ISDIR(status.st_mode) else "file", status.st_ino))

    monkeypatch.setattr(os, "fsync", fsync)
    return asked


@pytest.mark.skipif(sys.platform == "win32", reason="Windows opens no folders")
def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_anybody_goes_on(
    tmp_path: Path, synced: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace, at = tmp_path / "text", Path.replace, list[int]()

    def told(self: Path, target: Path) -> Path:
        at.append(len(synced))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", told)
    write_text(path, "new")
    assert synced == [("file", path.stat().st_ino), ("folder", tmp_path.stat().st_ino)]
    assert at == [1], "renamed between the two"


def test_a_file_system_that_cannot_synchronise_a_folder_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError("Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "text", "new")
    assert (tmp_path / "text").read_text() == "new"
    sync_folder(tmp_path / "nowhere")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("new")
            raise OSError("disk full")

    with pytest.raises(SoarError, match="nothing that was there is changed"):
        fail()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("text", "old")]
