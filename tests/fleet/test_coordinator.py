"""A fleet's coordinator, asked over HTTP: who may do what, and what a robot is believed."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from soar import __version__
from soar.cli import main
from soar.collect.live import LiveView
from soar.collect.models import Models
from soar.collect.preset import load_collection
from soar.console.live import Live
from soar.console.sources import Source
from soar.episodes.store import EpisodeStore
from soar.errors import CheckpointError, ConfigError, ModelServerError
from soar.evaluation.canary import canary_verdict
from soar.event_log import Journal, read_journal
from soar.fleet.config import FleetConfig, FleetRobot
from soar.fleet.coordinator import Fleet, coordinator_application
from soar.fleet.deploying import Deployments
from soar.fleet.episode_bytes import pack_episodes
from soar.fleet.link import PROTOCOL, Coordinator, Link
from soar.fleet.tokens import Bearer, Tokens, read_tokens
from soar.remote.client import RemoteConfig
from soar.tasks.off_limits import OffLimits
from tests.collect.test_live import step
from tests.fleet.test_ledger import encoded, ledger
from tests.fleet.test_supervision import beat, supervisor
from tests.fleet.tiny_policy import tiny_policy
from tests.serving.running import running

TOKENS = {role: f"the token of the {role}".replace(" ", "-") for role in ("operator", "robot", "viewer", "night", "judge")}
OTHERS = {
    "robot": Bearer(token=TOKENS["robot"], may=("drive",)),
    "viewer": Bearer(token=TOKENS["viewer"], may=("look",)),
    "night": Bearer(token=TOKENS["night"], may=("look", "stop")),
    "judge": Bearer(token=TOKENS["judge"], may=("look", "label")),
}
THREADS = 40
"""In which a server answers what takes a while."""
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
        ("viewer", "POST", "/v1/beat", {"robot": "one", "epoch": 1} | beat()),
        ("viewer", "POST", "/v1/counts", {"robot": "one", "scene": "table"}),
        ("viewer", "GET", "/v1/policies/0", None),
        ("night", "POST", "/v1/deploy", deploy),
        ("judge", "POST", "/v1/orders", {"do": "stop"}),
        ("judge", "POST", "/v1/deploy", deploy),
        ("judge", "POST", "/v1/release", {"robot": "one", "epoch": 1}),
    ):
        with pytest.raises(ModelServerError, match=f"the token of '{name}' may "):
            role(name).request(method, path, body)
    for path in ("/v1/orders%0A", "/v1/deploy%0A", "/v1/status%0A", "/metrics%0A", "/v1/orders%0D%0A"):
        for method in ("GET", "POST"):
            with pytest.raises(ModelServerError, match="404"):
                role("robot").request(method, path, {"do": "stop"} if method == "POST" else None)
    with pytest.raises(ModelServerError, match="Put the fleet's token into the environment variable SOAR_TOKEN"):
        role("a-token-of-somebody-else").request("GET", "/v1/status")
    assert acquire(role("robot")) == 1
    one = role("viewer").request("GET", "/v1/status")["robots"][0]
    assert one["unheard_s"] is None, "it only joined"
    assert 0 <= one["for_s"] < 3600, "since the fleet began, and not since the computer did"
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


def test_a_policy_that_comes_with_soar_is_deployed_by_its_name(
    role: AsRole, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKENS["operator"])
    assert main(["fleet", "deploy", served, "--policy", "language", "--canary", "one"]) == 0
    assert "one tries it: 0 of 20 attempts" in capsys.readouterr().out
    assert role("viewer").request("GET", "/v1/status")["deployment"]["policy"].startswith("lcbc-")
    assert main(["fleet", "deploy", served, "--policy", "nowhere"]) == 2
    with pytest.raises(ModelServerError, match=r"422: body\.policy: "):
        role("operator").request("POST", "/v1/deploy", {"policy": ""})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    assert main(["fleet", "deploy", served, "--policy", "base"]) == 2
    assert "Say ./base for the latter" in capsys.readouterr().err


def test_of_sixteen_who_deliver_at_once_each_episode_is_stored_once_and_nonsense_is_refused_alone(
    role: AsRole, tmp_path: Path
) -> None:
    epochs = {name: acquire(role("robot"), name) for name in ("one", "two")}
    numbers = range(3)

    def deliver(writer: int) -> list[list[str]]:
        client, robot = role("robot"), ("one", "two")[writer % 2]
        data = [pack_episodes([encoded(100 * writer + number, robot=robot)]) for number in numbers]
        path = f"/v1/commit/{robot}/{epochs[robot]}"
        return [client.request("POST", path, part)["there_already"] for part in (*data, *data)]

    def refused(path: str, data: bytes) -> str:
        with pytest.raises(ModelServerError) as problem:
            role("robot").request("POST", path, data)
        return str(problem.value)

    with ThreadPoolExecutor(18) as pool:
        nonsense = pool.submit(refused, "/v1/commit/one/1", b"no episode")
        late = pool.submit(refused, "/v1/commit/two/9", pack_episodes([encoded(99, robot="two")]))
        answers = list(pool.map(deliver, range(16)))
    made = [[encoded(100 * writer + number, robot=("one", "two")[writer % 2]).id for number in numbers] for writer in range(16)]
    assert answers == [[[]] * 3 + [[id] for id in ids] for ids in made]
    assert "bytes are no episodes" in nonsense.result()
    assert "epoch 9 is over" in late.result()
    stored = [record.id for record in EpisodeStore(tmp_path / "episodes").episodes()]
    assert sorted(stored) == sorted(id for ids in made for id in ids)
    assert sorted(event["id"] for event in read_journal(tmp_path / "events.jsonl", "episode")) == sorted(stored)


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
    path.write_text(f"ann: {{token: {TOKENS['night']}, may: [judge]}}\n")
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


def test_a_beat_that_is_said_again_while_the_first_is_written_down_counts_once(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    said = {"robot": "one", "epoch": acquire(robot)} | beat({"kind": "fault", "fault": "motor", "number": 1})
    with ThreadPoolExecutor(3) as pool:
        with (tmp_path / "events.jsonl").open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX)
            told = [pool.submit(role("robot").request, "POST", "/v1/beat", said) for _ in range(3)]
            done, _ = wait(told, timeout=1.0)
            assert not done
        assert [answer.result()["do"] for answer in told] == ["go"] * 3
    one = next(one for one in role("viewer").request("GET", "/v1/status")["robots"] if one["name"] == "one")
    assert one["faults"] == {"motor": 1}
    assert len(read_journal(tmp_path / "events.jsonl", "fault")) == 1


def test_odd_texts_of_a_robot_keep_nobody_from_looking_or_stopping(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    said = {"robot": "one", "epoch": acquire(robot)} | beat(
        {"kind": "fault", "fault": "\ud800", "self": 1, "event": "stop", "number": 1},
        {"kind": "person", "detail": "look \udcff", "number": 2},
    )
    assert robot.request("POST", "/v1/beat", said)["do"] == "hold"
    one = next(one for one in role("viewer").request("GET", "/v1/status")["robots"] if one["name"] == "one")
    assert (one["faults"], one["detail"]) == ({"?": 1}, "look ?")
    assert b'kind="?"' in role("viewer").read("/metrics")
    role("operator").request("POST", "/v1/orders", {"do": "stop", "robots": ["two"]})
    (fault,) = read_journal(tmp_path / "events.jsonl", "fault")
    assert (fault["self"], fault["robot_event"]) == (1, "stop")


def test_on_a_full_disk_a_robot_is_stopped_and_none_is_let_go_that_the_next_coordinator_would_hold(
    role: AsRole, tmp_path: Path
) -> None:
    robot = role("robot")
    said = {name: {"robot": name, "epoch": acquire(robot, name)} | beat() for name in ("one", "two")}
    needed = beat({"kind": "person", "detail": "hot", "number": 1}, phase="waiting")
    assert robot.request("POST", "/v1/beat", said["one"] | needed)["do"] == "hold"
    journal = tmp_path / "events.jsonl"
    kept = journal.rename(tmp_path / "kept.jsonl")
    journal.mkdir()
    for do, name, told in (("resume", "one", "hold"), ("stop", "two", "stop")):
        with pytest.raises(ModelServerError, match="cannot write the journal"):
            role("operator").request("POST", "/v1/orders", {"do": do, "robots": [name]})
        assert robot.request("POST", "/v1/beat", said[name])["do"] == told
    with pytest.raises(ModelServerError, match="unknown robot 'three'"):
        role("operator").request("POST", "/v1/orders", {"do": "stop", "robots": ["one", "three"]})
    journal.rmdir()
    kept.rename(journal)
    role("operator").request("POST", "/v1/orders", {"do": "resume", "robots": ["one"]})
    assert robot.request("POST", "/v1/beat", said["one"])["do"] == "go"
    again = supervisor()
    again.remember(read_journal(journal))
    assert "one" not in again.standing()


def test_while_the_disk_is_waited_for_robots_that_have_nothing_to_tell_are_answered(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    said = {name: {"robot": name, "epoch": acquire(robot, name)} | beat() for name in ("one", "two")}
    telling = said["one"] | beat({"kind": "new"})
    with ThreadPoolExecutor(THREADS + 1) as pool:
        with (tmp_path / "events.jsonl").open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX)
            told = [pool.submit(role("robot").request, "POST", "/v1/beat", telling) for _ in range(THREADS + 1)]
            done, _ = wait(told, timeout=1.0)
            assert not done
            assert robot.request("POST", "/v1/beat", said["two"])["do"] == "go"
            assert robot.request("POST", "/v1/counts", {"robot": "two", "scene": "table"}) == {"attempts": {}, "successes": {}}
        assert [answer.result()["do"] for answer in told] == ["go"] * len(told)
    assert len(read_journal(tmp_path / "events.jsonl", "robot_new")) == len(told)


def test_a_beat_that_says_nonsense_or_is_of_an_old_epoch_is_refused_and_counts_for_nothing(role: AsRole) -> None:
    robot = role("robot")
    said = {"robot": "one", "epoch": acquire(robot)} | beat()
    for body, why in (
        (b"no JSON", "422: Expecting value"),
        (b"[" * 100_000, "422: "),
        (b"[]", "422: "),
        ({"robot": "one"}, "422: epoch: Field required"),
        (said | {"more": 1}, "422: more: Extra inputs are not permitted"),
        (said | {"epoch": 9}, "409: robot 'one': epoch 9 is over"),
        (said | {"robot": "three"}, "409: unknown robot 'three'"),
    ):
        with pytest.raises(ModelServerError, match=why):
            robot.request("POST", "/v1/beat", body)
    with pytest.raises(ModelServerError, match="422: scene: "):
        robot.request("POST", "/v1/counts", {"robot": "one", "scene": 7})
    one = next(one for one in role("viewer").request("GET", "/v1/status")["robots"] if one["name"] == "one")
    assert one["phase"] == "not started"
    odd = beat({"kind": "fault", "fault": "motor", "detail": "a name that is no text: \udcff", "number": 1})
    assert robot.request("POST", "/v1/beat", said | odd)["do"] == "go"


def test_robots_hear_with_every_beat_what_is_off_limits_and_which_round_is_collected(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    said = {"robot": "one", "epoch": acquire(robot)} | beat()
    told = robot.request("POST", "/v1/beat", said)
    assert (told["off_limits"], told["round"]) == ([], 0)
    OffLimits(tmp_path).write(["open the drawer"])
    assert robot.request("POST", "/v1/beat", said)["off_limits"] == ["open the drawer"]


def test_robots_pause_and_hear_a_stop_while_what_is_off_limits_cannot_be_read(role: AsRole, tmp_path: Path) -> None:
    robot = role("robot")
    said = {"robot": "one", "epoch": acquire(robot)} | beat()
    (tmp_path / "off_limits.json").write_text("no JSON")
    told = robot.request("POST", "/v1/beat", said)
    assert (told["do"], told["off_limits"]) == ("pause", [])
    role("operator").request("POST", "/v1/orders", {"do": "stop", "robots": ["one"]})
    assert robot.request("POST", "/v1/beat", said)["do"] == "stop"


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
