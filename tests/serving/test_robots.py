"""A robot behind `soar robot serve`, driven by `driver: remote`."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.errors import ConfigError, RobotFault
from soar.robots.remote import RemoteRobot, open_robot
from soar.robots.safety import SafetyError, SafetyLimits
from soar.robots.timeouts import Timeouts
from soar.robots.workcell import open_workcell
from soar.serving import robot_host
from soar.serving.robot_host import RobotServerConfig
from soar.serving.robots import serving
from soar.testing import check_robot
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Action, WorkspaceBox
from tests.robots import own

TOKEN = "correct-horse-battery"
STILL = np.array([0, 0, 0, 0, 0, 0, 1], np.float32)
Offer = Callable[..., str]


class Place(own.Cell):
    """A robot whose place can do everything."""

    def set_table(self, seed: int) -> None:
        self.calls.append(("set_table", seed))
        self.home()

    def imagine(self, instruction: str, seed: int) -> Any:
        return self.observe().image_HWC

    def answer(self, question: str) -> bool:
        return "carrot" in question

    def motors(self) -> str:
        return "elbow (error 32)" if ("reboot",) not in self.calls else ""

    def reboot(self) -> None:
        self.calls.append(("reboot",))
        self.home()


class Counting(own.Arm):
    """Says how many actions it executed, where a test can see it."""

    actions = 0

    def act(self, action: Action) -> None:
        Counting.actions += 1
        super().act(action)


class Asked(own.Arm):
    """Has the picture that it is asked for."""

    def __init__(self, image_size: tuple[int, int] | None = None) -> None:
        super().__init__(size=image_size or (48, 64))


@pytest.fixture
def offer() -> Iterator[Offer]:
    """Serve a driver in threads of this process, and return its address."""
    with ExitStack() as stack:

        def start(driver: Callable[..., Any] = own.Arm, **changes: Any) -> str:
            def make(size: tuple[int, int] | None) -> Any:
                return driver(image_size=size) if driver is Asked else driver()

            config = RobotServerConfig(
                **{"name": "arm", "make": make, "workspace": FAKE_WORKSPACE, "token": TOKEN, "port": 0, **changes}
            )
            server = stack.enter_context(serving(config))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            stack.callback(server.shutdown)
            return str(server.url)

        yield start


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.01)


def post(sock: socket.socket, call: str, token: str = TOKEN, **body: Any) -> None:
    content = json.dumps(body)
    sock.sendall(request(call, content, token))


def request(call: str, content: str, token: str = TOKEN) -> bytes:
    head = f"POST /v1/robot/{call} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
    return (head + content).encode()


def answer(sock: socket.socket) -> tuple[int, str]:
    """The next answer on a connection, status and body."""
    stream = sock.makefile("rb")
    status, length = int(stream.readline().split()[1]), 0
    while (line := stream.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return status, stream.read(length).decode()


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=600)


def test_a_robot_keeps_its_contract_through_the_wire(offer: Offer) -> None:
    url = offer()
    for encoding in ("raw", "png"):
        robot = open_robot(url, TOKEN, encoding)  # type: ignore[arg-type]
        check_robot(robot)
        robot.close()


def test_a_workcell_drives_it_with_its_abilities(offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKEN)
    path = tmp_path / "bench.yaml"
    path.write_text(
        f"robot: {{driver: remote, options: {{url: '{offer(Place)}'}}}}\n"
        "workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}\nscene: {tasks: [put the carrot on the plate]}\n"
    )
    with open_workcell(str(path)) as workcell:
        assert workcell.robot.observe().image_HWC.shape == (48, 64, 3)
        assert workcell.truth is not None
        assert workcell.truth("put the carrot on the plate") is True
        assert workcell.answer is not None
        assert workcell.answer("Is it a potato?") is False
        assert workcell.imagine is not None
        assert np.array_equal(workcell.imagine("x", 1), workcell.robot.observe().image_HWC)
        workcell.robot.act(np.array([0.03, 0, 0, 0, 0, 0, 1], np.float32))
        assert workcell.reset_for is not None
        workcell.reset_for("put the carrot on the plate", 7)
        assert workcell.robot.observe().state[0] == pytest.approx(0.27)
        assert workcell.set_table is not None
        workcell.set_table(3)
        motors = workcell.ability("motors")
        assert motors is not None
        assert motors() == "elbow (error 32)"
        assert workcell.reboot is not None
        workcell.reboot()
        assert motors() == ""


def test_a_place_has_the_abilities_of_its_driver_and_no_others(offer: Offer) -> None:
    robot = open_robot(offer(own.Cell), TOKEN)
    assert [name for name in ("reset_for", "set_table", "truth", "imagine", "answer") if hasattr(robot, name)] == [
        "reset_for",
        "truth",
    ]
    with pytest.raises(RobotFault, match="reset_for takes str, int"):
        robot.reset_for("x", "y")


def test_its_own_shell_bounds_what_a_client_asks_and_says_what_was_executed(offer: Offer) -> None:
    box = WorkspaceBox(low=(0.15, -0.2, 0.02), high=(0.28, 0.2, 0.2))
    robot = open_robot(offer(workspace=box, limits=SafetyLimits(translation_m=0.02)), TOKEN)
    robot.observe()
    assert robot.act(np.array([1, 0, 0, 0, 0, 0, 1], np.float32))[0] == pytest.approx(0.01, abs=1e-6)
    assert robot.observe().state[0] == pytest.approx(0.28, abs=1e-6)
    with pytest.raises(SafetyError, match="finite numbers"):
        robot.act(np.full(7, np.nan, np.float32))


def test_the_action_that_is_recorded_is_the_one_that_was_executed(
    offer: Offer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKEN)
    path = tmp_path / "bench.yaml"
    path.write_text(
        f"robot: {{driver: remote, options: {{url: '{offer(limits=SafetyLimits(translation_m=0.004))}'}}}}\n"
        "workspace: {low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}\nscene: {tasks: [open the drawer]}\n"
    )
    with open_workcell(str(path)) as workcell:
        workcell.robot.act(np.array([0.05, 0, 0, 0, 0, 0, 1], np.float32))
        assert workcell.robot.last_action[0] == pytest.approx(0.004)


def test_a_driver_is_asked_for_the_pictures_that_the_client_wants(offer: Offer) -> None:
    robot = open_robot(offer(Asked), TOKEN, image_size=(32, 40))
    assert robot.observe().image_HWC.shape == (32, 40, 3)
    robot.close()


def test_faults_arrive_with_the_drivers_words(offer: Offer) -> None:
    robot = open_robot(offer(own.Raising), TOKEN)
    with pytest.raises(RobotFault, match=r"act: KeyError: 'servo 3'") as caught:
        robot.act(STILL)
    assert caught.value.kind == "driver"
    robot.observe()


def test_a_driver_that_hangs_is_a_fault_on_its_own_side(offer: Offer) -> None:
    arms: list[own.SlowOnce] = []

    def make() -> own.SlowOnce:
        arms.append(own.SlowOnce())
        return arms[-1]

    robot = open_robot(offer(make, timeouts=Timeouts(act=1.0, observe=60.0)), TOKEN)
    robot.act(STILL)
    with pytest.raises(RobotFault, match=r"act: no answer in 1 s"):
        robot.act(STILL)
    arms[0].go_on.set()
    robot.recover()
    assert arms[0].actions == 2


@pytest.mark.parametrize(
    ("wrong", "message"), [("wrong-horse-battery", "wants another token"), ("", "wants another token"), ("a\nb", "no header")]
)
def test_a_wrong_token_is_refused_with_where_to_put_the_right_one(
    offer: Offer, wrong: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOAR_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=message):
        open_robot(offer(), wrong)


@contextmanager
def scripted(*answers: bytes) -> Iterator[str]:
    """A server that answers with bytes, each to one request, and then hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        peer, _ = listener.accept()
        with peer, suppress(ConnectionError):
            stream = peer.makefile("rb")
            for data in answers:
                length = 0
                while (line := stream.readline()).strip():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                stream.read(length)
                peer.sendall(data)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
    listener.close()


