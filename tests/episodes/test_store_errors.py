"""Disks lose bytes. One message says which file, and the rest of the store is as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from soar.episodes import EpisodeStore
from soar.episodes.encoded import encode
from soar.episodes.integrity import examine
from soar.errors import StoreError

from .builders import goal_images, make_episode


@pytest.fixture
def store(tmp_path: Path) -> EpisodeStore:
    store = EpisodeStore(tmp_path / "s", mode="create")
    for seed, id in enumerate("abc"):
        store.append(make_episode(id, seed=seed))
    return store


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
@pytest.mark.parametrize("table", ["steps", "episodes"])
def test_a_damaged_file_is_named_and_nothing_is_written(
    store: EpisodeStore, table: str, damage: Callable[[Path], None]
) -> None:
    file = sorted(Path(store.uri, f"{table}.lance", "data").iterdir())[0]
    before = file.read_bytes()
    damage(file)
    files = sorted(path.name for path in Path(store.uri).rglob("*") if path.is_file())

    def read_all() -> None:
        for id in "abc":
            EpisodeStore(store.uri).read(id)

    for call in (read_all, lambda: examine(store.uri)):
        with pytest.raises(
            StoreError, match=rf"{file} is (truncated or damaged \(\d+ bytes\)|empty|missing)\. Restore it"
        ) as caught:
            call()
        assert ".rs:" not in str(caught.value)
    assert sorted(path.name for path in Path(store.uri).rglob("*") if path.is_file()) == files

    file.write_bytes(before)
    read_all()
    assert examine(store.uri, check_frames=True) == []


@pytest.mark.parametrize("table", ["steps", "episodes"])
def test_a_damaged_list_of_files_is_named(store: EpisodeStore, table: str) -> None:
    newest = min(Path(store.uri, f"{table}.lance", "_versions").glob("*.manifest"))
    before = newest.read_bytes()
    cut(newest)
    with pytest.raises(StoreError, match=rf"{newest} cannot be read"):
        EpisodeStore(store.uri)
    newest.write_bytes(before)
    assert EpisodeStore(store.uri).count() == 3


def test_images_that_are_no_jpegs_and_steps_that_go_back_are_refused(store: EpisodeStore) -> None:
    plain = make_episode("x")
    good = encode(replace(plain, subgoals=goal_images(plain)))
    png = b"\x89PNG\r\n\x1a\n" + bytes(50)
    other = encode(make_episode("y", size=24)).frames[0]
    for bad, message in (
        ({"frames": (*good.frames[:3], png, *good.frames[4:])}, "'x': the frame of step 3 is not a JPEG \\(58 bytes\\)"),
        ({"frames": (*good.frames[:3], good.frames[3][:-40], *good.frames[4:])}, "the frame of step 3 is not a JPEG"),
        ({"frames": (*good.frames[:5], other)}, r"the frame of step 5 has another size, \(24, 24\)"),
        ({"frames": good.frames[:-1]}, "5 actions need 6 frames and states, got 5 and 6"),
        ({"subgoals": ((2, good.frames[0]), (1, good.frames[0]))}, "subgoal 1 begins at step 1; steps of subgoals increase"),
        ({"subgoals": ((5, good.frames[0]),)}, r"lie in 0\.\.4"),
        ({"subgoals": ((0, png),)}, "the image of subgoal 0 is not a JPEG"),
    ):
        with pytest.raises(StoreError, match=message):
            store.append([replace(good, id="fine"), replace(good, **bad)])  # type: ignore[arg-type]
    assert [record.id for record in store.episodes()] == ["a", "b", "c"]
    assert examine(store.uri, check_frames=True) == []


def test_the_doctor_calls_an_empty_store_sound(tmp_path: Path) -> None:
    assert examine(EpisodeStore(tmp_path / "new", mode="create").uri, check_frames=True) == []
