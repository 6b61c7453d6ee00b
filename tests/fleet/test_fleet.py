"""A fleet of real processes around fake robots: killed, frozen, stopped, and nothing lost or doubled."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from soar import __version__
from soar.cli import main
from soar.episodes.encoded import EncodedEpisode
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, ModelServerError, UnknownNameError
from soar.evaluation.canary import canary_verdict
from soar.event_log import read_journal
from soar.fleet.asking import ask
from soar.fleet.config import load_fleet
from soar.fleet.episode_bytes import pack_episodes
from soar.fleet.ledger import Ledger
from soar.fleet.link import PROTOCOL, Coordinator
from soar.fleet.robot_lock import robot_process
from soar.fleet.running import run_fleet
from soar.remote.client import RemoteConfig
from tests.fleet.test_ledger import encoded
from tests.fleet.tiny_policy import tiny_policy
from tests.interrupts import heard

LAB = """
import time
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals, FakeVLM
from soar.errors import RobotFault
from pathlib import Path

class Arm(FakeRobot):
    def __init__(self, name, broken=False):
        super().__init__(32)
        self.moves, self.broken = Path(f"{name}.moves").open("a"), broken
    def act(self, action):
        if self.broken: raise RobotFault("motor", "joint 3 is hot")
        self.moves.write(f"{time.monotonic()}\\n"); self.moves.flush()
        time.sleep(0.01)
        return super().act(action)
    def recover(self):
        if self.broken: raise RobotFault("unrecoverable", "joint 3 stays hot")
