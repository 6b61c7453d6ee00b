"""The WidowX driver against a server that speaks as real ones do: real ZeroMQ, real LZ4, real pickles, real faults."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import pytest
import zmq

from soar.cli import main
from soar.errors import ConfigError, RobotFault
from soar.pickle_reader import loads
from soar.pickle_writer import dumps
from soar.robots import stopping
from soar.robots.stopping import stop
from soar.robots.widowx import recovery
from soar.robots.widowx.driver import WidowX, open_widowx
from soar.robots.workcell import Workcell, open_workcell
from soar.sim.workcell import open_robot as open_simulated
from soar.testing import FakeRobot, check_robot
from soar.testing.widowx_faults import KINDS, FaultPlan, ServerFault
from soar.testing.widowx_server import KEYS, WidowXServer, gigabyte
from soar.types import Action, Observation

from .widowx import HOME, widowx, workcell_file

DIALECTS = sorted(KEYS)
FORWARD = np.array([0.004, 0.003, 0.002, 0.0, 0.0, 0.01, 1.0], np.float32)
QUICK = "waits: {step: 0.6, hash: 1, move: 5}"


@pytest.fixture(autouse=True)
def quick_reboots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "BETWEEN_JOINTS_S", 0.0)


def driver_of(workcell: Workcell) -> WidowX:
    found: WidowX = workcell._driver._robot
    return found


def practise(workcell: Workcell, steps: int = 30) -> int:
    """Move to and fro, looking before each step, and return how many steps were taken."""
    for step in range(steps):
        workcell.robot.observe()
        action = FORWARD * (1 if step // 8 % 2 else -1)
        action[6] = 1.0
        workcell.robot.act(action)
    return steps


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_widowx_keeps_the_robots_contract_whatever_its_server_speaks(dialect: Any) -> None:
    with WidowXServer(FakeRobot, dialect=dialect) as server:
        robot = open_widowx(port=server.port, home=tuple(HOME), period_s=0)
        assert robot.kind == dialect
        check_robot(robot)
        robot.close()


class Colourful(FakeRobot):
    """Red above, green in the middle, blue below; the gripper's opening and angles as they are told."""

    def observe(self) -> Observation:
        image = np.zeros((60, 80, 3), np.uint8)
        for band in range(3):
            image[20 * band : 20 * band + 20, :, band] = 250
        return Observation(image_HWC=image, state=self._state.astype(np.float32))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("full", [True, False])
