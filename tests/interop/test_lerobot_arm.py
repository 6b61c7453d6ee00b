"""LeRobot's own SO101Follower in LeRobot's environment, driven from ours through the wire. `make test-interop` runs this."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.errors import RobotFault
from soar.robots.remote import open_robot
from soar.robots.workcell import open_workcell
from soar.testing import check_robot
from tests.examples.commands import ROOT, soar

pytestmark = [pytest.mark.interop, pytest.mark.timeout(3600)]
TOKEN = "correct-horse-battery"
SHORT = ("--improvement.collection.rollout.subgoals", 1, "--improvement.collection.rollout.steps_per_subgoal", 5)
BOX = ("--workspace", "0.16", "-0.12", "0.02", "0.31", "0.12", "0.14")
TOO_LARGE = ("--workspace", "0.16", "-0.5", "0.02", "0.6", "0.5", "0.2")
CAMERA = "cameras: {front: {type: opencv, index_or_path: /dev/video-absent, width: 640, height: 480, fps: 30}}"
Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def serve() -> Serve:
    """Starts `soar robot serve` there."""
    made = subprocess.run([ROOT / "scripts" / "peer.sh", "lerobot-arm"], check=True, stdout=subprocess.PIPE, text=True)
    here = Path(__file__).parent
    path = os.pathsep.join(str(folder) for folder in (ROOT / "src", ROOT, here, here / "operators", here / "plugin"))
    environment = os.environ | {"SOAR_TOKEN": TOKEN, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}

    def start(*flags: str, home: Path | None = None) -> subprocess.Popen[str]:
        command = [made.stdout.strip(), "-m", "soar", "robot", "serve", "--port", "0", *flags]
        env = environment | ({"HF_HOME": str(home)} if home else {})
        return subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )

    return start


@pytest.fixture(scope="module")
def workcell(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a workcell whose robot is LeRobot's."""
    with serve("--driver", "lerobot_arm:open_arm", *BOX, "--lag-m", "0.05") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if " is served at " in line:
                break
        else:
            pytest.fail("".join(lines) + process.stderr.read())
        path = tmp_path_factory.mktemp("so101") / "workcell.yaml"
        path.write_text(
            f"robot:\n  driver: remote\n  options: {{url: {lines[-1].split()[-1]}}}\n  limits: {{lag_m: 0.05}}\n"
            "workspace: {low: [0.16, -0.12, 0.02], high: [0.31, 0.12, 0.14]}\n"
            "scene: {name: bench, tasks: [put the carrot on the plate]}\n",
            encoding="utf-8",
        )
        try:
            yield path
        finally:
            process.terminate()
            process.stdout.read()
    assert process.returncode == 143


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKEN)


def test_lerobots_own_arm_keeps_the_robots_contract(workcell: Path) -> None:
    with open_workcell(str(workcell)) as opened:
        check_robot(opened._driver)
        opened.robot.home()
        state = opened.robot.observe().state
        assert state[:3] == pytest.approx([0.22, 0, 0.08], abs=0.02)  # it sags
        assert state[3:] == pytest.approx([0, 0, 0, 1], abs=0.1)
        for _ in range(4):
            opened.robot.observe()
            opened.robot.act(np.array([0.01, 0, 0, 0, 0, 0.1, 0.0], np.float32))
        moved = opened.robot.observe().state - state
        assert moved[[0, 5]] == pytest.approx([0.04, 0.4], abs=0.1)
        assert moved[0] > 0.02


def test_a_policy_practises_with_it(workcell: Path) -> None:
    models = ("--policy", "soar.testing:FakePolicy", "--subgoals", "soar.testing:FakeSubgoals", "--vlm", "soar.testing:FakeVLM")
    soar("collect", "--workcell", workcell, "--run", "play", "--episodes", 1, *models, *SHORT, folder=workcell.parent)
    (record,) = EpisodeStore(workcell.parent / "play" / "episodes").episodes()
    assert (record.scene, record.length, record.provenance.robot) == ("bench", 5, "workcell")