"""
CELL = """
robot: {{driver: "lab:Arm", options: {{name: {name}, broken: {broken}}}}}
workspace: {{low: [0.15, -0.2, 0.02], high: [0.4, 0.2, 0.2]}}
scene: {{name: bench, tasks: [put the carrot on the plate, put the carrot in the pot]}}
"""
FLEET = """
name: lab
robots: {{{robots}}}
episodes: {episodes}
models: {{policy: "lab:FakePolicy", subgoals: "lab:FakeSubgoals", vlm: "lab:FakeVLM"}}
set: [improvement.collection.rollout.subgoals=1, improvement.collection.rollout.early_success.every=0]
lease_s: {lease_s}
"""


class Lab:
    """A folder with a fleet's file, and the processes that a test starts in it."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.run, self.names = folder, folder / "run", names
        (folder / "lab.py").write_text(LAB)
        self.processes: list[subprocess.Popen[str]] = []

    def write(self, episodes: int, *, broken: str = "", at: str = "here", lease_s: float = 20) -> None:
        for name in self.names:
            (self.folder / f"{name}.yaml").write_text(CELL.format(name=name, broken=str(name == broken).lower()))
        robots = ", ".join(f"{name}: {{workcell: {name}.yaml, at: {at}}}" for name in self.names)
        (self.folder / "lab.yaml").write_text(FLEET.format(robots=robots, episodes=episodes, lease_s=lease_s))

    def soar(self, *words: str, computer: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """Run a command, on this computer or on what would be another one: its own files, and its own locks."""
        where = computer or self.folder
        if computer is not None:
            environment |= {"TMPDIR": str(computer)}
        process = subprocess.Popen(
            [sys.executable, "-m", "soar.cli", "fleet", *words],
            cwd=where,
            env=os.environ | {"PYTHONPATH": f"{where}:{os.environ.get('PYTHONPATH', '')}"} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heard,  # noqa: PLW1509 - see there
        )
        self.processes.append(process)
        return process

    def up(self) -> subprocess.Popen[str]:
        return self.soar("up", "lab.yaml", "--run", "run")

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the coordinator, which may be slow on a machine that is shared."""
        return ask(str(self.run), method, path, body, timeout_s=300.0)

    def state(self) -> dict[str, Any]:
        return self.ask("GET", "/v1/status")

    def until(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask until the fleet's state is as wished."""
        while True:
            assert all(process.poll() in (None, -signal.SIGKILL) for process in self.processes), self.said()
            try:
                state = self.state()
            except ConfigError:
                state = {}
            if state and what(state):
                return state
            time.sleep(0.1)

    def said(self) -> str:
        ended = [process for process in self.processes if process.poll() is not None and process.stdout is not None]
        return "\n".join(process.stdout.read() for process in ended if process.stdout is not None)

    def ids(self) -> list[str]:
        return [record.id for record in EpisodeStore(self.run / "episodes").episodes()]


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    names = [f"{kind}-{os.getpid()}-{abs(hash(request.node.name)) % 10**6}" for kind in ("left", "right")]
    made = Lab(tmp_path, names)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
    for name in names:
        if (pid := robot_process(name)) is not None:
            os.kill(pid, signal.SIGKILL)


def stored(state: dict[str, Any], name: str) -> int:
    return next(int(robot["stored"]) for robot in state["robots"] if robot["name"] == name)


def acquired(lab: Lab, body: dict[str, Any]) -> int | None:
    """Return the new epoch, None while somebody else has the lease."""
    try:
        answer = lab.ask("POST", "/v1/acquire", body)
    except ModelServerError as refused:
        assert "lease ends in" in str(refused)  # noqa: PT017 - it may be free
        return None
    return int(answer["epoch"])


def test_what_is_killed_begins_again_and_no_episode_is_lost_or_doubled(lab: Lab) -> None:
    left, right = lab.names
    lab.write(episodes=40)
    up = lab.up()
    lab.until(lambda state: stored(state, left) >= 2 and stored(state, right) >= 2)
    first = robot_process(left)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    before = stored(lab.state(), left)
    lab.until(lambda state: stored(state, left) > before + 2)
    os.kill(up.pid, signal.SIGKILL)  # the coordinator: its robots go on, and keep what they make
    up.wait()
    kept = len(lab.ids())
    while not list((lab.run / "spool").glob("*/*.episode")):
        assert any(robot_process(name) for name in lab.names)
        time.sleep(0.05)
    again = lab.up()
    said, _ = again.communicate()
    assert again.returncode == 0, said
    ids = lab.ids()
    assert len(ids) == len(set(ids)) >= 40 > kept
    assert not list((lab.run / "spool").glob("*/*.episode"))  # all that was made was delivered
    assert {id.split("-e")[1].split("-")[0] for id in ids if left in id} >= {"1", "2"}
    journaled = read_journal(lab.run / "events.jsonl", "episode")
    assert sorted(event["id"] for event in journaled) == sorted(ids)
    assert {event["limited"] is None for event in journaled} == {False}  # each came with the steps that limits changed


def test_a_coordinator_that_is_killed_while_many_deliver_has_acknowledged_nothing_that_it_did_not_store(lab: Lab) -> None:
    left, _ = lab.names
    lab.write(episodes=100_000, at="join")
    up = lab.up()
    lab.until(lambda state: True)
    holder = {"host": "h", "pid": 1, "nonce": "n"}
    epoch = acquired(lab, {"protocol": PROTOCOL, "soar": __version__, "robot": left, "holder": holder})
    assert epoch == 1
    url, token = json.loads((lab.run / "fleet.json").read_text())["url"], (lab.run / "token").read_text()
    acknowledged: list[str] = []

    def deliver(writer: int) -> list[EncodedEpisode]:
        client, made = Coordinator(RemoteConfig(url=url, retries=0), 60.0, token=token), list[EncodedEpisode]()
        with contextlib.suppress(ModelServerError):  # until it is gone
            for number in range(1000 * writer, 1000 * writer + 1000):
                made.append(encoded(number, robot=left))
                client.request("POST", f"/v1/commit/{left}/1", pack_episodes(made[-1:]))
                acknowledged.append(made[-1].id)
        return made

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(deliver, writer) for writer in range(8)]
        while len(acknowledged) < 30:
            time.sleep(0.01)
        os.kill(up.pid, signal.SIGKILL)
        made = [episode for writer in writers for episode in writer.result()]
    up.wait()
    ids = lab.ids()
    assert set(acknowledged) <= set(ids) <= {episode.id for episode in made}
    shared = Ledger(lab.run / "ledger.json", lab.run / "episodes", lab.names, run="run")
    for episode in made:  # what was not acknowledged is brought again, and all else cannot be told from it
        assert shared.commit(left, 1, [episode]) == ([episode.id] if episode.id in ids else [])
    assert sorted(lab.ids()) == sorted(episode.id for episode in made)