def test_colours_and_angles_arrive_as_everybody_counts_them(dialect: Any, full: bool) -> None:
    params = {"return_full_image": full}
    with WidowXServer(Colourful, dialect=dialect) as server:
        robot = open_widowx(port=server.port, home=tuple(HOME), period_s=0, env_params=params)
        robot.home()
        for turn in ([0, 0.1, 0.2], [0, -0.2, 0.1]):
            sent = robot.act(np.array([0.01, 0, 0, *turn, 0.0], np.float32))
        seen = robot.observe()
        robot.close()
    height = seen.image_HWC.shape[0]
    for band in range(3):
        colour = seen.image_HWC[height * (2 * band + 1) // 6].mean(0)
        assert int(np.argmax(colour)) == band
        assert colour[band] > 200
    assert seen.state[:3] == pytest.approx([0.29, 0, 0.12], abs=1e-4)
    # Turns do not commute; and one kind of server cannot tilt, of which the action that was executed knows.
    tilts = dialect != "manipulator"
    assert seen.state[3:6] == pytest.approx([0, -0.1 * tilts, 0.3], abs=0.05)
    assert sent[3:6] == pytest.approx([0, -0.2 * tilts, 0.1])
    assert seen.state[6] == 0.0


def test_pictures_come_in_the_size_that_the_workcell_says(tmp_path: Path) -> None:
    with WidowXServer(FakeRobot) as server:
        path = workcell_file(tmp_path, server.port, rest="image_size: [48, 32]\n")
        with open_workcell(path) as workcell:
            assert workcell.robot.observe().image_HWC.shape == (48, 32, 3)


def test_a_server_that_others_set_up_for_other_pictures_is_set_up_anew_before_the_first_look(tmp_path: Path) -> None:
    with WidowXServer(Colourful) as server:
        server.arm.initialise({"return_full_image": False}, 32)
        with open_workcell(workcell_file(tmp_path, server.port)) as workcell:
            size = workcell.robot.observe().image_HWC.shape
            workcell.robot.home()
            assert workcell.robot.observe().image_HWC.shape == size == (60, 80, 3)
        assert server.executed["init"] == 1
        with open_workcell(workcell_file(tmp_path, server.port)) as workcell:
            assert server.executed["init"] == 1  # it gives whole pictures: nothing moves before the first episode


OUTCOMES: dict[str, tuple[str, str]] = {
    "late": ("connection", r"step_action: no answer .* it is not sent again"),
    "no_reply": ("connection", r"step_action: no answer"),
    "out_of_order": ("connection", r"step_action: no answer"),
    "exception": ("connection", r"step_action: no answer"),
    "restart": ("connection", r"step_action: no answer"),
    "stale": ("connection", r"obs: no answer"),
    "uninitialised": ("connection", r"the server has no robot: it was started again"),
    "frozen": ("camera", r"the image has not changed"),
    "no_camera": ("camera", r"1 x 3 px: its camera has not begun"),
    "no_motion": ("motor", r"does not follow: 15 actions in a row"),
    "motor_error": ("motor", r"in an error, without torque: wrist_angle \(error 32\)"),
    "few_motors": ("motor", r"5 of 7 motors answer"),
    "failure": ("motor", r"status 2: execution failed"),
    "not_finite": ("motor", r"state is not finite"),
    "hostile": ("connection", r"refused a pickle that names os.system; nothing was executed"),
    "gigabyte": ("connection", r"more than 67108864 bytes when decompressed"),
    "garbage": ("connection", r"no LZ4 frame"),
}


def test_every_kind_of_fault_has_an_outcome() -> None:
    assert OUTCOMES.keys() == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_one_named_outcome_and_the_arm_works_again(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Requests: two looks at the opening, one at home, then look and step in turn.
    plan = FaultPlan([ServerFault(kind=kind, request=8)])
    expected, message = OUTCOMES[kind]
    options = "waits: {step: 10}" if kind == "gigabyte" else QUICK
    gigabyte()  # made in advance: nothing here is to depend on how fast that is
    with widowx(tmp_path, options=options, dialect="bridge-motors", faults=plan, late_s=0.8) as (server, workcell):
        workcell.robot.home()
        with pytest.raises(RobotFault, match=message) as caught:
            practise(workcell)
        assert caught.value.kind == expected
        assert plan.happened == [kind]
        health = workcell.robot.health()
        assert (health.ok, health.fault) == ((True, "") if kind == "frozen" else (False, expected))
        server.arm.frozen = 0
        workcell.robot.recover()
        assert workcell.robot.health().ok
        before = server.executed["step_action"]
        steps = practise(workcell)
        assert server.executed["step_action"] == before + steps
    assert not list(tmp_path.glob("soar-was-executed*"))


@pytest.mark.parametrize(
    ("dialect", "kind"), [("bridge", "few_motors"), ("manipulator", "motor_error"), ("manipulator", "stale")]
)
def test_what_a_dialect_does_not_tell_is_found_by_what_the_arm_does(tmp_path: Path, dialect: Any, kind: str) -> None:
    plan = FaultPlan([ServerFault(kind=kind, request=7, reboots=2)])
    with widowx(tmp_path, options=QUICK, dialect=dialect, faults=plan, late_s=0.1) as (server, workcell):
        workcell.robot.home()
        with pytest.raises(RobotFault, match="no answer" if kind == "stale" else "does not follow"):
            practise(workcell)
        workcell.robot.recover()
        assert len(server.arm.rebooted) == (0 if kind == "stale" else 14)
        practise(workcell)


class Counting(FakeRobot):
    """Notes what it was told, in order."""

    calls: list[str] = []  # noqa: RUF012 - the test reads it

    def act(self, action: Action) -> None:
        self.calls.append("act")
        super().act(action)

    def home(self) -> None:
        self.calls.append("home")
        super().home()


def test_an_action_that_was_given_up_is_executed_before_the_arm_goes_home_and_never_twice(tmp_path: Path) -> None:
    plan = FaultPlan([ServerFault(kind="out_of_order", request=6)])
    with widowx(tmp_path, Counting, QUICK, dialect="bridge-motors", faults=plan) as (server, workcell):
        workcell.robot.home()
        with pytest.raises(RobotFault, match="no answer"):
            practise(workcell)
        sent = driver_of(workcell)._actions + 1
        with pytest.raises(RobotFault, match="not asked, since an earlier request had no answer"):
            workcell.robot.observe()
        Counting.calls.clear()
        assert server.executed["step_action"] == sent - 1
        workcell.robot.recover()
        assert server.executed["step_action"] == sent
        assert Counting.calls[:2] == ["act", "home"]


def test_reboots_happen_in_the_sleep_pose_one_joint_after_another_and_at_most_ten_times(tmp_path: Path) -> None:
    plan = FaultPlan([ServerFault(kind="motor_error", request=7, reboots=99)])
    with widowx(tmp_path, options=QUICK, dialect="bridge-motors", faults=plan) as (server, workcell):
        workcell.robot.home()
        with pytest.raises(RobotFault, match="wrist_angle"):
            practise(workcell)
        with pytest.raises(RobotFault, match=r"10 reboots did not help\. A person has to look") as caught:
            workcell.robot.recover()
        assert caught.value.kind == "unrecoverable"
        assert server.arm.rebooted == [(joint, True) for joint in recovery.JOINTS] * 10
        server.arm.broken.clear()
        workcell.robot.recover()  # the person has looked
        practise(workcell)


def test_a_stop_ends_a_recovery_after_the_request_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_folders", lambda: [tmp_path])
    monkeypatch.setattr(recovery, "BETWEEN_JOINTS_S", 0.3)
    plan = FaultPlan([ServerFault(kind="motor_error", request=7, reboots=99)])
    with widowx(tmp_path, options=QUICK, dialect="bridge-motors", faults=plan) as (server, workcell):
        workcell.robot.home()
        with pytest.raises(RobotFault, match="wrist_angle"):
            practise(workcell)
        said: list[str] = []

        def recover() -> None:
            with pytest.raises(RobotFault, match="not sent, since the arm was stopped") as caught:
                workcell.robot.recover()
            said.append(caught.value.kind)

        recovering = threading.Thread(target=recover)
        recovering.start()
        while not server.arm.rebooted:
            recovering.join(0.01)
        assert [one.still for one in stop(wait_s=30)] == [True]
        recovering.join()
        assert said == ["unrecoverable"]
        assert len(server.arm.rebooted) < 70


def test_a_driver_that_was_stopped_and_never_closed_leaves_nothing_that_hangs() -> None:
    with WidowXServer(FakeRobot) as server:
        robot: Any = open_widowx(port=server.port, home=tuple(HOME))
        robot.halt()
        robot.itself = robot  # as a traceback keeps it: nothing but the garbage collector frees it
        del robot
        gc.collect()


def test_success_is_not_believed_when_the_arm_is_not_at_home(tmp_path: Path) -> None:
    with widowx(tmp_path) as (server, workcell):
        workcell.robot.home()
        server.arm.broken = {"shoulder": 99}
        for _ in range(10):
            workcell.robot.act(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        server.arm._robot._state[0] += 0.08  # type: ignore[attr-defined]
        with pytest.raises(RobotFault, match=r"says that the arm is home, and it is 8 cm away"):
            workcell.robot.home()


def test_an_arm_that_was_held_does_not_leap_when_it_comes_free(tmp_path: Path) -> None:
    with widowx(tmp_path) as (server, workcell):
        workcell.robot.home()
        server.arm.holding = True
        before = workcell.robot.observe().state
        for _ in range(10):
            workcell.robot.observe()
            workcell.robot.act(np.array([0.03, 0, 0, 0, 0, 0.2, 1], np.float32))
        server.arm.holding = False
        workcell.robot.observe()
        workcell.robot.act(np.array([0, 0, 0, 0, 0, 0, 1], np.float32))
        leap = workcell.robot.observe().state - before
        assert np.linalg.norm(leap[:3]) <= 0.06 + 1e-6
        assert np.abs(leap[3:6]).max() <= 0.35 + 1e-6


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_action_leaves_the_box_and_what_was_executed_is_what_is_recorded(tmp_path: Path, dialect: Any) -> None:
    rng = np.random.default_rng(0)
    with widowx(tmp_path, dialect=dialect) as (_, workcell):
        workcell.robot.home()
        for _ in range(40):
            before = workcell.robot.observe().state
            workcell.robot.act(rng.normal(0.02, 0.05, 7).astype(np.float32))
            after = workcell.robot.observe().state
            assert workcell.config.workspace.contains(after[:3], 1e-6)
            assert after[:3] - before[:3] == pytest.approx(workcell.robot.last_action[:3], abs=1e-6)
            assert (workcell.robot.last_action[3] == 0) == (dialect == "manipulator")


@pytest.mark.parametrize("kind", ["exception", "no_reply", "hostile", "restart"])
def test_a_server_that_fails_at_the_first_look_is_looked_at_once_more(tmp_path: Path, kind: str) -> None:
    plan = FaultPlan([ServerFault(kind=kind, request=0)])
    with widowx(tmp_path, options=QUICK, dialect="bridge-motors", faults=plan, late_s=0.1) as (_, workcell):
        assert plan.happened == [kind]
        workcell.robot.home()
        practise(workcell)


def test_a_server_that_fails_at_the_first_looks_is_one_clear_error(tmp_path: Path) -> None:
    plan = FaultPlan([ServerFault(kind="no_reply", request=0), ServerFault(kind="hostile", request=1)])
    with pytest.raises(ConfigError, match=r"refused: .*os\.system"), widowx(tmp_path, options=QUICK, faults=plan, late_s=0.1):
        raise AssertionError


def test_a_server_that_was_killed_and_started_again_is_waited_for(tmp_path: Path) -> None:
    with WidowXServer(FakeRobot) as first:
        port = first.port
        workcell = open_workcell(workcell_file(tmp_path, port, "waits: {step: 1.5, hash: 1.5, restart: 300}"))
        workcell.robot.home()
    with workcell:
        with pytest.raises(RobotFault, match=r"nobody can be reached .* it was not sent|no answer"):
            practise(workcell)
        again = WidowXServer(FakeRobot, port=port)
        waiting = threading.Timer(0.5, again.__enter__)
        waiting.start()
        workcell.robot.recover()
        waiting.join()
        practise(workcell)
        assert again.executed["init"] == 1
        again.__exit__()


def said(answer: Callable[[Any], Any], asked: bytes) -> bytes:
    return bytes(lz4.frame.compress(dumps(answer(loads(lz4.frame.decompress(asked))))))


@contextmanager
def answering(answer: bytes | Callable[[Any], Any]) -> Iterator[int]:
    """A ZeroMQ server that answers everything with the same bytes, or with what a function makes of it."""
    context: zmq.Context[Any] = zmq.Context()
    replier = context.socket(zmq.REP)
    port = replier.bind_to_random_port("tcp://127.0.0.1")
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            if replier.poll(20):
                asked = replier.recv()
                replier.send(answer if isinstance(answer, bytes) else said(answer, asked))

    thread = threading.Thread(target=work)
    thread.start()
    yield port
    done.set()
    thread.join()
    replier.close(linger=0)
    context.term()


OTHER = '{"action_keys":["fly"],"observation_keys":["sky"]}'


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            {"success": True, "payload": OTHER},
            r"unknown dialect: it offers fly \| sky\. Known are bridge-motors, bridge, manip",
        ),
        ({"success": True, "payload": "{"}, r"is no WidowX server: it answers"),
        (["hello"], r"is no WidowX server"),
        (b"hello", r"an LZ4 frame that was cut off"),
        (bytes(2**26 + 1), r"no answer"),
    ],
)
def test_another_kind_of_server_is_one_clear_error(answer: Any, message: str) -> None:
    data = answer if isinstance(answer, bytes) else lz4.frame.compress(dumps(answer))
    with answering(data) as port, pytest.raises(ConfigError, match=message):
        open_widowx("127.0.0.1", port, waits={"hash": 1.0})