def http(body: Any, status: str = "200 OK") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


ABOUT = http({"kind": "robot", "protocol": 1, "abilities": ["truth", 3, "__class__"], "timeouts": {"other": 1e999, "act": "x"}})
OPENED = http({"result": None})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([http(b"<html>hello</html>")], "no robot: something else answers"),
        ([http({"kind": "policy", "protocol": 1})], "no robot: something else answers"),
        ([http({"detail": "Not Found"}, "404 Not Found")], "no robot: something else answers"),
        ([http({"kind": "robot", "protocol": 3})], "speaks protocol 3 and this SOAR 1 and 2"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "Start the robot there with `soar robot serve`"),
        ([], "Start the robot there with `soar robot serve`"),
        ([http(b"[" * 100_000)], "no robot: something else answers"),
        ([ABOUT, http({"error": {"message": "another client drives this robot"}}, "409 Conflict")], "another client drives"),
        ([ABOUT, http({"fault": {"kind": ["x"], "detail": "\ud800"}})], "robot fault"),
    ],
)
def test_what_is_no_robot_of_this_version_is_one_clear_error(answers: list[bytes], message: str) -> None:
    with scripted(*answers) as url, pytest.raises(ConfigError, match=message):
        open_robot(url, TOKEN)


def test_nobody_there_is_answered_with_the_command_that_starts_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConfigError, match="Start the robot there with `soar robot serve`"):
        open_robot(f"http://127.0.0.1:{port}", TOKEN)
    with pytest.raises(ConfigError, match="must begin with http"):
        open_robot("127.0.0.1:80", TOKEN)