def test_a_stop_ends_all_motion_and_all_processes(lab: Lab) -> None:
    left, right = lab.names
    lab.write(episodes=100_000)
    up = lab.up()
    lab.until(lambda state: stored(state, left) >= 1 and stored(state, right) >= 1)
    working = [robot_process(name) for name in lab.names]
    refused = lab.soar("stop", "run", SOAR_TOKEN="a-token-of-somebody-else")
    said, _ = refused.communicate()
    lab.processes.remove(refused)
    assert (refused.returncode, "does not answer" in said) == (2, False), said  # who answers would start them again
    assert [robot_process(name) for name in lab.names] == working
    stop = lab.soar("stop", "run")
    said, _ = stop.communicate()
    assert stop.returncode == 0, said
    up.communicate()
    assert up.returncode == 0
    assert [robot_process(name) for name in lab.names] == [None, None]
    moves = [(lab.folder / f"{name}.moves").read_text() for name in lab.names]
    time.sleep(0.3)
    assert moves == [(lab.folder / f"{name}.moves").read_text() for name in lab.names]


def test_a_process_that_was_frozen_and_replaced_never_moves_its_robot_again(lab: Lab) -> None:
    left, _ = lab.names
    lab.write(episodes=100_000, lease_s=2)
    lab.up()
    lab.until(lambda state: stored(state, left) >= 1)
    frozen = robot_process(left)
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    holder = {"host": "another computer", "pid": 1, "nonce": "n"}
    acquire = {"protocol": PROTOCOL, "soar": __version__, "robot": left, "holder": holder}
    while (epoch := acquired(lab, acquire)) is None:
        time.sleep(0.2)
    moves = (lab.folder / f"{left}.moves").read_text()
    os.kill(frozen, signal.SIGCONT)
    log = lab.run / "logs" / f"{left}.log"
    while "holds still" not in log.read_text() and "is over" not in log.read_text():
        time.sleep(0.1)
    assert (lab.folder / f"{left}.moves").read_text().count("\n") - moves.count("\n") <= 1  # the step that was under way
    assert epoch >= 2  # a busy computer may have cost it its lease before
    # Whoever drives it now is heard, and has its orders: to hold, when the end of the process before has been seen already.
    assert lab.ask("POST", "/v1/beat", {"robot": left, "epoch": epoch, "phase": "collecting"})["do"] in ("go", "hold")


def test_a_robot_that_nothing_recovers_waits_for_a_person_and_the_others_go_on(lab: Lab) -> None:
    left, right = lab.names
    lab.write(episodes=6, broken=left)
    up = lab.up()
    said, _ = up.communicate()
    assert up.returncode == 0, said
    assert all(right in id for id in lab.ids())
    (call,) = read_journal(lab.run / "events.jsonl", "person_needed")
    assert call["robot"] == left
    assert "joint 3 stays hot" in call["detail"]


