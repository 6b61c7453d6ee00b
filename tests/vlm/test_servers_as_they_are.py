"""Thinking models and particular servers, over real connections: what they send, what they refuse, and what is made of it."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import numpy as np
import pytest

from soar.errors import ModelServerError
from soar.remote import fallbacks
from soar.tasks import decide
from soar.vlm.base import Answer
from soar.vlm.openai_client import OpenAIConfig, OpenAIModel

from .picky_server import completion, picky, tokens

IMAGES = [np.full((16, 24, 3), 30 * i, np.uint8) for i in range(4)]
YES, NO = {"Yes": -0.054, "No": -2.94}, {"No": -0.1, "Yes": -2.4}
THOUGHT = [("Yes", YES), (", so far", {}), ("</think>", {}), ("\n\n", {}), ("No", NO), ("<|im_end|>", {})]


def opened(url: str, **changes: Any) -> OpenAIModel:
    return OpenAIModel(OpenAIConfig(model="m", base_url=url, **{"retries": 0, **changes}))


def ask(url: str, **changes: Any) -> Answer:
    return opened(url, **changes).answer(IMAGES[:1], ["Is it open?"])[0]


def events(*deltas: dict[str, Any], logprobs: Any = None, finish: str | None = "stop") -> list[dict[str, Any]]:
    base = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    chunks = [
        {**base, "choices": [{"index": 0, "delta": delta, "logprobs": logprobs if i == 0 else None}]}
        for i, delta in enumerate(deltas)
    ]
    return [*chunks, {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}]


@pytest.mark.parametrize(
    "body",
    [
        completion("<think>Yes, so far</think>\n\nNo", logprobs=tokens(("<think>", {}), *THOUGHT)),
        completion("Yes, so far</think>\n\nNo", logprobs=tokens(*THOUGHT)),
        completion("No", reasoning_content="Yes, so far", logprobs=tokens(*THOUGHT)),
        completion("\n\nNo", reasoning="Yes, so far", logprobs=tokens(*THOUGHT)),
        completion("No", logprobs=tokens(*THOUGHT)),
        completion("No", reasoning_content="Yes, so far", logprobs=tokens(("No", NO))),
        completion(
            [{"type": "thinking", "thinking": [{"type": "text", "text": "Yes, so far"}]}, {"type": "text", "text": "No"}],
            logprobs=tokens(*THOUGHT),
        ),
        events({"reasoning_content": "Yes, so far"}, {"content": "No"}, logprobs=tokens(*THOUGHT)),
        events({"content": "<think>Yes, so"}, {"content": " far</think>\n\nNo"}, logprobs=tokens(("<think>", {}), *THOUGHT)),
    ],
    ids=[
        "plain",
        "no start",
        "reasoning_content",
        "reasoning",
        "thought dropped",
        "own tokens",
        "parts",
        "stream with parser",
        "stream",
    ],
)
def test_a_thought_that_says_yes_does_not_make_a_no_probable(body: Any) -> None:
    with picky(lambda _: (200, body)) as (url, _):
        answer = ask(url, stream=isinstance(body, list))
    assert answer.text.strip() == "No"
    assert decide(answer) is False
    assert answer.p_yes == pytest.approx(math.exp(-2.4) / (math.exp(-2.4) + math.exp(-0.1)))


def test_tokens_of_another_text_give_no_probability_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with picky(lambda _: (200, completion("No", logprobs=tokens(("Yes", YES))))) as (url, _):
        answer = ask(url)
    assert (decide(answer), answer.p_yes) == (False, None)
    assert "tokens are not those of the text" in answer.no_probability
    assert "tokens are not those of the text" in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        completion(None, finish="length", reasoning_content="Yes, it looks"),
        completion("", finish="length", reasoning="Yes, it looks"),
        completion(None, finish="length"),
        completion(None, reasoning_content="Yes", usage={"total_tokens": 300, "completion_tokens": 256, "prompt_tokens": 44}),
        events({"reasoning_content": "Yes, it looks"}, finish="length"),
        completion("<think>Yes, it looks", finish="length"),
        completion("Okay, yes, it looks", finish="length"),
        completion("◁think▷Yes"),
    ],
)
def test_an_answer_that_was_cut_off_is_undecidable_and_says_so_and_the_server_is_not_away(
    body: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with picky(lambda _: (200, body)) as (url, _), fallbacks.forbidden():
        answer = ask(url, stream=isinstance(body, list), when_away="stop")
    assert decide(answer) is None
    assert answer.unreadable
    assert "answer_tokens" in caplog.text or "did not end" in caplog.text


def test_a_stream_that_breaks_off_is_no_answer_and_is_asked_for_again() -> None:
    bodies = [
        events({"content": "No"}, {"content": ", it"}, finish=None),
        events({"content": "No"}, finish=None),
        events({"content": "Yes"}),
    ]
    with picky(lambda _: (200, bodies.pop(0))) as (url, asked), fallbacks.heard() as heard:
        model = opened(url, stream=True)
        assert [decide(model.answer(IMAGES[:1], ["Is it open?"])[0]) for _ in range(4)] == [None, None, True, True]
    assert len(asked) == 3
    assert "ended without a `finish_reason`" in heard[0].detail


@pytest.mark.parametrize("finish", ["length", "max_tokens", "tool_calls", "a new reason"])
def test_a_reason_to_finish_that_is_not_known_to_mean_the_end_counts_as_cut_off(finish: str) -> None:
    for text, verdict in (("No, it is shut.", None), ("No,", None), ("不", None), ("No.", False)):
        with picky(lambda _, text=text: (200, completion(text, finish=finish))) as (url, _):
            assert decide(ask(url)) is verdict


def test_a_reply_is_what_follows_the_thought() -> None:
    with picky(lambda _: (200, completion("<think>put the cup away?</think>open the drawer"))) as (url, _):
        assert opened(url).reply(["List tasks."]) == ["open the drawer"]
    with picky(lambda _: (200, completion("<think>put the cup away"))) as (url, _):
        assert opened(url).reply(["List tasks."]) == [""]


def test_a_model_that_is_shown_nothing_is_reported_once_and_never_remembered(caplog: pytest.LogCaptureFixture) -> None:
    with picky(lambda _: (200, completion("No, there is no image attached."))) as (url, asked), fallbacks.heard() as heard:
        model = opened(url)
        for _ in range(2):
            assert [decide(answer) for answer in model.answer(IMAGES[:2], ["Is it open?"] * 2)] == [None, None]
        assert len(asked) == 4, "asked again, since the set-up may be mended"
    assert len(heard) == 1
    assert "set-up is wrong" in heard[0].detail
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1
    with (
        picky(lambda _: (200, completion("I don't see any image."))) as (url, _),
        fallbacks.forbidden(),
        pytest.raises(ModelServerError, match="no picture"),
    ):
        ask(url)


def refuses(field: str, status: int, message: str, *, shape: str = "openai") -> Any:
    def reply(request: dict[str, Any]) -> tuple[int, Any]:
        if field in request:
            return status, {
                "openai": {"error": {"message": message, "type": "x"}},
                "detail": {"detail": message},
                "plain": {"message": message},
            }[shape]
        return 200, completion("Yes.", logprobs=tokens(("Yes", YES), (".", {})) if "logprobs" in request else None)

    return reply


@pytest.mark.parametrize(
    ("field", "status", "message", "shape"),
    [
        ("logprobs", 403, "You are not allowed to request logprobs from this model", "openai"),
        ("logprobs", 400, "This model does not support logprobs", "openai"),
        ("logprobs", 422, "Extra inputs are not permitted", "detail"),
        ("logprobs", 404, "No endpoints found that support logprobs", "plain"),
        ("logprobs", 501, "log_probs are not implemented", "plain"),
        ("logprobs", 200, "logprobs are not supported", "openai"),
        (
            "max_tokens",
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "openai",
        ),
        ("temperature", 400, "Unsupported value: 'temperature' does not support 0.0 with this model.", "openai"),
    ],
)
def test_a_field_that_a_server_refuses_costs_one_request_and_not_one_each_time(
    field: str, status: int, message: str, shape: str
) -> None:
    with picky(refuses(field, status, message, shape=shape)) as (url, asked):
        model = opened(url)
        for image in IMAGES[:3]:
            assert decide(model.answer([image], ["Is it open?"])[0]) is True
    assert [field in request for request in asked] == [True, False, False, False]
    if field == "max_tokens":
        assert all(request["max_completion_tokens"] == 256 for request in asked[1:])
        assert all("logprobs" in request for request in asked), "what is not refused is still asked for"


@pytest.mark.parametrize(
    ("message", "allowed"),
    [
        ("Invalid value for 'top_logprobs': must be less than or equal to 5.", 5),
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", 5),
        ("top_logprobs must be in range [0, 8]", 8),
        ("top_logprobs is too large", 5),
    ],
)
def test_fewer_alternatives_are_better_than_none(message: str, allowed: int) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, Any]:
        if request.get("top_logprobs", 0) > allowed:
            return 400, {"error": {"message": message}}
        return 200, completion("No", logprobs=tokens(("No", NO)))

    with picky(reply) as (url, asked):
        model = opened(url)
        assert [model.answer([image], ["Is it?"])[0].p_yes is None for image in IMAGES[:2]] == [False, False]
    assert [request["top_logprobs"] for request in asked] == [20, allowed, allowed]


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (401, {"error": {"message": "Incorrect API key"}}, "Put a valid key into the environment variable OPENAI_API_KEY"),
        (403, {"error": {"message": "Country not supported"}}, "Country not supported.*The server forbids it"),
        (400, {"error": {"message": "This model's maximum context length is 2048 tokens"}}, "2048 tokens.*answer_tokens"),
        (400, {"error": {"message": "m is not a multimodal model"}}, "not a multimodal model.*name a vision model"),
        (200, {"error": {"message": "the engine died", "code": 500}}, "the engine died"),
        (200, {"object": "error", "message": "out of memory"}, "out of memory"),
        (200, {"choices": [{"index": 0, "error": {"message": "provider is down"}}]}, "provider is down"),
    ],
)
def test_the_hint_follows_what_the_server_said(status: int, body: Any, hint: str) -> None:
    with picky(lambda _: (status, body)) as (url, _), pytest.raises(ModelServerError, match=hint) as raised:
        ask(url, when_away="stop")
    assert "Start the server" not in str(raised.value)


def test_an_error_in_a_stream_is_quoted() -> None:
    with (
        picky(lambda _: (200, [{"error": {"message": "the engine died"}}])) as (url, _),
        pytest.raises(ModelServerError, match="the engine died"),
    ):
        ask(url, when_away="stop", stream=True)


def test_this_machine_is_asked_without_a_proxy_and_a_proxy_is_named_when_it_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with picky(lambda _: (200, completion("Yes"))) as (url, _):
        assert decide(ask(url)) is True
    with pytest.raises(ModelServerError, match=r"Start the server.*HTTP_PROXY.*asked without it"):
        ask("http://127.0.0.1:9/v1", when_away="stop")
    with pytest.raises(ModelServerError, match=r"through the proxy that HTTP_PROXY.*NO_PROXY"):
        ask("http://192.0.2.1:9/v1", when_away="stop", timeout_s=5)


def test_answers_that_were_kept_under_other_rules_are_asked_for_again(tmp_path: Any) -> None:
    cache = str(tmp_path / "a.sqlite")
    with picky(lambda _: (200, completion("Okay, yes, it", finish="length"))) as (url, asked):
        first, again = (ask(url, cache=cache) for _ in range(2))
        assert len(asked) == 1
        ask(url, cache=cache, thought_marks=(("((", "))"),))
        assert len(asked) == 2
    assert first == again
    assert json.loads(json.dumps(first.unreadable)) == "it was cut off"
