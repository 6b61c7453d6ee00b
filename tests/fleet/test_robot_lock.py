"""One process of a computer drives a robot, whoever tidies up its files; another place waits for the lease."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soar.errors import ConfigError
from soar.fleet import robot_lock as module
from soar.fleet.leases import Holder
from soar.fleet.ledger import LedgerRefusedError
from soar.fleet.robot_lock import lock_file, robot_lock, robot_process
from tests.fleet.test_ledger import ledger

HOLDS = """
import sys
from soar.fleet.robot_lock import robot_lock
with robot_lock("one") as place:
    print(place, flush=True)
    sys.stdin.read()
"""
Holding = Callable[[Path], tuple[subprocess.Popen[str], str]]


@pytest.fixture
def holding() -> Iterator[Holding]:
    """Start a process that holds the lock below a folder for temporary files, and return its place."""
    begun: list[subprocess.Popen[str]] = []

    def begin(temporary: Path) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS],
            env=os.environ | {"TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def holder(process: subprocess.Popen[str], place: str) -> Holder:
    return Holder(host="h", pid=process.pid, nonce=str(process.pid), lock=place)


def test_a_process_after_one_that_was_killed_has_its_place_and_drives_at_once(tmp_path: Path, holding: Holding) -> None:
    (first, place), shared = holding(tmp_path), ledger(tmp_path)
    assert shared.acquire("one", holder(first, place)) == 1
    second, nothing = holding(tmp_path)
    assert nothing == ""
    assert f"is driven by another process of this computer (process {first.pid})" in second.communicate()[1]
    first.kill()
    first.wait()
    third, again = holding(tmp_path)
    assert again == place != ""
    assert len(place) <= 80, "what a coordinator takes"
    assert shared.acquire("one", holder(third, again)) == 2


def test_a_process_that_holds_a_new_file_while_the_removed_one_is_held_has_to_wait_for_the_lease(
    tmp_path: Path, holding: Holding
) -> None:
    (first, place), shared = holding(tmp_path), ledger(tmp_path)
    shared.acquire("one", holder(first, place))
    lock_file("one", tmp_path).unlink()
    second, other = holding(tmp_path)
    assert other not in ("", place)
    with pytest.raises(LedgerRefusedError, match="its lease ends in"):
        shared.acquire("one", holder(second, other))


def test_a_computer_whose_disk_is_a_copy_is_another_place(
    tmp_path: Path, holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    first, place = holding(tmp_path / "a")
    first.kill()
    first.wait()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert holding(tmp_path / "b")[1] != place
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a"))
    (tmp_path / "boot_id").write_text("another start\n")
    monkeypatch.setattr(module, "_BOOT", tmp_path / "boot_id")
    with robot_lock("one") as elsewhere:  # the very file: a copy may have its number
        assert elsewhere not in ("", place)


def test_where_the_system_has_no_name_for_its_start_one_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BOOT", tmp_path / "nothing")
    places = []
    for name in ("a", "a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
        with robot_lock("one") as place:
            places.append(place)
    assert places[0] == places[1] != places[2]


def test_a_file_that_is_removed_between_its_opening_and_its_lock_is_not_the_one_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path, lock, taken = lock_file("one"), module._lock, threading.Event()

    def tidied(handle: int) -> None:
        if not taken.is_set():
            taken.set()
            path.unlink()
        lock(handle)

    monkeypatch.setattr(module, "_lock", tidied)
    with robot_lock("one"):
        assert robot_process("one") == os.getpid()
        with pytest.raises(ConfigError, match="is driven by another process"), robot_lock("one"):
            pass