def test_a_robot_joins_from_another_process_with_the_token_and_not_without(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = lab.names
    lab.write(episodes=6, at="join")
    lab.up()
    lab.until(lambda state: True)
    monkeypatch.chdir(lab.folder)
    monkeypatch.delenv("SOAR_TOKEN", raising=False)

    def refused(*words: str) -> str:
        assert main(["fleet", "join", url, *words]) == 2
        return capsys.readouterr().err

    url = json.loads((lab.run / "fleet.json").read_text())["url"]
    assert "Put the fleet's token into the environment variable SOAR_TOKEN" in refused("--robot", left)
    monkeypatch.setenv("SOAR_TOKEN", (lab.run / "token").read_text())
    assert "unknown robot 'middle'" in refused("--robot", "middle")
    assert "unknown workcell 'nowhere.yaml'" in refused("--robot", left, "--workcell", "nowhere.yaml")
    assert not lab.state()["robots"][0]["driven_by"]  # its lease is free again
    lab.soar("join", url, "--robot", right)
    lab.until(lambda state: stored(state, right) >= 2)
    assert "is driven by another process of this computer" in refused("--robot", right)


def test_a_robot_on_another_computer_fetches_its_policy_and_a_third_computer_is_refused_while_it_is_driven(lab: Lab) -> None:
    left, right = lab.names
    lab.write(episodes=100_000)
    file = lab.folder / "lab.yaml"
    text = file.read_text().replace(f"{right}.yaml, at: here", "bench.yaml, at: join")
    file.write_text(text.replace('policy: "lab:FakePolicy"', "policy: mine.onnx"))
    tiny_policy(lab.folder / "mine.onnx", "mine")
    token = {"SOAR_TOKEN": "a-token-of-both-computers"}
    lab.soar("up", "lab.yaml", "--run", "run", "--host", "127.0.0.2", **token)
    os.environ |= token
    try:
        lab.until(lambda state: True)
        url = json.loads((lab.run / "fleet.json").read_text())["url"]
        assert url.startswith("http://127.0.0.2:")
        there, third = lab.folder / "there", lab.folder / "third"
        for computer in (there, third):
            computer.mkdir()
            (computer / "lab.py").write_text(LAB)
            (computer / "bench.yaml").write_text(CELL.format(name=right, broken="false"))
        join = ("join", url, "--robot", right, "--workcell", "bench.yaml")
        joined = lab.soar(*join, computer=there)
        lab.until(lambda state: stored(state, left) >= 1 and stored(state, right) >= 2)
        (copy,) = (there / "soar-spool" / right / "policies").glob("*/mine.onnx")
        assert copy.read_bytes() == (lab.folder / "mine.onnx").read_bytes()
        assert set(policies(lab, right)) == {"mine"}
        second = lab.soar(*join, computer=third)
        said, _ = second.communicate()
        lab.processes.remove(second)
        assert second.returncode == 2
        assert re.search(rf"robot '{right}' is driven by process {joined.pid} on .*, epoch 1", said)
    finally:
        del os.environ["SOAR_TOKEN"]


def test_what_is_wrong_with_a_fleets_file_is_one_error_and_nothing_is_made(lab: Lab) -> None:
    lab.write(episodes=6)
    file = lab.folder / "lab.yaml"
    right = file.read_text()
    file.write_text("name: lab\nrobots:\n  a: {workcell: a.yaml}\n  a: {workcell: b.yaml}\n")
    with pytest.raises(ConfigError, match="two robots are called 'a'"):
        load_fleet(file)
    file.write_text(right.replace(f"{lab.names[0]}.yaml", "nowhere.yaml"))
    with pytest.raises(UnknownNameError, match=r"unknown workcell 'nowhere\.yaml'"):
        load_fleet(file)
    file.write_text(right.replace(lab.names[0] + ":", "../x:"))
    with pytest.raises(ConfigError, match="is no name"):
        load_fleet(file)
    file.write_text(right + "colour: red\n")
    with pytest.raises(UnknownNameError, match="colour"):
        load_fleet(file)
    file.write_text(right.replace("at: here", "at: ray"))
    with pytest.raises(ConfigError, match=r"at: .*join"):
        load_fleet(file)
    assert not lab.run.exists()


def policies(lab: Lab, name: str) -> list[str]:
    """The policies that a robot's episodes name, oldest first."""
    records = EpisodeStore(lab.run / "episodes").episodes()
    return [record.provenance.policy for record in records if record.provenance.robot == name]


def test_a_robot_whose_computer_never_comes_keeps_nobody_from_working(lab: Lab) -> None:
    left, right = lab.names
    lab.write(episodes=100_000)
    file = lab.folder / "lab.yaml"
    file.write_text(file.read_text().replace(f"{right}.yaml, at: here", "there.yaml, at: join"))
    lab.up()
    state = lab.until(lambda state: stored(state, left) >= 2 and state["robots"][0]["phase"] == "collecting")
    assert state["robots"][1]["phase"] == "not started"


def test_a_new_policy_is_tried_by_one_robot_then_by_all_and_a_damaged_one_by_nobody(lab: Lab) -> None:
    left, right = lab.names
    lab.write(episodes=100_000)
    lab.up()
    lab.until(lambda state: stored(state, left) >= 1 and stored(state, right) >= 1)
    tiny_policy(lab.folder / "new.onnx", "new")
    deploy = ["deploy", str(lab.run), "--policy", str(lab.folder / "new.onnx"), "--canary", left, "--episodes", "3"]
    assert main(["fleet", *deploy]) == 0
    lab.until(lambda state: state["deployment"]["tried"]["episodes"] >= 2)
    assert lab.state()["deployment"]["done"] or set(policies(lab, right)) == {"fake-policy"}
    lab.until(lambda state: state["deployment"]["done"] == "promoted")
    lab.until(lambda state: all(robot["policy"] == "new" for robot in state["robots"]))
    lab.until(lambda state: policies(lab, right)[-1] == "new")
    for made in (policies(lab, name) for name in lab.names):  # one policy an episode, the new one after the old one
        assert made == sorted(made)
        assert set(made) == {"fake-policy", "new"}

    lab.ask("POST", "/v1/orders", {"do": "pause"})
    lab.until(lambda state: all(robot["phase"] == "paused" for robot in state["robots"]))
    body = {"policy": str(tiny_policy(lab.folder / "next.onnx", "next")), "episodes": 3}
    version = lab.ask("POST", "/v1/deploy", body)["deployment"]["version"]
    (lab.run / "deployed" / version / "next.onnx").write_bytes(b"damaged")
    lab.ask("POST", "/v1/orders", {"do": "resume"})
    lab.until(lambda state: len(read_journal(lab.run / "events.jsonl", "policy_refused")) == len(lab.names))
    counts = {name: stored(lab.state(), name) for name in lab.names}
    lab.until(lambda state: all(stored(state, name) > counts[name] for name in lab.names))
    assert {policy for name in lab.names for policy in policies(lab, name)} == {"fake-policy", "new"}
    refused = read_journal(lab.run / "events.jsonl", "policy_refused")
    assert {event["robot"] for event in refused} == set(lab.names)
    assert all("next.onnx came damaged" in event["detail"] for event in refused)
    lab.until(lambda state: all("new goes on" in robot["detail"] for robot in state["robots"]))  # until they say something else


def test_what_cannot_be_started_is_one_error_and_nothing_runs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    left, _ = lab.names
    lab.write(episodes=100_000)
    monkeypatch.syspath_prepend(lab.folder)
    config = load_fleet(lab.folder / "lab.yaml")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="Choose another --port"):
            run_fleet(config, lab.run, decide=canary_verdict, port=taken.getsockname()[1])
    assert not lab.run.exists()
    other = lab.folder / "other"
    other.mkdir()
    (other / "config.yaml").write_text("command: soar improve\n")
    with pytest.raises(ConfigError, match="holds a run of `soar improve`, and this is `soar fleet up`"):
        run_fleet(config, other, decide=canary_verdict)
    assert [path.name for path in other.iterdir()] == ["config.yaml"]
    lab.write(episodes=100_000, at="join")
    up = lab.up()
    lab.until(lambda state: True)
    with pytest.raises(ConfigError, match=r"is in use by process .* fleet up"):
        run_fleet(load_fleet(lab.folder / "lab.yaml"), lab.run, decide=canary_verdict)
    old = {"protocol": PROTOCOL + 1, "robot": left, "holder": {"host": "h", "pid": 1, "nonce": "n"}, "more": "words"}
    with pytest.raises(ModelServerError, match="update one of them"):
        lab.ask("POST", "/v1/acquire", old)
    with pytest.raises(ModelServerError, match=r"SOAR 0\.0\.1 runs there, .* here: install the same one"):
        lab.ask("POST", "/v1/acquire", old | {"protocol": PROTOCOL, "soar": "0.0.1"})
    assert up.poll() is None
