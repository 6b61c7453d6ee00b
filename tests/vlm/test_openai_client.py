"""Against a server in a process of its own, over a real connection."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soar.errors import BudgetError, ConfigError, ModelServerError, UnknownNameError
from soar.remote import fallbacks
from soar.tasks import decide
from soar.testing import check_vlm
from soar.vlm.loading import check_vlm as open_and_check
from soar.vlm.loading import load_language_model, load_vlm
from soar.vlm.openai_client import OpenAIConfig, OpenAIModel, data_url
from soar.vlm.spending import counted
from tests.scripted import Scripted, scripted

IMAGES = [np.full((16, 24, 3), 30 * i, np.uint8) for i in range(6)]
QUESTION = "Is the drawer open?"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("faulty_server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


def opened(server: str, scenario: str, **changes: Any) -> OpenAIModel:
    return OpenAIModel(OpenAIConfig(model="tiny", base_url=f"{server}/{scenario}/v1", **{"retries": 2, **changes}))


def seen(server: str, scenario: str) -> list[dict[str, Any]]:
    bodies: list[dict[str, Any]] = httpx2.get(f"{server}/{scenario}/seen", timeout=600).json()["bodies"]
    return bodies


def test_it_keeps_the_contract(server: str) -> None:
    check_vlm(opened(server, "fine"))
    check_vlm(opened(server, "fine", stream=True))


def test_image_question_and_answer_travel_whole(server: str) -> None:
    vlm = opened(server, "whole", extra_yes_no={"structured_outputs": {"choice": ["yes", "no"]}})
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), 8, 0), 8, 1)
    with counted() as spent:
        (answer,) = vlm.answer([image], [QUESTION])
        vlm.answer([image], [QUESTION])  # from memory: it costs nothing
    assert (spent.calls, spent.tokens, spent.untold) == (1, 10, 0)
    (body,) = seen(server, "whole")
    picture, text = body["messages"][0]["content"]
    jpeg = base64.b64decode(picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    assert np.abs(simplejpeg.decode_jpeg(jpeg).astype(int) - image).mean() < 4
    assert text["text"].startswith(QUESTION)
    assert body["structured_outputs"] == {"choice": ["yes", "no"]}
    # e^-0.5 against e^-1: the probability of yes among yes and no.
    assert answer.p_yes == pytest.approx(0.6225, abs=1e-3)
    assert vlm.cache.spent == (1, 10)
    assert vlm.reply(["Say something."]) == ["\nYes."]


@pytest.mark.parametrize("scenario", ["busy", "broken"])
def test_a_server_that_asks_for_patience_gets_it(server: str, scenario: str) -> None:
    vlm = opened(server, scenario)
    assert decide(vlm.answer(IMAGES[:1], [QUESTION])[0]) is True
    assert len(seen(server, scenario)) == 3
    assert vlm.cache.spent[0] == 1, "repetitions are one call"


@pytest.mark.parametrize(
    ("scenario", "changes"),
    [
        ("down", {}),
        ("hang", {"timeout_s": 0.2, "retries": 0}),
        ("drop", {"retries": 0}),
        ("html", {}),
        ("json", {}),
        ("empty", {}),
        ("null", {}),
        ("torn", {"stream": True}),
        ("html", {"stream": True}),
    ],
)
def test_no_answer_is_undecidable_or_an_error_as_configured_and_is_not_remembered(
    server: str, scenario: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    cache = str(tmp_path / "answers.sqlite")
    vlm = opened(server, scenario, cache=cache, **changes)
    answers = vlm.answer(IMAGES[:2], [QUESTION] * 2)
    assert [(answer.text, decide(answer)) for answer in answers] == [("", None)] * 2
    before = len(seen(server, scenario))
    with pytest.raises(ModelServerError, match=rf"tiny at {server}/{scenario}/v1: .*Start the server, or correct `base_url`"):
        opened(server, scenario, cache=cache, when_away="stop", **changes).answer(IMAGES[:1], [QUESTION])
    assert len(seen(server, scenario)) > before


@pytest.mark.parametrize(("scenario", "hint"), [("key", "MY_KEY"), ("model", "Check `model`")])
def test_what_waiting_would_not_help_is_an_error_at_once(server: str, scenario: str, hint: str) -> None:
    with pytest.raises(ModelServerError, match=f"{scenario} today.*{hint}"):
        opened(server, scenario, api_key_env="MY_KEY").answer(IMAGES[:1], [QUESTION])
    assert len(seen(server, scenario)) == 1


def test_what_a_server_says_of_a_refusal_is_passed_on(server: str) -> None:
    vlm = opened(server, "detail", extra_yes_no={"structured_outputs": {"choice": ["yes", "no"]}})
    with pytest.raises(ModelServerError, match=r"422 - Unexpected fields: structured_outputs\. Check `model`, `extra`"):
        vlm.answer(IMAGES[:1], [QUESTION])


def test_a_choice_of_yes_and_no_binds_answers_and_leaves_replies_free(server: str) -> None:
    choice = {"choice": ["yes", "no"]}
    vlm = opened(server, "choice", extra={"seed": 3}, extra_yes_no={"structured_outputs": choice})
    vlm.answer(IMAGES[:1], [QUESTION])
    vlm.reply(["List tasks."], IMAGES[:1])
    assert [(body["seed"], body.get("structured_outputs")) for body in seen(server, "choice")] == [(3, choice), (3, None)]


def test_an_answer_to_another_request_is_not_taken_from_the_cache(server: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "answers.sqlite")
    for extra in ({"structured_outputs": {"choice": ["yes", "no"]}}, {}, {}):
        opened(server, "corrected", cache=cache, extra=extra).reply(["List tasks."], IMAGES[:1])
    assert ["structured_outputs" in body for body in seen(server, "corrected")] == [True, False]


def test_a_server_without_probabilities_is_asked_without_from_then_on(server: str) -> None:
    vlm = opened(server, "refusing")
    answers = [vlm.answer([image], [QUESTION])[0] for image in IMAGES[:2]]
    assert [(answer.p_yes, decide(answer)) for answer in answers] == [(None, True)] * 2
    assert ["logprobs" in body for body in seen(server, "refusing")] == [True, False, False]
    assert opened(server, "refusing", stream=True).answer(IMAGES[:1], [QUESTION])[0].text == "\nYes."


def test_streamed_answers_are_the_same_and_an_endless_one_is_cut_off(server: str) -> None:
    vlm = opened(server, "stream", stream=True)
    (answer,) = vlm.answer(IMAGES[:1], [QUESTION])
    assert (answer.text, vlm.cache.spent) == ("\nYes.", (1, 10))
    assert answer.p_yes == pytest.approx(0.6225, abs=1e-3)
    assert decide(opened(server, "endless", stream=True).answer(IMAGES[:1], [QUESTION])[0]) is None
    assert decide(opened(server, "long").answer(IMAGES[:1], [QUESTION])[0]) is None


def test_equal_questions_are_asked_once_for_ever(server: str, tmp_path: Path) -> None:
    cache = str(tmp_path / "answers.sqlite")
    images = [IMAGES[0], IMAGES[1], IMAGES[0].copy()]
    first = opened(server, "once", cache=cache).answer(images, [QUESTION] * 3)
    again = opened(server, "once", cache=cache)
    assert again.answer(images, [QUESTION] * 3) == first
    assert len(seen(server, "once")) == 2
    assert again.cache.spent == (2, 20)
    again.answer(images[:1], ["Is the cloth folded?"])
    assert len(seen(server, "once")) == 3


def test_the_cap_stops_before_the_call_and_known_answers_stay_free(server: str) -> None:
    vlm = opened(server, "capped", max_calls=2, concurrency=1)
    vlm.answer(IMAGES[:2], [QUESTION] * 2)
    with pytest.raises(BudgetError, match="cap of 2 calls"):
        vlm.answer(IMAGES[:3], [QUESTION] * 3)
    assert len(seen(server, "capped")) == 2
    assert len(vlm.answer(IMAGES[:2], [QUESTION] * 2)) == 2


def test_calls_of_a_batch_run_side_by_side_up_to_the_limit(server: str) -> None:
    # This server answers only when two ask at once.
    answers = opened(server, "pairs", concurrency=2, retries=0).answer(IMAGES, [QUESTION] * 6)
    assert [decide(answer) for answer in answers] == [True] * 6
    assert httpx2.get(f"{server}/pairs/seen", timeout=600).json()["most"] == 2


def test_a_model_is_named_by_a_yaml_file_with_a_decoder_beside_it(server: str, tmp_path: Path) -> None:
    (tmp_path / "llm.yaml").write_text(f"backend: openai\nmodel: reader\nbase_url: {server}/reader/v1\n")
    path = tmp_path / "vlm.yaml"
    text = f"backend: openai\nmodel: tiny\nbase_url: {server}/wordy/v1\ncache: answers.sqlite\ndecoder: llm.yaml\n"
    path.write_text(text + "logprobs: false\n")
    vlm = open_and_check(str(path))
    assert vlm.id == "openai:tiny+openai:reader"
    assert vlm.answer(IMAGES[:1], [QUESTION])[0].text == "The drawer is shut, so no."
    assert (tmp_path / "answers.sqlite").exists()
    assert load_language_model(str(tmp_path / "llm.yaml")).reply(["Hello"]) == ["\nYes."]
    assert load_vlm(str(path)) is vlm, "opened once a process"


def test_a_server_that_is_not_there_is_noticed_before_work_begins(tmp_path: Path) -> None:
    path = tmp_path / "vlm.yaml"
    path.write_text("backend: openai\nmodel: tiny\nbase_url: http://127.0.0.1:9/v1\n")
    with pytest.raises(ModelServerError, match=r"tiny at http://127.0.0.1:9/v1.*Start the server"):
        open_and_check(str(path))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("model: x", UnknownNameError, "unknown backend 'None' Valid choices: openai, transformers"),
        ("backend: opena1\nmodel: x", UnknownNameError, "did you mean 'openai'"),
        ("backend: openai", ConfigError, "model: Field required"),
        ("backend: openai\nmodel: x\ntimeout: 3", UnknownNameError, "did you mean 'timeout_s'"),
        ("backend: openai\nmodel: x\nbase_url: localhost", ConfigError, "base_url must begin with http"),
        ("backend: openai\nmodel: x\nprompt: Is it?", ConfigError, "prompt must contain {question}"),
        ("backend: openai\nmodel: x\nretries: -1", ConfigError, "retries not negative"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, error: type[ConfigError], message: str) -> None:
    path = tmp_path / "vlm.yaml"
    path.write_text(text)
    with pytest.raises(error) as raised:
        load_vlm(str(path))
    assert message in str(raised.value)
    assert "vlm.yaml" in str(raised.value) or error is ConfigError


def test_words_are_not_asked_of_what_has_none() -> None:
    with pytest.raises(ConfigError, match="'human' does not reply in words"):
        load_language_model("human")


def test_images_become_jpegs_whatever_their_memory_order() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert data_url(image[:, ::-1], 90) == data_url(image[:, ::-1].copy(), 90)


def test_a_server_that_worked_and_now_refuses_ends_no_collection_and_somebody_hears_of_it() -> None:
    with scripted() as script:
        script.says(completions={"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}}]})
        vlm = OpenAIModel(OpenAIConfig(model="m", base_url=f"{script.url}/v1", retries=0))
        assert decide(vlm.answer(IMAGES[:1], [QUESTION])[0]) is True
        script.status = 401
        with fallbacks.heard() as heard:
            assert [decide(answer) for answer in vlm.answer(IMAGES[1:4], [QUESTION] * 3)] == [None] * 3
        (fallback,) = heard
        assert (fallback.model, fallback.instead) == ("openai:m", "undecidable")
        assert "3 of 3 questions without an answer" in fallback.detail
        with fallbacks.forbidden(), pytest.raises(ModelServerError, match="must not go on"):
            vlm.answer(IMAGES[4:5], [QUESTION])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["yes", "\ud800", 10**400]),
    lambda x: (
        st.lists(x, max_size=2)
        | st.dictionaries(st.sampled_from(["content", "logprobs", "delta", "message", "token", "total_tokens"]), x, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def script() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(VALUES, VALUES, VALUES, st.booleans())
def test_whatever_a_server_says_is_an_answer_that_can_be_kept(
    script: Scripted, content: Any, logprobs: Any, usage: Any, stream: bool
) -> None:
    choice = {"index": 0, "message": {"content": content}, "delta": {"content": content}, "logprobs": logprobs}
    body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    script.says(completions=b"data: " + body + b"\n\ndata: [DONE]\n\n" if stream else body)
    script.headers = {"Content-Type": "text/event-stream" if stream else "application/json"}
    vlm = OpenAIModel(OpenAIConfig(model="m", base_url=f"{script.url}/v1", retries=0, stream=stream))
    with fallbacks.heard():
        (answer,) = vlm.answer(IMAGES[:1], [QUESTION])
    answer.text.encode()
    assert decide(answer) is not True or "yes" in answer.text.lower()
    assert vlm.cache.spent[0] == 1