SEEN = {"image": {"raw": "AAAA", "shape": [1, 1, 3]}, "state": [0.0] * 7}


@pytest.mark.parametrize(
    "data",
    [
        http({"result": SEEN | {"state": [0.0] * 6}}),
        http({"result": SEEN | {"state": [10**400] * 7}}),
        http({"result": SEEN | {"state": [True] * 7}}),
        http({"result": SEEN | {"image": {"raw": "AAAA", "shape": [100_000, 100_000, 3]}}}),
        http({"result": SEEN | {"image": {"png": "AAAA"}}}),
        http({"result": None}),
        http(b"not JSON"),
        http({}, "500 Internal Server Error"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * (65 * 2**20),
    ],
)
def test_an_answer_that_is_none_is_a_lost_connection(data: bytes) -> None:
    with scripted(ABOUT, OPENED, data) as url:
        robot = open_robot(url, TOKEN)
        with pytest.raises(RobotFault) as caught:
            robot.observe()
        assert caught.value.kind == "connection"
        assert robot.health().fault == "connection"


def test_hostile_bytes_are_refused_and_the_robot_is_still_there(offer: Offer) -> None:
    url = offer()
    head = f"POST /v1/robot/open HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n"
    for data, status in (
        (b"\x00\xff" * 100 + b"\r\n\r\n", 400),
        (b"GET /v1/robot HTTP/1.1\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n", 404),
        (b"GET /" + b"a" * 70_000, 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200, 431),
        (head.encode() + b"\r\n", 411),
        (head.encode() + b"Content-Length: -1\r\n\r\n", 411),
        (head.encode() + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", 411),
        (head.encode() + b"Content-Length: 99999999\r\n\r\n", 413),
        (head.encode() + b"Content-Length: 3\r\n\r\n[1]", 400),
        (head.encode() + b"Content-Length: 50000\r\n\r\n" + b"[" * 50_000, 400),
        (head.encode() + b'Content-Length: 9\r\n\r\n{"seq":1}', 400),
    ):
        with connect(url) as sock:
            sock.sendall(data)
            first = sock.makefile("rb").readline().decode("latin-1")
            assert f" {status} " in first or (status == 400 and first.startswith("<!DOCTYPE")), data[:60]
    with connect(url) as sock:
        post(sock, "open", seq=1, encoding="raw")
        assert answer(sock)[0] == 200
        for number, action in enumerate([None, {"a": 1}, "x", [10**400] * 7, [[1]] * 7, [1, 2]], start=2):
            post(sock, "act", seq=number, action=action)
            assert "unsafe" in json.loads(answer(sock)[1])
    robot = open_robot(url, TOKEN)
    robot.observe()


def test_a_call_is_executed_once(offer: Offer) -> None:
    Counting.actions = 0
    action = {"action": STILL.tolist()}
    with connect(offer(Counting)) as sock:
        post(sock, "open", seq=1, encoding="raw")
        assert answer(sock)[0] == 200
        post(sock, "act", seq=2, **action)
        assert answer(sock)[0] == 200
        post(sock, "act", seq=2, **action)
        status, said = answer(sock)
    assert (status, Counting.actions) == (409, 1)
    assert "call number 2, and 3 is next; nothing was executed" in said


def test_one_client_drives_and_another_is_refused_until_it_is_gone(offer: Offer) -> None:
    url = offer()
    first = open_robot(url, TOKEN)
    with pytest.raises(ConfigError, match="another client drives this robot"):
        open_robot(url, TOKEN)
    with connect(url) as sock:
        post(sock, "act", seq=2, action=STILL.tolist())
        assert answer(sock)[0] == 409
    first.close()
    open_robot(url, TOKEN).close()


def test_a_call_that_comes_while_another_is_in_flight_ends_the_session(offer: Offer) -> None:
    own.closed.clear()
    Counting.actions = 0
    with connect(offer(Counting)) as sock:
        post(sock, "open", seq=1, encoding="raw")
        assert answer(sock)[0] == 200
        sock.sendall(b"".join(request("act", json.dumps({"seq": seq, "action": STILL.tolist()})) for seq in (2, 3)))
        status, said = answer(sock)
        wait_until(lambda: own.closed == ["arm"])
    assert (status, Counting.actions) == (409, 1)
    assert "in flight" in said


def test_a_client_that_vanishes_leaves_the_arm_safe(offer: Offer) -> None:
    url = offer()
    own.closed.clear()
    script = (
        f"from soar.robots.remote import open_robot; robot = open_robot('{url}', '{TOKEN}')\n"
        "robot.observe(); print(1, flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    assert own.closed == []
    process.kill()
    process.wait()
    wait_until(lambda: own.closed == ["arm"])
    open_robot(url, TOKEN).observe()


def test_a_stop_crosses_the_wire_and_the_arm_is_held_where_it_is(offer: Offer) -> None:
    own.closed.clear()
    Counting.actions = 0
    made: list[Counting] = []

    def make() -> Counting:
        made.append(Counting())
        return made[-1]

    url = offer(make)
    robot = open_robot(url, TOKEN)
    robot.act(STILL)
    robot.halt()
    wait_until(lambda: not any(thread.name == "halt" for thread in threading.enumerate()))
    for call in (lambda: robot.act(STILL), robot.home, robot.recover):
        with pytest.raises(RobotFault, match="it was stopped") as caught:
            call()
        assert caught.value.kind == "unrecoverable"
    robot.close()
    with pytest.raises(ConfigError, match=r"the robot was stopped\. Look at the arm, and start `soar robot serve` again"):
        open_robot(url, TOKEN)
    assert (len(made), Counting.actions) == (1, 1)
    assert own.closed == []


def test_a_stop_is_obeyed_while_an_action_is_under_way(offer: Offer) -> None:
    slow = own.SlowOnce()
    robot = open_robot(offer(lambda: slow), TOKEN)
    robot.act(STILL)
    said: list[str] = []

    def act() -> None:
        robot.act(STILL)
        with pytest.raises(RobotFault, match="it was stopped"):
            robot.act(STILL)
        said.append("stopped")

    acting = threading.Thread(target=act)
    acting.start()
    wait_until(lambda: slow.actions == 2)
    robot.halt()
    wait_until(lambda: not any(thread.name == "halt" for thread in threading.enumerate()))
    slow.go_on.set()
    acting.join()
    assert (said, slow.actions) == (["stopped"], 2)


def test_who_has_no_token_stops_nothing(offer: Offer) -> None:
    url = offer()
    with connect(url) as sock:
        post(sock, "halt", "another-token-than-that")
        assert answer(sock)[0] == 401
    open_robot(url, TOKEN).act(STILL)


def test_a_lost_connection_is_tried_and_an_arm_that_takes_long_to_its_rest_is_waited_for(
    offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robot_host, "_HANDOVER_S", 0.05)
    resting = threading.Event()

    class Resting(own.Arm):
        def close(self) -> None:
            resting.wait()
            super().close()

    robot = open_robot(offer(Resting), TOKEN)
    robot.drill()
    with pytest.raises(RobotFault, match="was lost"):
        robot.observe()
    threading.Timer(0.3, resting.set).start()
    robot.recover()
    assert robot.observe().image_HWC.shape == (48, 64, 3)


def test_a_client_that_is_silent_for_too_long_leaves_the_arm_safe_and_finds_out(offer: Offer) -> None:
    own.closed.clear()
    robot = open_robot(offer(silence_s=1.0), TOKEN)
    wait_until(lambda: own.closed == ["arm"])
    with pytest.raises(RobotFault, match="connection"):
        robot.observe()
    robot.recover()
    robot.observe()


BOX = ("0.15", "-0.2", "0.02", "0.4", "0.2", "0.2")
SLOW = """
from tests.robots import own
class Slow(own.Arm):
    def act(self, action):
        print("acting", flush=True)
        own.never.wait(60)
"""


@contextmanager
def command(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, with its address."""
    environment = os.environ | {"SOAR_TOKEN": TOKEN, "PYTHONPATH": os.pathsep.join(filter(None, [*sys.path]))}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "soar.cli",
            "robot",
            "serve",
            "--port",
            "0",
            "--workspace",
            *["0.15", "-0.2", "0.02", "0.4", "0.2", "0.2"],
            *flags,
        ],
        stdout=subprocess.PIPE,
        cwd=folder,
        env=environment,
        encoding="utf-8",
    )
    assert process.stdout is not None
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def test_a_server_that_is_killed_while_an_action_runs_is_a_fault_that_says_what_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "slow_arm.py").write_text(SLOW)
    with command(tmp_path, "--driver", "slow_arm:Slow") as (process, url):
        robot = open_robot(url, TOKEN)
        assert process.stdout is not None

        def kill() -> None:
            assert process.stdout is not None
            assert process.stdout.readline() == "acting\n"
            process.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        with pytest.raises(RobotFault, match="Whether the action was executed is not known: look at the arm") as caught:
            robot.act(STILL)
        thread.join()
        assert caught.value.kind == "connection"
        with pytest.raises(RobotFault, match="Start the robot there with `soar robot serve`"):
            robot.recover()


CLOSING = """
from tests.robots import own
class Closing(own.Arm):
    def close(self):
        print("closed", self.name, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_closes_the_arm_when_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "closing_arm.py").write_text(CLOSING)
    with command(tmp_path, "--driver", "closing_arm:Closing", "--option", "name=left") as (process, url):
        open_robot(url, TOKEN).observe()
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == "closed left\n"
        assert process.wait() == 128 + number


def test_an_unusable_driver_is_refused_before_anybody_connects(offer: Offer) -> None:
    with pytest.raises(ConfigError, match=r"cannot be used: .*not finite"):
        offer(own.NotANumber)


def test_the_remote_robot_is_a_robot_without_a_session_too() -> None:
    robot = RemoteRobot.__new__(RemoteRobot)
    with pytest.raises(AttributeError):
        robot.truth("x")
