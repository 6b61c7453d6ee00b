"""A fleet's coordinator, asked over HTTP: who may do what, and what a robot is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soar import __version__
from soar.collect.live import LiveView
from soar.collect.models import Models
from soar.collect.preset import load_collection
from soar.console.live import Live
from soar.console.sources import Source
from soar.errors import CheckpointError, ConfigError, ModelServerError
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.fleet.config import FleetConfig, FleetRobot
from soar.fleet.coordinator import Fleet, coordinator_application
from soar.fleet.deploying import Deployments
from soar.fleet.link import PROTOCOL, Coordinator, Link
from soar.fleet.tokens import Bearer, Tokens, read_tokens
from soar.remote.client import RemoteConfig
from soar.tasks.off_limits import OffLimits
from tests.collect.test_live import step
from tests.fleet.test_ledger import ledger
from tests.fleet.test_supervision import beat, supervisor
from tests.fleet.tiny_policy import tiny_policy
from tests.serving.running import running

TOKENS = {role: f"the token of the {role}".replace(" ", "-") for role in ("operator", "robot", "viewer", "night")}
OTHERS = {
    "robot": Bearer(token=TOKENS["robot"], may=("drive",)),
    "viewer": Bearer(token=TOKENS["viewer"], may=("look",)),
    "night": Bearer(token=TOKENS["night"], may=("look", "stop")),
}
AsRole = Callable[[str], Coordinator]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    journal = Journal(tmp_path / "events.jsonl")
    config = FleetConfig(robots={name: FleetRobot(workcell="sim:scene1", at="join") for name in ("one", "two")})
    fleet = Fleet(
        config=config,
        collection=load_collection("laptop", ()).improvement.collection,
        models=Models(policy="p", subgoals="s", vlm="v"),
        ledger=ledger(tmp_path),
        supervisor=supervisor(),
        journal=journal,
        deployments=Deployments(tmp_path / "deployed", journal, config.robots, round=0, first="old", decide=canary_verdict),
    )
    with running(coordinator_application(fleet, Tokens(operator=TOKENS["operator"], others=OTHERS))) as url:
        yield url


@pytest.fixture
def role(served: str) -> AsRole:
    return lambda name: Coordinator(RemoteConfig(url=served, retries=0), 60.0, token=TOKENS.get(name, name))


def acquire(robot: Coordinator, name: str = "one") -> int:
    body = {"protocol": PROTOCOL, "soar": __version__, "robot": name, "holder": {"host": "h", "pid": 1, "nonce": "n"}}
    return int(robot.request("POST", "/v1/acquire", body)["epoch"])


def test_each_role_may_do_what_it_is_for_and_nothing_else(role: AsRole, tmp_path: Path) -> None:
    deploy = {"policy": str(tiny_policy(tmp_path / "new.onnx", "new"))}
    for name, method, path, body in (
        ("robot", "POST", "/v1/orders", {"do": "stop"}),
        ("robot", "POST", "/v1/deploy", deploy),
        ("robot", "GET", "/v1/status", None),
        ("viewer", "POST", "/v1/orders", {"do": "stop"}),
        ("viewer", "POST", "/v1/deploy", deploy),
        ("viewer", "POST", "/v1/release", {"robot": "one", "epoch": 1}),
        ("viewer", "GET", "/v1/policies/0", None),
        ("night", "POST", "/v1/deploy", deploy),
    ):
        with pytest.raises(ModelServerError, match=f"the token of '{name}' may "):
            role(name).request(method, path, body)
    with pytest.raises(ModelServerError, match="Put the fleet's token into the environment variable SOAR_TOKEN"):
        role("a-token-of-somebody-else").request("GET", "/v1/status")
    assert acquire(role("robot")) == 1
    assert len(role("viewer").request("GET", "/v1/status")["robots"]) == 2
    for name in ("operator", "night"):
        role(name).request("POST", "/v1/orders", {"do": "pause", "robots": ["two"]})
    assert [event["by"] for event in read_journal(tmp_path / "events.jsonl", "orders")] == ["operator", "night"]


def test_a_deployed_policy_is_fetched_by_a_robot_and_tried_by_the_canary_alone(
    role: AsRole, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_policy(tmp_path / "new.onnx", "new")
    operator, robot = role("operator"), role("robot")
    body = {"policy": str(source), "canary": "one", "episodes": 2}
    version = operator.request("POST", "/v1/deploy", body)["deployment"]["version"]
    told = {
        name: robot.request("POST", "/v1/beat", {"robot": name, "epoch": acquire(robot, name)} | beat())
        for name in ("one", "two")
    }
    assert {name: answer["policy"] for name, answer in told.items()} == {"one": version, "two": ""}
    monkeypatch.setenv("SOAR_TOKEN", TOKENS["robot"])
    link = Link(served, "one")
    assert link.fetch(version, tmp_path / "cache").read_bytes() == source.read_bytes()
    with pytest.raises(ModelServerError, match="unknown policy"):
        link.fetch("0" * 16, tmp_path / "cache")
    (tmp_path / "deployed" / version / "new.onnx").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="came damaged"):
        link.fetch(version, tmp_path / "other")
    refused = {"kind": "policy_refused", "version": version, "detail": "came damaged"}
    answer = robot.request("POST", "/v1/beat", {"robot": "one", "epoch": 1} | beat(refused))
    assert answer["policy"] == ""
    assert operator.request("GET", "/v1/status")["deployment"]["done"] == "rolled back"
    with pytest.raises(ModelServerError, match="no policy is there"):
        operator.request("POST", "/v1/deploy", {"policy": str(tmp_path / "nowhere")})


def test_a_robot_writes_nothing_into_the_journal_but_what_robots_say(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    forged = [
        {"kind": "deployed", "round": 0, "done": "promoted", "sentence": "so I say"},
        {"kind": "promotion", "promote": True},
    ]
    robot.request("POST", "/v1/beat", {"robot": "one", "epoch": acquire(robot)} | beat(*forged))
    events = [event["event"] for event in read_journal(tmp_path / "events.jsonl")]
    assert events == ["epoch", "robot_deployed", "robot_promotion"]


def test_a_file_of_tokens_that_two_share_or_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name and a token of its own"):
        Tokens(operator=TOKENS["robot"], others=OTHERS)
    with pytest.raises(ConfigError, match="at least 16"):
        Tokens(operator="short")
    path = tmp_path / "tokens.yaml"
    path.write_text(f"ann: {{token: {TOKENS['night']}, may: [look, stop]}}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_tokens(path)
    path.chmod(0o600)
    assert read_tokens(path) == {"ann": OTHERS["night"]}
    path.write_text(f"ann: {{token: {TOKENS['night']}, may: [label]}}\n")
    with pytest.raises(ConfigError, match="ann: may"):
        read_tokens(path)


def test_events_whose_beat_is_said_again_count_once(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    epoch = acquire(robot)
    fault = {"kind": "fault", "fault": "motor", "detail": "hot"}
    said = {"robot": "one", "epoch": epoch, **beat(fault | {"number": 1}, {"kind": "episode", "success": True, "number": 2})}
    for _ in range(3):  # the answers were lost on the way
        robot.request("POST", "/v1/beat", said)
    robot.request("POST", "/v1/beat", said | {"events": [fault | {"number": 3}]})
    status = next(one for one in role("viewer").request("GET", "/v1/status")["robots"] if one["name"] == "one")
    assert (status["episodes"], status["faults"]) == (1, {"motor": 2})
    assert len(read_journal(tmp_path / "events.jsonl", "fault")) == 2


def test_robots_hear_with_every_beat_what_is_off_limits_and_which_round_is_collected(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    said = {"robot": "one", "epoch": acquire(robot)} | beat()
    told = robot.request("POST", "/v1/beat", said)
    assert (told["off_limits"], told["round"]) == ([], 0)
    OffLimits(tmp_path).write(["open the drawer"])
    assert robot.request("POST", "/v1/beat", said)["off_limits"] == ["open the drawer"]


def test_a_robot_on_another_computer_shows_itself_while_somebody_looks(role: AsRole, served: str, tmp_path: Path) -> None:
    LiveView(tmp_path / "there", "one", clock=lambda: 1.0)(step(3))  # its clock is wrong
    robot, epoch = role("robot"), acquire(role("robot"))
    said = {"robot": "one", "epoch": epoch} | beat()
    assert robot.request("POST", "/v1/beat", said)["watched"] is False
    assert "robots" in role("viewer").request("GET", "/v1/status?watching=1")
    assert robot.request("POST", "/v1/beat", said)["watched"] is True
    shown = (tmp_path / "there" / "one.json").read_bytes()
    robot.request("POST", f"/v1/live/one/{epoch}", shown)
    source = Source(name="run", title="run", run=tmp_path, uri=str(tmp_path / "episodes"))
    (seen,) = Live(source).robots()
    assert (seen["robot"], seen["step"], seen["gone"], bool(seen["camera"])) == ("one", 3, False, True)
    with pytest.raises(ModelServerError, match="epoch 9 is over"):
        robot.request("POST", "/v1/live/one/9", shown)
    for wrong in (b"[]", b"{", b'{"camera": "' + b"x" * 2**20 + b'"}'):
        with pytest.raises(ModelServerError, match="JSON of at most 1024 KB"):
            robot.request("POST", f"/v1/live/one/{epoch}", wrong)
    with pytest.raises(ModelServerError, match="the token of 'viewer' may look"):
        role("viewer").request("POST", f"/v1/live/one/{epoch}", shown)
