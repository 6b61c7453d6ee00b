"""The client of model servers, against one that says anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError, ModelServerError
from soar.remote.client import ModelAwayError, ModelServer, RemoteConfig
from tests.scripted import Scripted, scripted

ABOUT = {"kind": "policy", "protocol": 1, "model": "m"}


@pytest.fixture(scope="module")
def script() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


def opened(url: str, clock: Clock | None = None, **changes: Any) -> ModelServer:
    clock = clock or Clock()
    return ModelServer(RemoteConfig(url=url, **{"retries": 2, **changes}), 5.0, clock=clock, sleep=clock.sleep)


def test_it_shows_its_token_and_asks_for_plain_bytes(script: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    script.says(model=ABOUT)
    assert opened(script.url, token_env="MY_TOKEN").about("policy") == ABOUT
    headers = {name.lower(): value for name, value in script.sent[-1][0].items()}
    assert headers["authorization"] == "Bearer secret"
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_a_server_in_trouble_is_asked_again_and_as_late_as_it_wishes(script: Scripted, status: int) -> None:
    script.says()
    script.status, script.headers, before = status, {"Retry-After": "3"}, len(script.paths)
    clock = Clock()
    with pytest.raises(ModelAwayError, match=f"status {status}"):
        opened(script.url, clock).request("GET", "/x")
    assert len(script.paths) - before == 3
    assert clock.slept_s == [3.0, 3.0]
    script.headers = {"Retry-After": "1e9"}
    with pytest.raises(ModelAwayError):
        opened(script.url, clock).request("GET", "/x")
    assert max(clock.slept_s) <= 5.0


def test_one_that_is_away_is_tried_now_and_then_and_picked_up_again(script: Scripted) -> None:
    clock = Clock()
    server = opened(script.url, clock, probe_every_s=2.0)
    script.says()
    script.status = 500
    with pytest.raises(ModelAwayError):
        server.request("GET", "/x")
    before = len(script.paths)
    for now_s, asked in ((1.9, 0), (2.1, 1), (3.0, 1), (4.2, 2)):
        clock.now_s = now_s
        with pytest.raises(ModelAwayError):
            server.request("GET", "/x")
        assert len(script.paths) - before == asked
    script.says(x={"a": 1})
    clock.now_s = 7.0
    assert server.request("GET", "/x") == {"a": 1}
    clock.now_s = 7.0
    assert server.request("GET", "/x") == {"a": 1}, "at once, now that it is back"


@pytest.mark.parametrize(("status", "hint"), [(401, "SOAR_TOKEN"), (404, "Is this the address"), (302, "Is this the address")])
def test_what_waiting_would_not_help_is_said_at_once(script: Scripted, status: int, hint: str) -> None:
    script.says()
    script.status, before = status, len(script.paths)
    script.body = b'{"error": {"message": "not today"}}'
    with pytest.raises(ModelServerError, match=f"status {status}: not today.*{hint}") as raised:
        opened(script.url).request("GET", "/x")
    assert not isinstance(raised.value, ModelAwayError)
    assert len(script.paths) - before == 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from([200, 201, 204, 301, 400, 401, 418, 500, 599]),
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.floats() | st.text(max_size=5),
        lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_whatever_a_server_says_is_an_answer_or_a_model_server_error(script: Scripted, status: int, body: bytes) -> None:
    script.says()
    script.status, script.body = status, b"" if status == 204 else body
    server = opened(script.url, retries=0)
    with contextlib.suppress(ModelServerError):
        assert isinstance(server.request("POST", "/x", {"a": 1}), dict)


@pytest.mark.parametrize("body", [b"[" * 100_000, b"9" * 10_000, b"\xff\xfe", b'{"a": ', b""])
def test_garbage_is_no_answer(script: Scripted, body: bytes) -> None:
    script.says()
    script.body = body
    with pytest.raises(ModelAwayError):
        opened(script.url, retries=0).request("GET", "/x")


def test_an_answer_without_end_is_cut_off(script: Scripted) -> None:
    script.says()
    script.body = b" " * (65 * 2**20)
    with pytest.raises(ModelAwayError, match="more than 64 MB"):
        opened(script.url, retries=0).request("GET", "/x")
    script.body = b"{}"


def test_one_that_is_not_there_or_is_another_kind_is_named(script: Scripted) -> None:
    with pytest.raises(ModelAwayError, match=r"http://127.0.0.1:9/v1/model: .*Start it with `soar serve policy`"):
        opened("http://127.0.0.1:9").about("policy")
    script.says(model={**ABOUT, "kind": "subgoal"})
    with pytest.raises(ModelServerError, match=r"serves 'subgoal'.*`soar serve policy`"):
        opened(script.url).about("policy")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "localhost:1"}, "url must begin with http"),
        ({"url": "http://a", "timeout_s": 0.0}, "timeout_s must be positive"),
        ({"url": "http://a", "retries": -1}, "retries"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RemoteConfig(**fields)


def test_a_token_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", "a\nb")
    with pytest.raises(ConfigError, match="SOAR_TOKEN"):
        opened("http://127.0.0.1:9")
