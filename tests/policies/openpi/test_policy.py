"""A policy behind a real websocket server on this machine, which says what it likes."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.errors import ConfigError, ModelServerError
from soar.policies.loading import load_policy
from soar.policies.openpi.policy import OpenPIPolicy
from soar.remote.client import ModelAwayError
from soar.robots.safety import SafetyError
from soar.testing.contracts import check_policy
from soar.testing.openpi_server import OpenPIServer, packed

from .servers import CHUNK, FASTER, answering, config, opened, saying, seen


def test_it_keeps_the_contract_of_policies() -> None:
    with answering() as server:
        check_policy(opened(server))


def test_a_chunk_is_asked_for_once_and_executed_as_far_as_the_file_says() -> None:
    with answering() as server:
        policy = opened(server)
        said = len(server.asked)
        xs = [float(policy.act([seen()], ["open the drawer"])[0, 0]) for _ in range(5)]
        assert xs == pytest.approx([0.01, 0.02, 0.01, 0.02, 0.01])
        assert len(server.asked) - said == 3
        assert server.asked[-1]["prompt"] == "open the drawer"
        assert server.asked[-1]["observation/image"].shape == (32, 32, 3)


def test_it_is_asked_once_before_anything_moves_with_what_it_will_be_asked() -> None:
    with answering() as server:
        policy = opened(server)
        assert [sorted(map(str, asked)) for asked in server.asked] == [["observation/image", "observation/state", "prompt"]]
        assert (policy.chunk, policy.image_size, policy.conditioning) == (3, 32, "language")
        said = policy.describe()
        assert said["wants"] == "observation/image uint8 (32, 32, 3), observation/state float32 (7,), prompt"
        assert said["gives"] == "actions (3, 7), 2 executed"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"action": CHUNK}, "gives no 'actions'"),
        (CHUNK[:, :3], r"shape \(3, 3\)"),
        (CHUNK[:0], "gives 0 actions"),
        (CHUNK * np.nan, "not finite"),
        (CHUNK + 9 * FASTER, "is believed"),
        (b"\xc1", "not msgpack"),
        (b"", "not msgpack"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_when_it_is_opened_and_drops_an_episode_later(answer: Any, words: str) -> None:
    with answering(answer) as server:
        with pytest.raises(ModelServerError, match=words):
            opened(server)
        wrong, right = server.infer, saying()
        server.infer = right
        policy = opened(server)
        server.infer = wrong
        with pytest.raises(SafetyError, match=f"gave no action: .*{words}"):
            policy.act([seen()], ["open the drawer"])
        server.infer = right
        policy.reset()
        assert policy.act([seen()], ["open the drawer"])[0, 0] == pytest.approx(0.01)


def test_a_chunk_of_another_length_than_at_first_drops_the_episode() -> None:
    with answering() as server:
        policy = opened(server)
        server.infer = saying(np.repeat(CHUNK, 2, axis=0))
        with pytest.raises(SafetyError, match="gives 6 actions, and 3 were expected"):
            policy.act([seen()], ["open the drawer"])


def test_the_last_words_of_a_servers_traceback_are_said() -> None:
    def infer(observation: Any) -> Any:
        return {"actions": observation["observation/wrist_image"]}

    with OpenPIServer(infer) as server, pytest.raises(ModelServerError, match="failed: KeyError: 'observation/wrist_image'"):
        opened(server)


def drip() -> Iterator[bytes]:
    """A message that never ends."""
    for _ in itertools.count():
        yield b"x"
        threading.Event().wait(0.01)


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_a_server_that_does_not_come_to_an_end_is_given_up(how: str) -> None:
    never = threading.Event()
    with answering() as server:
        policy = opened(server, timeout_s=2.0)
        server.infer = (lambda observation: never.wait()) if how == "hangs" else (lambda observation: drip())
        with pytest.raises(SafetyError, match="no complete answer in time"):
            policy.act([seen()], ["open the drawer"])
        never.set()


def test_an_answer_without_bounds_is_not_read_to_its_end() -> None:
    with answering() as server:
        policy = opened(server)
        server.infer = lambda observation: bytes(17 * 2**20)
        with pytest.raises(SafetyError, match="gave no action"):
            policy.act([seen()], ["open the drawer"])


def test_a_connection_that_was_closed_meanwhile_is_made_again_and_a_server_that_has_gone_is_said_to_have() -> None:
    with answering() as server:
        policy = opened(server)
        port = server.port
    with OpenPIServer(saying(), port=port):
        assert policy.act([seen()], ["open the drawer"])[0, 0] == pytest.approx(0.01)
    policy.reset()
    with pytest.raises(SafetyError, match=r"gave no action: ws://127\.0\.0\.1"):
        policy.act([seen()], ["open the drawer"])


def test_an_episode_that_begins_waits_for_a_server_that_is_away_and_one_in_its_middle_does_not() -> None:
    now, waits = [0.0], []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    with answering() as server:
        policy = OpenPIPolicy(config(server.url, patience_s=3.0), clock=lambda: now[0], sleep=sleep)
        policy.act([seen()], ["open the drawer"])
    policy.act([seen()], ["open the drawer"])  # of the chunk
    with pytest.raises(SafetyError):
        policy.act([seen()], ["open the drawer"])
    assert waits == []
    policy.reset()
    with pytest.raises(SafetyError):
        policy.act([seen()], ["open the drawer"])
    assert sum(waits) == 3.0


def test_a_server_that_is_another_one_now_gives_no_actions_unless_its_weights_have_a_name() -> None:
    with answering(config="pi0") as server:
        policy, named = opened(server), opened(server, name="carrot")
        port = server.port
    with OpenPIServer(saying(), {"config": "pi05"}, port=port):
        with pytest.raises(SafetyError, match=r"is openpi-.* now, not openpi-"):
            policy.act([seen()], ["open the drawer"])
        assert named.act([seen()], ["open the drawer"]).shape == (1, 7)
    assert named.id.startswith("openpi-carrot-")


def test_its_id_tells_files_and_servers_apart_and_not_addresses() -> None:
    with answering(config="pi0") as one, answering(config="pi0") as same, answering(config="pi05") as other:
        ids = [opened(server).id for server in (one, same, other)]
        assert ids[0] == ids[1] != ids[2]
        assert opened(one, units={"m": 0.5}).id != ids[0]
        assert opened(one, timeout_s=9).id == ids[0]


def test_who_wants_to_stop_when_it_is_away_hears_that() -> None:
    with answering() as server:
        policy = opened(server, when_away="stop")
    with pytest.raises(ModelAwayError):
        policy.act([seen()], ["open the drawer"])


def test_it_follows_instructions_and_refuses_pictures() -> None:
    with answering() as server, pytest.raises(ConfigError, match="follows instructions"):
        opened(server).act([seen()], [seen().image_HWC])


def test_the_servers_key_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with OpenPIServer(saying(), key="secret") as server:
        with pytest.raises(ModelServerError, match=r"status 401\. Its key is wrong or missing"):
            opened(server)
        monkeypatch.setenv("OPENPI_API_KEY", "secret")
        assert opened(server).chunk == 3
        monkeypatch.setenv("OPENPI_API_KEY", "a\nb")
        with pytest.raises(ConfigError, match="OPENPI_API_KEY"):
            opened(server)


def test_whoever_speaks_no_websocket_and_nobody_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"ws://127.0.0.1:{listening.getsockname()[1]}"

        def answer() -> None:
            accepted, _ = listening.accept()
            with accepted:
                accepted.recv(1000)
                accepted.sendall(b"220 mail.example.org\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ModelServerError, match="speaks no websocket"):
            OpenPIPolicy(config(url))
        thread.join()
    with pytest.raises(ModelAwayError, match=r"Start the policy's server, or correct `url`"):
        OpenPIPolicy(config(url))


def test_it_is_named_by_its_file_and_a_bare_address_says_what_is_missing(tmp_path: Path) -> None:
    with answering() as server:
        path = tmp_path / "pi0.yaml"
        path.write_text(
            f"backend: openpi\nurl: {server.url}\nexecute: 2\nimages: {{observation/image: {{size: 32}}}}\n"
            "action: [x, y, z, roll, pitch, yaw, {gripper: [0, 1]}]\n"
        )
        assert load_policy(str(path)).conditioning == "language"
        with pytest.raises(ConfigError, match=r"backend: openpi.*your-policy\.md"):
            load_policy(server.url)


def test_numbers_that_a_server_adds_to_its_answer_are_not_looked_at() -> None:
    answer = {"actions": CHUNK, "server_timing": {"infer_ms": np.float32(3)}, "state": np.zeros(7)}
    with OpenPIServer(lambda observation: packed(answer)) as server:
        assert opened(server).act([seen()], ["open the drawer"]).shape == (1, 7)