def test_a_type_of_a_plug_in_is_driven_by_its_name(serve: Serve, tmp_path: Path) -> None:
    flags = (
        "--driver",
        "lerobot",
        "--option",
        "type=bench_arm",
        "arm=so101",
        "config={port: nowhere}",
        *BOX,
        "--lag-m",
        "0.05",
    )
    with serve(*flags, home=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = next((line for line in process.stdout if " is served at " in line), None)
        assert said is not None, process.stderr.read()
        robot = open_robot(said.split()[-1], TOKEN)
        robot.home()
        assert robot.observe().state[:3] == pytest.approx([0.22, 0, 0.08], abs=0.02)
        assert robot.motors() == ""
        robot.close()
        process.terminate()
        process.stdout.read()


def test_red_is_red_by_lerobots_own_camera_and_one_that_ends_is_a_fault_of_the_camera(serve: Serve, tmp_path: Path) -> None:
    # OpenCV takes a film for a camera, and a pipe for a film: this one lasts until it is told to end.
    film, over = tmp_path / "film.mjpeg", threading.Event()
    os.mkfifo(film)
    red = cv2.imencode(".jpg", np.full((720, 1280, 3), (0, 0, 255), np.uint8))[1].tobytes()

    def play() -> None:
        with contextlib.suppress(BrokenPipeError), film.open("wb") as pipe:
            while not over.wait(1 / 30):
                pipe.write(red)

    threading.Thread(target=play, daemon=True).start()
    camera = f"camera={{type: opencv, index_or_path: {film}, width: 1280, height: 720, fps: 25}}"
    with serve("--driver", "lerobot_arm:open_arm", "--option", camera, *BOX, "--lag-m", "0.05", home=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        threading.Thread(target=process.stderr.read).start()  # it says each frame that does not come
        said = next(line for line in process.stdout if " is served at " in line)
        robot = open_robot(said.split()[-1], TOKEN)
        image = robot.observe().image_HWC
        assert image.shape == (720, 1280, 3)
        assert image.reshape(-1, 3).mean(0) == pytest.approx([254, 0, 0], abs=6)
        over.set()
        with pytest.raises(RobotFault, match=r"Timed out waiting for frame|read thread is not running") as caught:
            collections.deque(iter(robot.observe, None), maxlen=0)  # until it fails
        assert caught.value.kind == "camera"
        process.terminate()
        process.stdout.read()


CONFIG = f"config={{port: /dev/ttyABSENT, id: arm, {CAMERA}}}"
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "type": (
        ("--robot", "so101", "--option", "type=so102_follower", CONFIG),
        r"unknown type of robot 'so102_follower'; did you mean 'so101_follower'\? Valid choices: .*koch_follower",
    ),
    "uncalibrated": (
        (
            "--driver",
            "lerobot_arm:open_arm",
            "--option",
            "calibrated=false",
            "--workspace",
            *["0.14", "-0.1", "0.02", "0.3", "0.1", "0.2"],
        ),
        r"so101_follower is not calibrated.*lerobot-calibrate --robot\.type=so101_follower --robot\.port=/dev/ttyACM0",
    ),
    "key": (
        ("--robot", "so101", "--option", "config={port: /dev/ttyABSENT, speed: 3}"),
        r"unknown key 'speed'.*In the config of so101_follower",
    ),
    "value": (
        ("--robot", "so101", "--option", "config={port: /dev/ttyABSENT, cameras: {front: {type: opencvv}}}"),
        r"LeRobot refuses the config of so101_follower",
    ),
    "port": (("--robot", "so101", "--option", CONFIG), r"its motors do not answer \(`lerobot-find-port` finds the port\)"),
    "absent camera": (
        (
            "--driver",
            "lerobot_arm:open_arm",
            "--option",
            "camera={type: opencv, index_or_path: /dev/video-absent, width: 640, height: 480, fps: 30}",
            *BOX,
        ),
        r"its camera 'front' is not there \(`lerobot-find-cameras` finds it\)",
    ),
    "camera": (
        ("--robot", "so101", "--option", CONFIG, "camera=side"),
        r"which camera\? `camera` is 'side', and there are front",
    ),
    "box": (
        ("--robot", "so101", "--option", CONFIG, *TOO_LARGE),
        r"the arm cannot reach its box: \d+ of 27 places",
    ),
    "torque": (
        ("--robot", "so101", "--option", "config={port: /dev/ttyABSENT, disable_torque_on_disconnect: true}"),
        r"disable_torque_on_disconnect would let a stopped arm fall",
    ),
    "base": (
        ("--robot", "so101", "--option", "type=lekiwi", "arm=so101", "config={port: /dev/ttyABSENT, cameras: {}}"),
        r"lekiwi: which camera\?|lekiwi is told arm_elbow_flex\.pos",
    ),
}


def one_error(process: subprocess.Popen[str], message: str) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert len(re.findall(r"^error: ", said, re.MULTILINE)) == 1, said
    assert re.search(message, " ".join(said.split())), said


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_clear_error(serve: Serve, wrong: str, tmp_path: Path) -> None:
    flags, message = WRONG[wrong]
    with serve(*flags, home=tmp_path) as process:
        one_error(process, message)


def test_the_file_of_the_page_ends_in_one_error_where_no_arm_is_and_where_something_else_is_on_the_port(
    serve: Serve, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "how-to" / "lerobot.md").read_text(encoding="utf-8")
    text = re.findall(r"```yaml\n# so101.yaml\n(.*?)```", page, re.DOTALL)[0]
    ours, theirs = os.openpty()  # a serial port on which nothing answers
    for port in ("/dev/ttyABSENT", os.ttyname(theirs)):
        file = tmp_path / "so101.yaml"
        file.write_text(text.replace("/dev/ttyACM0", port), encoding="utf-8")
        with serve("--robot", str(file), home=tmp_path) as process:
            one_error(process, r"its motors do not answer \(`lerobot-find-port` finds the port\)")
    os.close(ours)
    os.close(theirs)


def test_the_check_before_the_night_finds_all_of_it_well_but_rolling(workcell: Path) -> None:
    found = workcell.with_name("found.json")
    soar("robot", "check", "--workcell", workcell, "--yes", "--dry-run", 0, "--json", found, folder=workcell.parent)
    rows = json.loads(found.read_text(encoding="utf-8"))["rows"]
    assert {row["check"] for row in rows if row["ok"] is False} == set()
    assert {"turn +roll", "turn -roll"} <= {row["check"] for row in rows if row["ok"] is None}
