"""Every client against servers that drip, bloat and send elsewhere: it gives up, and says so as it was told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.errors import ConfigError, ModelServerError, RobotFault
from soar.event_log import read_journal
from soar.policies.remote import RemotePolicy
from soar.remote import fallbacks
from soar.remote.client import ModelServer, RemoteConfig
from soar.remote.wire import pack
from soar.robots import remote as remote_robot
from soar.robots.remote import open_robot
from soar.subgoals.remote import RemoteSubgoals
from soar.tasks.notification import MissingObjectWebhook
from soar.vlm.openai_client import OpenAIConfig, OpenAIModel
from tests.collect.collecting import STEPS, collector

from .hostile_server import (
    BLOATING,
    DRIPPING,
    Bytes,
    bomb,
    dripped_body,
    dripped_headers,
    endless_103,
    hostile,
    large,
    large_chunks,
    many_headers,
    many_values,
    says,
)

IMAGE = np.full((16, 16, 3), 77, np.uint8)
SOON_S = 0.2
PATIENT_S = 600.0
HOSTILE = pytest.mark.parametrize("play", [*DRIPPING, *BLOATING], ids=lambda play: play.__name__)
SOME = pytest.mark.parametrize("play", [dripped_headers, endless_103, dripped_body, large], ids=lambda play: play.__name__)
ABOUT_POLICY = {
    "kind": "policy",
    "protocol": 1,
    "model": "p",
    "conditioning": "goal",
    "execute": 1,
    "action_mean": [0.0] * 7,
    "action_std": [1.0] * 7,
}
SEEN = {"image": pack(IMAGE), "state": [0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0]}


def vlm(url: str, **changes: Any) -> OpenAIModel:
    return OpenAIModel(OpenAIConfig(**{"model": "m", "base_url": f"{url}/v1", "timeout_s": SOON_S, "retries": 0, **changes}))


def config(url: str, timeout_s: float = PATIENT_S) -> RemoteConfig:
    return RemoteConfig(url=url, timeout_s=timeout_s, retries=0, probe_every_s=0.0)


@HOSTILE
def test_a_model_server_that_is_no_use_is_away(play: Callable[[], Bytes]) -> None:
    with hostile(play) as server, pytest.raises(ModelServerError):
        ModelServer(config(server.url, SOON_S), PATIENT_S).request("GET", "/v1/model")


@HOSTILE
@pytest.mark.parametrize("stream", [False, True])
def test_a_vision_language_model_that_is_no_use_is_undecidable(play: Callable[[], Bytes], stream: bool) -> None:
    with hostile(play) as server, fallbacks.heard() as heard:
        answers = vlm(server.url, stream=stream).answer([IMAGE] * 2, ["Is it?"] * 2)
        assert [answer.text for answer in answers] == [""] * 2
    assert len(heard) == 1


def test_one_that_drips_is_an_error_where_that_is_wanted() -> None:
    with hostile(dripped_body) as server, pytest.raises(ModelServerError, match="timed out"):
        vlm(server.url, when_away="stop").answer([IMAGE], ["Is it?"])


@pytest.mark.parametrize(
    ("play", "why"),
    [
        (large, r"more than \d+ MB"),
        (large_chunks, r"more than \d+ MB"),
        (bomb, "is compressed"),
        (many_values, r"more than \d+ values"),
        (many_headers, "too long"),
    ],
)
def test_what_is_too_large_is_read_no_further_however_long_a_client_may_wait(play: Callable[[], Bytes], why: str) -> None:
    with hostile(play) as server:
        with pytest.raises(ModelServerError, match=why):
            ModelServer(RemoteConfig(url=server.url, retries=0), PATIENT_S).request("GET", "/v1/model")
        with pytest.raises(ModelServerError, match=why):
            vlm(server.url, timeout_s=PATIENT_S, when_away="stop").answer([IMAGE], ["Is it?"])


@SOME
def test_a_robot_that_drips_or_bloats_is_a_fault(play: Callable[[], Bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = {"open": 600.0, "observe": 0.01, "other": 0.01}
    with hostile(says({"kind": "robot", "protocol": 1, "timeouts": timeouts, "result": None})) as server:
        robot = open_robot(server.url, "correct-horse-battery")
        monkeypatch.setattr(remote_robot, "_MARGIN_S", SOON_S)
        server.play = play
        with pytest.raises(RobotFault) as caught:
            robot.observe()
        assert caught.value.kind == "connection"
        monkeypatch.setattr(remote_robot, "_CONNECT_S", SOON_S)
        with pytest.raises(RobotFault, match="recover"):
            robot.recover()


@SOME
def test_a_webhook_is_given_up(play: Callable[[], Bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soar.tasks.notification._TIMEOUT_S", SOON_S)
    with hostile(play) as server:
        webhook = MissingObjectWebhook(server.url, "robot-3", wait_s=0.0)
        webhook("carrot")
        webhook.flush()
        assert server.requests


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent"])
def test_nothing_is_sent_on_to_another_address(status: str) -> None:
    with hostile(says({})) as other:
        with hostile(says({}, f"Location: {other.url}/v1/chat/completions", status=status)) as server:
            with pytest.raises(ModelServerError, match=r"not followed: they carry pictures.*`base_url`"):
                vlm(server.url, timeout_s=PATIENT_S).answer([IMAGE], ["Is it?"])
            with pytest.raises(ModelServerError):
                vlm(server.url, timeout_s=PATIENT_S).check()
            with pytest.raises(ModelServerError, match="status 30"):
                ModelServer(config(server.url), PATIENT_S).request("POST", "/v1/subgoals", {})
            with pytest.raises(ConfigError):
                open_robot(server.url, "correct-horse-battery")
            webhook = MissingObjectWebhook(server.url, "robot-3", wait_s=0.0)
            webhook("carrot")
            webhook.flush()
            assert len(server.requests) >= 4
        assert other.requests == []


def test_cookies_are_not_kept() -> None:
    with hostile(says({"a": 1}, "Set-Cookie: a=b; Max-Age=1000", "X-Other: c")) as server:
        client = ModelServer(config(server.url), PATIENT_S)
        client.request("GET", "/x")
        client.request("GET", "/x")
        assert not client._client.cookies


def test_more_pictures_than_were_asked_for_are_not_decoded() -> None:
    black = pack(np.zeros((2048, 2048, 3), np.uint8))
    with hostile(says({"kind": "subgoal", "protocol": 1, "model": "m"})) as server:
        model = RemoteSubgoals(config(server.url))
        for images in ([black] * 40, [black]):
            server.play = says({"model": "m", "images": images})
            with fallbacks.heard() as heard:
                model.generate([IMAGE], ["open the drawer"], [0])
            assert "sent" in heard[0].detail


def test_an_episode_goes_on_while_all_servers_drip(tmp_path: Path) -> None:
    good = says({"model": "p", "chunks": [[[0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]]})
    with hostile(says(ABOUT_POLICY)) as server, hostile(says({"kind": "subgoal", "protocol": 1, "model": "s"})) as editor:
        # Once a server is away, nobody asks it again: each costs one time limit.
        policy, subgoals = (
            kind(RemoteConfig(url=url, timeout_s=4.0, retries=0, probe_every_s=1e9))
            for kind, url in ((RemotePolicy, server.url), (RemoteSubgoals, editor.url))
        )
        server.play = lambda: good() if len(server.requests) <= 4 else dripped_headers()
        editor.play = dripped_body
        robot = collector(tmp_path, policy=lambda _seed: policy, subgoal_model=subgoals, vlm=vlm(editor.url))
        assert robot.run(2) == 2
    store = EpisodeStore(tmp_path / "episodes")
    first = store.read(next(iter(store.episodes())).id)
    np.testing.assert_allclose(first.actions_TD[:, 0], [0.01] * 3 + [0] * (STEPS - 3), atol=1e-6)
    assert {event["model"] for event in read_journal(tmp_path / "events.jsonl", "fallback")} == {"p", "s", "openai:m"}


def test_the_servers_here_are_what_they_say() -> None:
    """A check of the checks: a server that says something good is understood."""
    with hostile(says({"kind": "policy", "protocol": 1, "x": [1, 2]})) as server:
        assert ModelServer(config(server.url), PATIENT_S).about("policy")["x"] == [1, 2]
