"""`soar robot stop`: from another process, while a motion is under way, and by the key in the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from soar.cli import main
from soar.errors import ConfigError, RobotFault
from soar.robots import stopping
from soar.robots.stopping import folder, stop, stop_here
from soar.robots.workcell import open_workcell
from soar.testing import FakeRobot
from soar.testing.widowx_server import WidowXServer
from tests.interrupts import heard
from tests.robots import own

from .test_workcell import cell
from .widowx import workcell_file

STILL = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    only_in(monkeypatch, tmp_path)


def only_in(monkeypatch: pytest.MonkeyPatch, *above: Path) -> None:
    """Neither stop nor see what other tests drive at the same time."""
    monkeypatch.setattr(stopping, "_folders", lambda: [one / f"soar-{os.getuid()}" for one in above])


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"name": 1}', b"\xff", b"[" * 60_000], ids=range(5))
def test_a_damaged_file_keeps_nobody_from_stopping_its_workcell_and_the_others(tmp_path: Path, damaged: bytes) -> None:
    with open_workcell(cell(tmp_path, "Cell")) as workcell:
        (path,) = folder().glob("*.json")
        with open_workcell(cell(tmp_path)) as other:
            path.write_bytes(damaged)
            assert sorted(one.name for one in stop("bench")) == ["bench", "unknown"]
            for robot in (workcell.robot, other.robot):
                with pytest.raises(RobotFault, match="it was stopped"):
                    robot.home()


def test_after_a_stop_no_motion_begins_and_the_driver_is_let_go_of_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own.closed.clear()
    with open_workcell(cell(tmp_path, "Cell")) as workcell, open_workcell(cell(tmp_path)) as other:
        workcell.robot.act(STILL)
        assert main(["robot", "stop"]) == 0
        assert capsys.readouterr().out.count(f"bench (process {os.getpid()}, ") == 2
        for call in (lambda: workcell.robot.act(STILL), workcell.robot.home, workcell.robot.recover, other.robot.home):
            with pytest.raises(RobotFault, match=r"it was stopped\. Look at the arm") as caught:
                call()
            assert caught.value.kind == "unrecoverable"
        assert workcell.reset_for is not None
        with pytest.raises(RobotFault, match="it was stopped"):
            workcell.reset_for("put the carrot on the plate", 1)
        workcell.robot.observe()  # looking is no motion
    assert own.closed == []
    with open_workcell(cell(tmp_path)) as again:
        again.robot.act(STILL)
    assert own.closed == ["arm"]
    assert [path.name for path in folder().iterdir()] == ["opening.lock"]


def test_a_motion_that_is_under_way_is_waited_for_and_one_that_does_not_end_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_workcell(cell(tmp_path, "SlowOnce", robot=", timeouts: {act: 60}")) as workcell:
        arm: own.SlowOnce = workcell._driver._robot
        workcell.robot.act(STILL)
        moving = threading.Thread(target=workcell.robot.act, args=(STILL,))
        moving.start()
        while arm.actions < 2:
            time.sleep(0.01)
        assert main(["robot", "stop", "--wait-s", "0.1"]) == 2
        captured = capsys.readouterr()
        assert "STILL MOVING: its last motion has not ended. Switch the arm's power off." in captured.out
        arm.go_on.set()
        moving.join()
        (stopped,) = stop(wait_s=30)
        assert stopped.still
        with pytest.raises(RobotFault, match="it was stopped"):
            workcell.robot.act(STILL)
        assert arm.actions == 2


def test_only_the_workcell_that_is_named_is_stopped(tmp_path: Path) -> None:
    with open_workcell(cell(tmp_path, extra="name: left\n")) as left, open_workcell(cell(tmp_path)) as bench:
        assert [one.name for one in stop("left")] == ["left"]
        with pytest.raises(RobotFault, match="it was stopped"):
            left.robot.home()
        bench.robot.home()


def test_where_nothing_is_driven_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robot", "stop"]) == 0
    assert capsys.readouterr().out == "no arm is driven from this computer by this user\n"
    assert not stop_here()


DRIVING = """
import sys, time, numpy as np
from soar.cli.ending import ending
from soar.robots.workcell import open_workcell
def work():
    workcell = open_workcell(sys.argv[1])
    workcell.robot.home()
    print("driving", flush=True)
    while True:
        workcell.robot.act(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        time.sleep(0.01)
ending(work, own_process=True)
"""


def by_command(process: subprocess.Popen[str]) -> None:
    assert [(one.pid, one.still) for one in stop()] == [(process.pid, True)]


def by_key(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGQUIT)


@pytest.mark.parametrize("way", [by_command, by_key])
def test_another_process_is_stopped_and_ends_without_calling_close(
    tmp_path: Path, way: Callable[[subprocess.Popen[str]], None]
) -> None:
    (tmp_path / "arm_that_tells.py").write_text(
        "from tests.robots import own\nclass Arm(own.Arm):\n    def close(self):\n        print('closed', flush=True)\n"
    )
    path = cell(tmp_path)
    Path(path).write_text(Path(path).read_text().replace("tests.robots.own:Arm", "arm_that_tells:Arm"))
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVING, path],
        preexec_fn=heard,  # noqa: PLW1509
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [*sys.path]))},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "driving\n"
    way(process)
    out, err = process.communicate()
    assert out == ""
    assert "it was stopped. Look at the arm" in err
    assert process.returncode == 1  # the script does not catch the fault; commands do


def test_a_process_that_was_killed_is_nobody_to_be_stopped(tmp_path: Path) -> None:
    script = (
        f"from soar.robots.workcell import open_workcell; w = open_workcell({cell(tmp_path)!r}); print(1, flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [*sys.path]))},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.kill()
    process.wait()
    assert len(list(folder().glob("*.json"))) == 1
    assert stop() == []
    assert not list(folder().glob("*.json"))


def test_a_stop_finds_what_was_begun_in_a_terminal_with_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop, container = tmp_path / "desktop", tmp_path / "container"
    desktop.mkdir()
    container.mkdir()
    only_in(monkeypatch, desktop, container)
    with open_workcell(cell(tmp_path)) as workcell:
        only_in(monkeypatch, container, desktop)
        assert [one.still for one in stop()] == [True]
        with pytest.raises(RobotFault, match="it was stopped"):
            workcell.robot.home()


def test_where_stops_are_looked_for_does_not_depend_on_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/mine")
    here = stopping._folders()
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    for above in ("/run/mine", f"/run/user/{os.getuid()}", "/tmp"):
        assert Path(above) / f"soar-{os.getuid()}" in here
    assert here[0].parent == Path("/run/mine")
    assert set(stopping._folders()) < set(here)


def test_an_arm_that_somebody_drives_is_nobody_elses(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with WidowXServer(FakeRobot) as server:
        path = Path(workcell_file(tmp_path, server.port))
        other = workcell_file(tmp_path / "other", server.port)
        Path(other).write_text("name: another\n" + path.read_text().replace("127.0.0.1", "localhost"))
        with open_workcell(str(path)) as workcell:
            asked = server.executed.total()
            message = (
                rf"another: the WidowX at localhost:{server.port} is driven by process {os.getpid()} .*two would move one arm"
            )
            with pytest.raises(ConfigError, match=message):
                open_workcell(other)
            assert server.executed.total() == asked
            assert [one.name for one in stop()] == ["bench"]
            assert workcell.name == "bench"
        open_workcell(other).close()


def test_a_stop_is_heard_while_a_driver_is_opened_which_may_move_the_arm(tmp_path: Path) -> None:
    opening, opened, said = threading.Event(), threading.Event(), []

    class Slow(own.Arm):
        def __init__(self) -> None:
            super().__init__()
            opening.set()
            opened.wait()

    own.Slow = Slow  # type: ignore[attr-defined]

    def work() -> None:
        with open_workcell(cell(tmp_path, "Slow")) as workcell, pytest.raises(RobotFault, match="it was stopped") as caught:
            workcell.robot.home()
        said.append(caught.value.kind)

    own.closed.clear()
    thread = threading.Thread(target=work)
    thread.start()
    opening.wait()
    assert [one.still for one in stop(wait_s=0)] == [False]
    opened.set()
    thread.join()
    assert (said, own.closed) == (["unrecoverable"], [])


def test_a_collection_that_was_stopped_says_that_and_nothing_of_reboots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["collect", "--workcell", cell(tmp_path, "StopsItself"), "--run", str(tmp_path / "run"), "--episodes", "2"]
    command += [
        "--policy",
        "soar.testing:FakePolicy",
        "--subgoals",
        "soar.testing:FakeSubgoals",
        "--vlm",
        "soar.testing:FakeVLM",
    ]
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("bench: it was stopped. Look at the arm, and run the same command again to go on")
