from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soar.errors import ConfigError, SoarError
from soar.training.commands import Command, check_places, filled, words_of

PATIENCE_S = 600.0


def quiet(passed_s: float) -> None:
    """Nobody wants to know."""


def until(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_what_is_filled_in_stays_one_word() -> None:
    words = words_of("train --data {dataset} '--more={out} {{x}}'", {"dataset": "a b; rm -rf /", "out": "$HOME"})
    assert words == ["train", "--data", "a b; rm -rf /", "--more=$HOME {x}"]
    assert filled("{{port}} {port}", {"port": "80"}) == "{port} 80"


def test_names_in_braces_that_there_are_not_and_that_are_missing_are_said() -> None:
    check_places("serve", "serve {checkpoint} {{checkpoints}}", ("checkpoint", "port"), ("checkpoint",))
    with pytest.raises(ConfigError, match=r"serve: there is no \{chekpoint\}; there are: \{checkpoint\}, \{port\}"):
        check_places("serve", "serve {chekpoint}", ("checkpoint", "port"))
    with pytest.raises(ConfigError, match=r"serve: there is no \{\}"):
        check_places("serve", "find {}", ("checkpoint",))
    with pytest.raises(ConfigError, match=r"serve: \{checkpoint\} is missing"):
        check_places("serve", "serve", ("checkpoint",), ("checkpoint",))


@pytest.mark.parametrize("status", [0, 3])
def test_a_command_leaves_its_status_and_its_words(tmp_path: Path, status: int) -> None:
    command = Command(tmp_path / "work" / "it")
    assert (command.status, command.running, command.last_words()) == (None, False, "nothing")
    command.begin([sys.executable, "-c", f"print('one'); print('two'); raise SystemExit({status})"])
    assert command.wait(PATIENCE_S, quiet) == status
    again = Command(tmp_path / "work" / "it")
    assert (again.status, again.running, again.last_words()) == (status, False, "one / two")
    assert again.wait(PATIENCE_S, quiet) == status


def test_one_that_takes_too_long_is_stopped_with_all_that_it_began(tmp_path: Path) -> None:
    child = f"import time; open({str(tmp_path / 'child')!r}, 'w').write('x'); time.sleep(3600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    command = Command(tmp_path / "it")
    command.begin([sys.executable, "-c", parent])
    until(tmp_path / "child")
    passed: list[float] = []
    assert command.wait(0.01, passed.append) is None
    assert command.running
    command.stop()
    assert not command.running
    assert str(tmp_path / "child").encode() not in b"".join(
        path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)
    )
    assert command.status is None


def test_a_command_outlives_the_process_that_began_it_and_is_found_by_the_next_one(tmp_path: Path) -> None:
    waiting = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)"
    beginning = (
        "import sys, signal; from pathlib import Path; from soar.training.commands import Command\n"
        f"Command(Path({str(tmp_path / 'it')!r})).begin([sys.executable, '-c', {waiting!r}]); print('begun', flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", beginning], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until(tmp_path / "it.pid")
        process.send_signal(signal.SIGKILL)
    command = Command(tmp_path / "it")
    assert command.running
    (tmp_path / "go").touch()
    assert command.wait(PATIENCE_S, quiet) == 0


def test_the_number_of_a_process_that_is_somebody_elses_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "it.pid").write_text(f"{os.getpid()}\n")
    command = Command(tmp_path / "it")
    assert not command.running
    command.stop()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SoarError, match="cannot be run"):
        Command(tmp_path / "file" / "it").begin(["true"])