def test_nobody_there_and_another_service_are_one_clear_error_each() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=r"nobody can be reached at tcp://127.0.0.1.*Start the robot's server"):
            open_widowx("127.0.0.1", port, waits={"hash": 0.3})
    with pytest.raises(ConfigError, match="nobody can be reached"):
        open_widowx("127.0.0.1", port, waits={"hash": 0.3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "tcp://robot"}, "host and port must be an address"),
        ({"port": 0}, "host and port must be"),
        ({"home": (0.3, 0)}, "home must be a state of seven numbers"),
        ({"gripper": (1, 1)}, r"gripper must be \[closed, open\]"),
        ({"waits": {"steps": 3}}, "waits has init, move, step, hash, restart; got steps"),
        ({"host": "robot:5556"}, "host and port must be an address and a number"),
        ({"move_s": 0, "waits": {"step": -1}}, r"must be positive numbers: move_s 0, waits\.step -1"),
        ({"view": -1}, "period_s and view must be at least 0, got 0.2 and -1"),
    ],
)
def test_a_wrong_option_is_one_clear_error(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_widowx(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("cameras: /blue", r"unknown option 'cameras'; did you mean 'camera'\? Valid choices: .*In the options of .* widowx"),
        ("home: [a, b]", r"widowx: option home: Input should be a valid number, .*; got \['a', 'b'\]"),
        ("waits: {step: long}", r"widowx: option waits: Input should be a valid number, .*; got \{'step': 'long'\}"),
    ],
)
def test_an_option_that_is_unknown_or_of_another_kind_is_one_clear_error(tmp_path: Path, options: str, message: str) -> None:
    path = Path(workcell_file(tmp_path, 5556))
    path.write_text(re.sub(r"options: \{.*\}", f"options: {{{options}}}", path.read_text()))
    with pytest.raises(ConfigError, match=message):
        open_workcell(str(path))


