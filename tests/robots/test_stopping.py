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
from soar.errors import RobotFault
from soar.robots.stopping import folder, stop, stop_here
from soar.robots.workcell import open_workcell
from tests.interrupts import heard
from tests.robots import own

from .test_workcell import cell

STILL = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


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
    assert list(folder().iterdir()) == []


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
