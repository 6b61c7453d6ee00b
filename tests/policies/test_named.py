"""Folders that name a policy which is elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.errors import CheckpointError
from soar.policies.lineage import Lineage
from soar.policies.loading import load_policy
from soar.policies.named import Named, chain_from, write_named
from soar.training.served import served


def name_each_other(folders: list[Path], last: str) -> None:
    for folder, target in zip(folders, [*map(str, folders[1:]), last], strict=True):
        folder.mkdir()
        write_named(Named(id=folder.name, behind="other", name=target, folder=folder), Lineage())


def test_a_chain_is_followed_to_its_end(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    name_each_other(folders, str(tmp_path / "mine.onnx"))
    assert [named.id for named in chain_from(folders[0])] == ["a", "b", "c"]
    assert list(chain_from(tmp_path)) == []


@pytest.mark.parametrize("names", ["a", "abc"])
def test_folders_that_name_each_other_in_a_circle_are_refused_and_not_followed_for_ever(tmp_path: Path, names: str) -> None:
    folders = [tmp_path / name for name in names]
    name_each_other(folders, str(folders[0]))
    for follow in (lambda: load_policy(str(folders[0])), lambda: served(folders[0]).__enter__()):
        with pytest.raises(CheckpointError, match=f"names itself, by way of {len(names)} folder"):
            follow()


@pytest.mark.parametrize("name", ["policy.yaml", "other.yaml"])
@pytest.mark.parametrize("text", ["backend: trap:make", "backend: by-task\notherwise: trap:make\ntasks: {}"])
def test_a_folder_that_was_downloaded_runs_nothing_whatever_its_file_is_called(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\ndef make(): ...\n")
    (tmp_path / name).write_text(text + "\n")
    write_named(Named(id="a", behind="b", name=name, folder=tmp_path), Lineage())
    with pytest.raises(CheckpointError, match="lies in no run: nothing of it was run"):
        load_policy(str(tmp_path))
    assert not (tmp_path / "sprung").exists()