BRIDGE = '{"action_keys":["init","move","gripper","reset","step_action","reboot_motor"],"observation_keys":["image","state"]}'
STATE = np.array([0.27, 0, 0.12, 0, 0, 0, 1.0])


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (["hello"], r"the server's observation is a list\. What answers there is no server that SOAR knows"),
        ({"state": STATE[:6]}, r"state has shape \(6,\); 7 numbers were expected\. What answers there is no server"),
        ({"state": STATE}, r"image is None and no picture: its camera may be away\. Start the camera's node"),
        (
            {"state": STATE, "full_image": []},
            r"has 0 cameras, and number 0 is wanted\. Start the camera's node .* `camera` and `view`",
        ),
        ({"state": {}}, r"init: the server answers \[.*\], which is no status\. What answers there is no server"),
    ],
)
def test_a_reply_of_another_shape_is_one_clear_error_that_says_what_to_do(seen: Any, message: str) -> None:
    def answer(request: Any) -> Any:
        return {"hash": {"success": True, "payload": BRIDGE}, "obs": seen}.get(request["type"], ["no status"])

    with answering(answer) as port, pytest.raises(ConfigError, match=message):
        open_widowx("127.0.0.1", port, waits={"hash": 5.0, "step": 5.0, "init": 5.0})


def test_a_lag_of_zero_is_refused_since_the_server_adds_up(tmp_path: Path) -> None:
    with WidowXServer(FakeRobot) as server:
        path = Path(workcell_file(tmp_path, server.port))
        path.write_text(path.read_text().replace("  driver: widowx", "  limits: {lag_m: 0}\n  driver: widowx"))
        with pytest.raises(ConfigError, match=r"adds up actions, so that limits\.lag_m must be at least 0\.01 m"):
            open_workcell(str(path))


