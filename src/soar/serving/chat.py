"""POST /v1/chat/completions: a vision-language model speaks the protocol that vLLM and hosted services speak.

`backend: openai` is its client, and so is any other. One question about at most one image is one request; those that come at
about the same time are one batch. What is understood of a request: the last user message, `logprobs`, `stream`. A yes/no
question is recognised by the words that our client adds to it, or by the wish for probabilities; a model that only knows yes
and no takes everything for one.
"""

from __future__ import annotations

import json
import math
import re
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from soar.remote.wire import Picture, WireError, open_url
from soar.serving.application import ServiceConfig, new_application, parsed
from soar.serving.batching import Batcher
from soar.serving.memory import aside, book
from soar.types import Image
from soar.vlm.answer_parsing import decide, yes_or_no
from soar.vlm.base import Answer, LanguageModel, VisionLanguageModel
from soar.vlm.token_probability import side

KIND = "vlm"
SUFFIX = " Answer with one word, yes or no."
"""What our client puts behind a question, and the model puts there itself if it needs it."""
_LONGEST = 20_000
_LEAST = 1e-9
_FIRST = re.compile(r"[^\W\d_]+")


class ChatRequest(BaseModel):
    """A chat, as far as it is looked at; clients send more."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=100)
    logprobs: bool | None = None
    stream: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        text: The question, without `SUFFIX`.
        image: About which; None for none.
        yes_no: Whether yes or no is wanted.
    """

    text: str
    image: Image | None
    yes_no: bool


def chat_application(vlm: VisionLanguageModel, config: ServiceConfig) -> FastAPI:
    """Return the application that serves a vision-language model."""

    def answer(questions: list[Question]) -> Sequence[Answer]:
        return answer_all(vlm, questions)

    batcher = Batcher(answer, config.batch)
    app = new_application(KIND, vlm.id, batcher, {})

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": vlm.id, "object": "model", "created": 0, "owned_by": "soar"}]}

    @app.post("/v1/chat/completions", response_model=None)
    async def chat(request: Request) -> dict[str, Any] | StreamingResponse:
        body = await request.body()
        wishes, asked, picture = await aside(lambda: read_question(body, config))
        image = None
        if picture is not None:
            book(picture.bytes)
            image = await aside(picture)
        (answer,) = await batcher([replace(asked, image=image)])
        whole = completion(vlm.id, answer, logprobs=bool(wishes.logprobs) and asked.yes_no)
        if not wishes.stream:
            return whole
        return StreamingResponse(_chunks(whole), media_type="text/event-stream")

    return app


def read_question(body: bytes, config: ServiceConfig) -> tuple[ChatRequest, Question, Picture | None]:
    """Return a chat, what it asks, and the picture that it asks about, which is not decoded yet.

    Raises:
        WireError: There is no text, more than one image, or something that cannot be read.
    """
    request = parsed(body, ChatRequest)
    asked = [message for message in request.messages if message.get("role") == "user"]
    if not asked:
        raise WireError("a chat needs a message of the role user")
    content = asked[-1].get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise WireError("the content of a message is a text, or a list of parts")
    texts = [part.get("text") for part in parts if part.get("type") == "text"]
    urls = [part.get("image_url") for part in parts if part.get("type") == "image_url"]
    text = "\n".join(text for text in texts if isinstance(text, str)).strip()
    if not text or len(text) > _LONGEST:
        raise WireError(f"a question has between 1 and {_LONGEST} characters")
    if len(urls) > 1:
        raise WireError(f"a question is about one image, got {len(urls)}")
    picture = None
    if urls:
        url = urls[0].get("url") if isinstance(urls[0], dict) else urls[0]
        picture = open_url(url, config.limits)
    bare = text.removesuffix(SUFFIX.strip()).strip()
    return request, Question(text=bare or text, image=None, yes_no=bool(request.logprobs) or bare != text), picture


def answer_all(vlm: VisionLanguageModel, questions: Sequence[Question]) -> list[Answer]:
    """Answer a batch: yes/no questions together, others together, with and without images apart."""
    answers: dict[int, Answer] = {}
    talks = isinstance(vlm, LanguageModel)
    yes_no = [i for i, question in enumerate(questions) if question.yes_no or not talks]
    if yes_no:
        # A yes/no question without an image gets a black one: the protocol has no place for none.
        images = [_shown(questions[i].image) for i in yes_no]
        answers |= zip(yes_no, vlm.answer(images, [questions[i].text for i in yes_no]), strict=True)
    for seen in (True, False):
        rest = [i for i, question in enumerate(questions) if i not in yes_no and (question.image is not None) is seen]
        if rest and isinstance(vlm, LanguageModel):
            pictures = [questions[i].image for i in rest] if seen else None
            replies = vlm.reply([questions[i].text for i in rest], pictures)
            answers |= {i: Answer(text=reply) for i, reply in zip(rest, replies, strict=True)}
    return [answers[i] for i in range(len(questions))]


def completion(model: str, answer: Answer, *, logprobs: bool) -> dict[str, Any]:
    """Return an answer as a chat completion; its probability of yes as the log-probabilities of its first word.

    A model whose words and probability disagree answers by its probability: who reads words must not hear the opposite.
    """
    text, content = answer.text, None
    if logprobs and answer.p_yes is not None and not math.isnan(answer.p_yes):
        means = decide(answer)
        if yes_or_no(text) is not means or (first := _FIRST.search(text)) is None or side(first[0]) is not means:
            text = "yes" if means else "no"
        before, word, after = re.split(f"({_FIRST.pattern})", text, maxsplit=1)
        log = {"yes": math.log(max(answer.p_yes, _LEAST)), "no": math.log(max(1 - answer.p_yes, _LEAST))}
        top = [_token(token, value, []) for token, value in log.items()]
        pieces = [_token(before, 0.0, []), _token(word, max(log.values()), top), _token(after, 0.0, [])]
        content = {"content": [piece for piece in pieces if piece["token"]]}
    message = {"role": "assistant", "content": text}
    finish = "length" if answer.unreadable else "stop"
    choice = {"index": 0, "finish_reason": finish, "message": message, "logprobs": content}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [choice],
    }


def _token(text: str, log_probability: float, alternatives: list[dict[str, Any]]) -> dict[str, Any]:
    return {"token": text, "logprob": log_probability, "bytes": list(text.encode()), "top_logprobs": alternatives}


async def _chunks(whole: dict[str, Any]) -> AsyncIterator[str]:
    (choice,) = whole["choices"]
    base = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    first = {"index": 0, "delta": choice["message"], "logprobs": choice["logprobs"], "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    for part in (first, last):
        yield f"data: {json.dumps({**base, 'choices': [part]})}\n\n"
    yield "data: [DONE]\n\n"


def _shown(image: Image | None) -> Image:
    return np.zeros((64, 64, 3), np.uint8) if image is None else image
