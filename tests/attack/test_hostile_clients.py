"""The real servers against clients that send too much, too slowly, or go away."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest

from soar.remote.wire import Limits, pack
from soar.robots.remote import open_robot
from soar.serving import connections, robots
from soar.serving.application import ServiceConfig
from soar.serving.auth import Auth, AuthConfig
from soar.serving.batching import BatchConfig
from soar.serving.connections import WAITING
from soar.serving.memory import Memory, NoRoomError
from soar.serving.robot_host import RobotServerConfig
from soar.serving.subgoals import subgoal_application
from soar.testing.fakes import FAKE_WORKSPACE
from tests.robots import own
from tests.serving.running import running
from tests.serving.test_servers import Meeting

from . import requests
from .network import fuzz_requests
from .requests import Address, complete, head, post, send, status
from .server_process import TOKEN, Watched, server_process

IMAGE = np.zeros((64, 64, 3), np.uint8)
ITEM = {"image": pack(IMAGE), "instruction": "open the drawer", "seed": 0}


def address_of(url: str) -> Address:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


@pytest.fixture(scope="module")
def server() -> Iterator[Watched]:
    with server_process("policy") as watched:
        yield watched


@pytest.mark.parametrize(
    ("attack", "allowed"),
    [
        (lambda address: requests.health_with_bodies(address, 20, 16), {405, 0}),
        (lambda address: requests.bodies_without_token(address, 20, 4), {401, 0}),
        (lambda address: requests.large_bodies(address, 8), {422, 503}),
        (lambda address: requests.endless_chunks(address, 8, 24), {413, 503, 0}),
        (lambda address: requests.many_items(address, 2), {413}),
        (lambda address: requests.many_pixels(address, 4), {413}),
        (lambda address: requests.some_pixels(address, 8), {200, 503}),
        (lambda address: requests.idle_connections(address, 400), {400}),
        (lambda address: requests.gone_clients(address, 20), {0}),
    ],
    ids=[attack.__name__ for attack in requests.ATTACKS],
)
def test_memory_stays_below_twice_the_idle_figure_and_the_server_says_that_it_is_well(
    server: Watched, attack: Callable[[Address], list[Any]], allowed: set[int]
) -> None:
    with server.watched():
        found = attack(server.address)
        server.look()
    assert server.most_bytes < 2 * server.idle_bytes
    assert server.unwell == 0
    assert set(found) <= allowed, Counter(found)
    seen = {"image": pack(IMAGE), "state": requests.STATE, "goal": pack(IMAGE), "plan_index": 0}
    while (answered := post(server.address, "/v1/actions", {"items": [seen]})) == 503:
        pass  # who was there before is still being answered
    assert answered == 200


def test_no_request_is_an_error_of_a_server(server: Watched) -> None:
    assert not fuzz_requests(server, 200).bad


def test_what_does_not_fit_is_refused_and_all_is_given_back() -> None:
    memory = Memory(100)
    with memory.booking() as first, memory.booking() as second:
        first.add(60)
        with pytest.raises(NoRoomError, match="try again") as caught:
            second.add(41)
        assert caught.value.ever
        second.add(40)
        with pytest.raises(NoRoomError, match="--max-total-megabytes") as caught:
            second.add(61)
        assert not caught.value.ever
        assert memory.taken == 100
    assert memory.taken == 0


def test_a_request_that_could_never_fit_says_what_to_do() -> None:
    model = Meeting()
    model.go.set()
    auth = Auth(subgoal_application(model, ServiceConfig()), AuthConfig(token=TOKEN, bytes=2**20, total=2**20))
    with running(auth) as url:
        assert post(address_of(url), "/v1/subgoals", {"items": [ITEM]}) == 200
        big = {**ITEM, "image": pack(np.zeros((1024, 1024, 3), np.uint8))}
        data = json.dumps({"items": [big]}).encode()
        answer = send(address_of(url), head("/v1/subgoals", len(data)), data)
        assert status(answer) == 413
        assert b"--max-total-megabytes" in answer
    assert auth.memory.taken == 0


def test_nobody_works_for_a_client_that_is_gone() -> None:
    model = Meeting()
    service = ServiceConfig(batch=BatchConfig(max_batch=1, wait_ms=0), limits=Limits(megabytes=1))
    auth = Auth(subgoal_application(model, service), AuthConfig(token=TOKEN, bytes=2**20))
    data = json.dumps({"items": [ITEM]}).encode()
    with running(auth) as url:
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(address_of(url))) for _ in range(6)]
            for client in clients:
                client.sendall(head("/v1/subgoals", len(data)) + data)
            model.begun.wait()
            wait_until(lambda: waiting(url) == 5)
        wait_until(lambda: auth._requests == 1)
        model.go.set()
        wait_until(lambda: auth._requests == 0)
        assert post(address_of(url), "/v1/subgoals", {"items": [ITEM]}) == 200
    assert model.sizes == [1, 1], "the one that was being worked for, and the last"
    assert auth.memory.taken == 0


def waiting(url: str) -> int:
    answer = send(address_of(url), head("/v1/model", 0, method="GET"))
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["waiting"])


def wait_until(true: Callable[[], bool]) -> None:
    while not true():
        threading.Event().wait(0.01)


def test_connections_without_a_request_make_room_for_others_and_headers_come_quickly() -> None:
    auth = Auth(subgoal_application(Meeting(), ServiceConfig()), AuthConfig(token=TOKEN, bytes=100))
    with running(auth, slow_s=1000.0) as url, ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address_of(url))) for _ in range(WAITING + 20)]
        assert status(send(address_of(url), head("/health", 0, method="GET"))) == 200
        for connection in held[:20]:
            assert closed(connection), "the oldest are closed"
    with running(auth, slow_s=0.1) as url, socket.create_connection(address_of(url)) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\nX: ")
        assert closed(slow)


def closed(connection: socket.socket) -> bool:
    with suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


def test_an_answer_that_is_not_taken_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = threading.Event()
    forget = connections._Bounded.connection_lost
    monkeypatch.setattr(connections._Bounded, "connection_lost", lambda self, error: (forget(self, error), lost.set()))

    class Large(Meeting):
        def generate(self, images: Any, instructions: Any, seeds: Any) -> list[Any]:
            return [np.zeros((3000, 3000, 3), np.uint8)]

    auth = Auth(subgoal_application(Large(), ServiceConfig()), AuthConfig(token=TOKEN, bytes=2**20))
    data = json.dumps({"items": [ITEM], "encoding": "raw"}).encode()
    with running(auth, slow_s=1.0) as url, socket.create_connection(address_of(url)) as client:
        client.sendall(head("/v1/subgoals", len(data)) + data)
        assert client.recv(1) == b"H"
        lost.wait()
        answer = b"H"
        with suppress(ConnectionError):
            while part := client.recv(2**20):
                answer += part
    assert not complete(answer)


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(robots, "_SLOW_S", 0.3)
    config = RobotServerConfig(name="arm", make=lambda _: own.Arm(), workspace=FAKE_WORKSPACE, token=TOKEN, port=0)
    with robots.serving(config) as serving:
        threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield str(serving.url)
        serving.shutdown()


def test_a_robot_is_not_held_by_a_request_that_drips(robot: str) -> None:
    for start in (b"GET /v1/robot HTTP/1.1\r\nX: ", head("/v1/robot/open", 1000)):
        with socket.create_connection(address_of(robot)) as slow, suppress(ConnectionError):
            slow.sendall(start)
            while True:
                slow.sendall(b" ")
                slow.settimeout(0.05)
                with suppress(TimeoutError):
                    if slow.recv(1) == b"":
                        break


def test_nobody_is_kept_from_a_robot_by_connections_that_say_nothing(robot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "_SLOW_S", 1000.0)
    arm = open_robot(robot, TOKEN)
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(address_of(robot))) for _ in range(40)]
        assert closed(held[0])
        arm.observe()
        arm.close()
        again = open_robot(robot, TOKEN)
        again.observe()
        again.close()