def test_the_simulated_tabletop_is_driven_through_the_wire() -> None:
    with WidowXServer(lambda: open_simulated("scene1", 64), dialect="manipulator") as server:
        robot = open_widowx(port=server.port, home=tuple(HOME), period_s=0)
        check_robot(robot)
        robot.close()


def test_the_command_simulates_a_server_until_it_is_ended_and_ends_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soar.cli", "robot", "simulate-widowx", "--port", "0", "--speed", "0"]
    command += ["--dialect", "bridge-motors", "--image-size", "64"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [*sys.path]))}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, encoding="utf-8", env=environment) as process:
        assert process.stdout is not None
        found = re.search(r"a simulated WidowX \(bridge-motors\) is served at 127.0.0.1, port (\d+)", process.stdout.readline())
        assert found
        with open_workcell(workcell_file(tmp_path, int(found[1]))) as workcell:
            workcell.robot.home()
            practise(workcell, 5)
        process.send_signal(signal.SIGTERM)
        assert process.communicate() == ("", "")
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--scene", "no-such-scene"], "unknown scene 'no-such-scene'"),
        (["--faults", "1"], "--faults lies between 0 and 1"),
    ],
)
def test_a_server_that_cannot_be_simulated_is_one_clear_error(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["robot", "simulate-widowx", *flags]) == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["robot", "simulate-widowx", "--port", str(port), "--image-size", "32"]) == 2
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
