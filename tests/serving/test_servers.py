"""Models behind the real server: what clients get is what the model says, and what strangers send harms nobody."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soar.base_models import default_weights
from soar.errors import ModelServerError
from soar.policies.learned import LearnedPolicy
from soar.policies.remote import RemotePolicy
from soar.remote import fallbacks
from soar.remote.client import RemoteConfig
from soar.remote.wire import Limits, pack
from soar.serving.application import ServiceConfig
from soar.serving.auth import Auth, AuthConfig
from soar.serving.batching import BatchConfig
from soar.serving.chat import SUFFIX, chat_application
from soar.serving.policies import policy_application
from soar.serving.server import ServerConfig, build
from soar.serving.subgoals import subgoal_application
from soar.subgoals.loading import load_subgoal_model
from soar.subgoals.remote import RemoteSubgoals
from soar.tasks import decide
from soar.testing import check_policy, check_subgoal_model, check_vlm
from soar.types import Image, Observation
from soar.vlm.base import Answer
from soar.vlm.loading import load_vlm
from soar.vlm.openai_client import YES_NO, OpenAIConfig, OpenAIModel
from tests.improve.tiny import random_policy

from .running import running

CLIENT = httpx2.Client(timeout=600)
TOKEN = "correct-horse-battery"
SERVICE = ServiceConfig(batch=BatchConfig(wait_ms=0), limits=Limits(side=128, images=4, megabytes=1))
IMAGES = [np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8) for i in range(4)]
QUESTION = "Is the green block in the wooden bowl?"
STATE = np.array([0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0], np.float32)


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOAR_TOKEN", TOKEN)


def served(kind: Any, model: str) -> Any:
    return running(build(ServerConfig(kind=kind, model=model, token=TOKEN, service=SERVICE))[0])


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def policy_url(policy_folder: Path) -> Iterator[str]:
    with served("policy", str(policy_folder)) as url:
        yield url


@pytest.fixture(scope="module")
def subgoal_url() -> Iterator[str]:
    with served("subgoal", str(default_weights("subgoal"))) as url:
        yield url


@pytest.fixture(scope="module")
def vlm_url() -> Iterator[str]:
    with served("vlm", str(default_weights("vqa"))) as url:
        yield url


def remote_vlm(url: str, **changes: Any) -> OpenAIModel:
    fields = {"model": "any", "base_url": f"{url}/v1", "api_key_env": "SOAR_TOKEN", "retries": 0, "when_away": "stop"}
    return OpenAIModel(OpenAIConfig(**{**fields, **changes}))


def post(url: str, path: str, body: Any, **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else None
    return CLIENT.post(
        url + path,
        content=content,
        json=None if content is not None else body,
        headers={"Authorization": f"Bearer {TOKEN}", **headers},
    )


def test_a_served_policy_is_the_policy(policy_url: str, policy_folder: Path) -> None:
    local, remote = LearnedPolicy.load(policy_folder), RemotePolicy(RemoteConfig(url=policy_url, timeout_s=60.0))
    check_policy(remote)
    assert (remote.id, remote.conditioning) == (local.id, local.conditioning)
    np.testing.assert_array_equal(remote.action_std, local.action_std)
    seen = [Observation(image_HWC=image, state=STATE) for image in IMAGES[:2]]
    np.testing.assert_array_equal(remote.act(seen, IMAGES[2:]), local.act(seen, IMAGES[2:]))


@pytest.mark.parametrize("encoding", ["png", "raw", "jpeg"])
def test_a_served_subgoal_model_is_the_model(subgoal_url: str, encoding: Any) -> None:
    local = load_subgoal_model(str(default_weights("subgoal")))
    remote = RemoteSubgoals(RemoteConfig(url=subgoal_url, encoding=encoding))
    check_subgoal_model(remote)
    ours, theirs = (model.generate(IMAGES[:2], ["open the drawer"] * 2, [1, 2]) for model in (local, remote))
    difference = np.abs(np.stack(ours).astype(int) - np.stack(theirs)).mean()
    assert difference < (12 if encoding == "jpeg" else 1e-9)


@pytest.mark.parametrize("stream", [False, True])
def test_a_served_vqa_model_answers_our_client_for_openai_servers(vlm_url: str, stream: bool) -> None:
    local, remote = load_vlm(str(default_weights("vqa"))), remote_vlm(vlm_url, stream=stream, jpeg_quality=100)
    remote.check()
    check_vlm(remote, several=False)
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (40, 200)]
    for ours, theirs in zip(local.answer(flat, [QUESTION] * 2), remote.answer(flat, [QUESTION] * 2), strict=True):
        assert theirs.text == ours.text
        assert theirs.p_yes == pytest.approx(ours.p_yes, abs=0.02), "JPEG changes pixels a little"


class Meeting:
    """A model of each kind that waits until it may go on."""

    id = "meeting"

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def wait(self, count: int) -> None:
        self.sizes.append(count)
        self.begun.set()
        self.go.wait(600)

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        self.wait(len(images))
        return [Answer(text="Yes.", p_yes=0.9 if text == QUESTION else 0.2) for text in questions]

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        self.wait(len(prompts))
        return [f"{text} {'with' if images else 'without'}" for text in prompts]

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        self.wait(len(images))
        return [255 - image for image in images]


def test_questions_of_several_clients_become_one_batch() -> None:
    model = Meeting()
    app = chat_application(model, ServiceConfig(batch=BatchConfig(max_batch=8, wait_ms=0)))
    with running(app) as url:
        vlm = remote_vlm(url, concurrency=1)
        first = threading.Thread(target=vlm.answer, args=(IMAGES[:1], ["Is it?"]))
        first.start()
        model.begun.wait()
        others = [threading.Thread(target=remote_vlm(url).answer, args=([image], [QUESTION])) for image in IMAGES]
        for thread in others:
            thread.start()
        while CLIENT.get(f"{url}/v1/model").json()["waiting"] < 4:
            pass
        model.go.set()
        for thread in (first, *others):
            thread.join()
        counts, metrics = CLIENT.get(f"{url}/v1/model").json(), CLIENT.get(f"{url}/metrics").text
    assert model.sizes == [1, 4]
    for name, value in (("items_total", 5), ("waiting", 0), ("refused_total", 0), ("seconds_count", 5)):
        assert f'soar_serve_{name}{{kind="vlm",model="{model.id}"}} {value}\n' in metrics
    assert (counts["batches"], counts["items"], counts["waiting"]) == (2, 5, 0)


def test_words_and_yes_or_no_are_told_apart() -> None:
    model = Meeting()
    model.go.set()
    with running(chat_application(model, ServiceConfig(batch=BatchConfig(wait_ms=0)))) as url:
        vlm = remote_vlm(url)
        assert vlm.reply(["Say something."]) == ["Say something. without"]
        assert vlm.reply(["Say something."], IMAGES[:1]) == ["Say something. with"]
        yes, no = vlm.answer(IMAGES[:2], [QUESTION, "Is it?"])
        assert (yes.text, yes.p_yes) == ("Yes.", pytest.approx(0.9))
        assert decide(no) is False, "the probability counts, whatever the words"
    assert YES_NO.removeprefix("{question}") == SUFFIX


def test_a_model_that_fails_says_so_and_lives_on() -> None:
    class Failing(Meeting):
        def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
            if "break" in instructions:
                raise ArithmeticError("secret of the server")
            return super().generate(images, instructions, seeds)

    model = Failing()
    model.go.set()
    with running(subgoal_application(model, SERVICE)) as url:
        remote = RemoteSubgoals(RemoteConfig(url=url, retries=0, probe_every_s=0))
        with fallbacks.heard() as heard:
            remote.generate(IMAGES[:1], ["break"], [0])
        assert "status 500: the model failed (ArithmeticError)" in heard[0].detail
        assert "secret" not in heard[0].detail
        np.testing.assert_array_equal(remote.generate(IMAGES[:1], ["go on"], [0])[0], 255 - IMAGES[0])


def test_a_full_house_asks_to_come_back_later() -> None:
    model = Meeting()
    app = subgoal_application(model, ServiceConfig(batch=BatchConfig(max_batch=1, most_waiting=1, wait_ms=0)))
    items = [{"image": pack(image), "instruction": "x", "seed": 0} for image in IMAGES[:2]]
    with running(app) as url:
        response = post(url, "/v1/subgoals", {"items": items})
        model.go.set()
        metrics = CLIENT.get(f"{url}/metrics").text
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert f'soar_serve_refused_total{{kind="subgoal",model="{model.id}"}} 2\n' in metrics


ITEM = {"image": pack(IMAGES[0]), "instruction": "open the drawer", "seed": 0}
ACTION = {"image": pack(IMAGES[0]), "state": STATE.tolist(), "goal": pack(IMAGES[1]), "plan_index": 0}


@pytest.mark.parametrize(
    ("kind", "path", "body", "message"),
    [
        ("subgoal", "/v1/subgoals", {"items": []}, "0 items in one request; between 1 and 4"),
        ("subgoal", "/v1/subgoals", {"items": [ITEM] * 5}, "5 items in one request"),
        ("subgoal", "/v1/subgoals", {"items": [{**ITEM, "seed": -1}]}, "items.0.seed: Input should be greater"),
        ("subgoal", "/v1/subgoals", {"items": [{**ITEM, "seed": 2**70}]}, "items.0.seed"),
        ("subgoal", "/v1/subgoals", {"items": [{**ITEM, "instruction": "x" * 501}]}, "items.0.instruction"),
        ("subgoal", "/v1/subgoals", {"items": [{**ITEM, "image": {"png": "AAAA"}}]}, "must be a JPEG or PNG"),
        ("subgoal", "/v1/subgoals", {"items": [{**ITEM, "image": pack(np.zeros((1, 200, 3), np.uint8))}]}, "200 px"),
        ("subgoal", "/v1/subgoals", {"items": [ITEM], "encoding": "pickle"}, "encoding"),
        ("subgoal", "/v1/subgoals", b"{", "body: "),
        ("policy", "/v1/actions", {"items": [{**ACTION, "goal": "open the drawer"}]}, "follows goal images"),
        ("policy", "/v1/actions", {"items": [{**ACTION, "state": [0.0] * 6}]}, "items.0.state"),
        ("policy", "/v1/actions", {"items": [{**ACTION, "plan_index": -1}]}, "items.0.plan_index"),
        ("vlm", "/v1/chat/completions", {"messages": []}, "messages"),
        ("vlm", "/v1/chat/completions", {"messages": [{"role": "system", "content": "x"}]}, "role user"),
        ("vlm", "/v1/chat/completions", {"messages": [{"role": "user", "content": 3}]}, "a text, or a list of parts"),
        ("vlm", "/v1/chat/completions", {"messages": [{"role": "user", "content": " "}]}, "between 1 and"),
        (
            "vlm",
            "/v1/chat/completions",
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "Is it?"},
                            {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}},
                        ],
                    }
                ]
            },
            "fetches no others",
        ),
    ],
)
def test_what_cannot_be_served_is_explained(
    policy_url: str, subgoal_url: str, vlm_url: str, kind: str, path: str, body: Any, message: str
) -> None:
    url = {"subgoal": subgoal_url, "policy": policy_url, "vlm": vlm_url}[kind]
    response = post(url, path, body)
    assert response.status_code == 422
    assert message in response.json()["error"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "image_url"]), x),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=50) | JSON.map(lambda x: {"messages": [{"role": "user", "content": x}]}) | JSON)
def test_nothing_that_a_stranger_sends_is_an_error_of_the_server(
    policy_url: str, subgoal_url: str, vlm_url: str, body: Any
) -> None:
    for url, path in (
        (subgoal_url, "/v1/subgoals"),
        (policy_url, "/v1/actions"),
        (vlm_url, "/v1/chat/completions"),
    ):
        response = post(url, path, body)
        assert response.status_code in (200, 422), response.text
        if response.status_code == 200:
            assert url == vlm_url


def test_strangers_learn_nothing(policy_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CLIENT.get(f"{policy_url}/health").json() == {"status": "ok"}
    for path in ("/v1/model", "/docs", "/openapi.json", "/v1/actions"):
        assert CLIENT.get(policy_url + path).status_code == 401
    monkeypatch.setenv("SOAR_TOKEN", "wrong-horse-battery")
    with pytest.raises(ModelServerError, match=r"status 401.*SOAR_TOKEN"):
        RemotePolicy(RemoteConfig(url=policy_url))


def test_a_request_that_is_too_long_is_refused(subgoal_url: str) -> None:
    long = base64.b64encode(bytes(2**20)).decode()
    response = post(subgoal_url, "/v1/subgoals", {"items": [{**ITEM, "image": {"png": long}}]})
    assert response.status_code == 413


def test_a_robot_may_be_one_of_many(policy_folder: Path) -> None:
    policy = LearnedPolicy.load(policy_folder)
    app = Auth(policy_application(policy, SERVICE), AuthConfig(token=None, bytes=2**20))
    with running(app) as url:
        remotes = [RemotePolicy(RemoteConfig(url=url, timeout_s=60.0)) for _ in range(4)]
        found: dict[int, np.ndarray] = {}

        def act(index: int) -> None:
            seen = Observation(image_HWC=IMAGES[index], state=STATE)
            found[index] = remotes[index].act([seen], [IMAGES[3 - index]])[0]

        threads = [threading.Thread(target=act, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    policy.reset()
    seen = [Observation(image_HWC=image, state=STATE) for image in IMAGES]
    expected = policy.act(seen, IMAGES[::-1])
    np.testing.assert_allclose(np.stack([found[i] for i in range(4)]), expected, atol=1e-5)
