"""Any model behind an OpenAI-compatible endpoint: vLLM, SGLang, Ollama, llama.cpp, hosted services.

One question is one call; calls of a batch run side by side. The client of `openai` repeats what may be repeated (429, 5xx, time
out, lost connection), with back-off and jitter, and waits as long as Retry-After asks.

    what goes wrong                          what happens
    the same question was asked before       the answer that is on disk, no call
    still failing after all retries,         `when_away: undecided`: an answer without words, which is undecidable, so that the
    or an answer that is no answer           robot goes on (a random task, an unlabelled episode); `stop`: ModelServerError
    wrong key, unknown model, bad request    before the first answer ModelServerError: waiting would not help. Later the same as
                                             above: a server that worked and now refuses must not end a night's collection
    the cap on calls or tokens               BudgetError

While a server is away, calls are not repeated; the first that is answered ends that. Who listens (`soar.remote.fallbacks`) is
told once for each batch with unanswered questions.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
import simplejpeg
from openai.types.chat import ChatCompletion

from soar.errors import ConfigError, ModelServerError
from soar.remote.fallbacks import fell_back
from soar.remote.wire import plain
from soar.types import Image
from soar.vlm.base import Answer
from soar.vlm.probability import p_yes
from soar.vlm.response_cache import ResponseCache, digest

log = logging.getLogger(__name__)
YES_NO = "{question} Answer with one word, yes or no."
_LONGEST = 30_000
"""Characters after which an answer is cut off."""
_MOST_TOKENS = 10_000_000
"""That are believed of one call: one wrong number must not use up the cap for ever, nor overflow the cache."""
_TOP = 20
"""Alternatives of a token that are asked for; the most that hosted services give."""
_HOPELESS = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
    openai.BadRequestError,
    openai.UnprocessableEntityError,
)
_AWAY = (openai.OpenAIError, httpx2.HTTPError, ValueError)
"""What the client raises when there is no answer: connection, time, status, and bodies that are not JSON."""
_STRANGE = (TypeError, AttributeError, LookupError, RecursionError)
_GATEWAY = (502, 503, 504)
"""Nobody is there behind whoever answered."""
UNDECIDABLE = "undecidable"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIConfig:
    """One model of one endpoint; the content of a YAML file with `backend: openai`.

    Attributes:
        model: As the server calls it.
        base_url: Of the API, usually ending in /v1.
        api_key_env: Environment variable that holds the key; a local server needs none.
        timeout_s: Of one attempt.
        retries: Of one call.
        concurrency: Calls at a time, of this process.
        answer_tokens: Longest answer.
        logprobs: Ask for probabilities; a server that refuses is asked without.
        stream: Read answers while they are made, so that one that does not end is cut off.
        prompt: Of a yes/no question; `{question}` is replaced.
        jpeg_quality: Of the images, 1..100.
        extra: Further fields of every request.
        extra_yes_no: Further fields of a yes/no question, such as what makes a server answer from a list of choices; a model
            that lists tasks or writes questions must be free to say more.
        cache: File of answers and spending, see `soar.vlm.response_cache`; none by default.
        max_calls: Cap on calls of that file.
        max_tokens: Cap on tokens of that file.
        when_away: What an unreachable server means, see the module's docstring.
    """

    model: str
    base_url: str = "http://127.0.0.1:8000/v1"
    api_key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 60.0
    retries: int = 5
    concurrency: int = 8
    answer_tokens: int = 256
    logprobs: bool = True
    stream: bool = False
    prompt: str = YES_NO
    jpeg_quality: int = 92
    extra: dict[str, Any] = field(default_factory=dict)
    extra_yes_no: dict[str, Any] = field(default_factory=dict)
    cache: str | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    when_away: Literal["undecided", "stop"] = "undecided"

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url must begin with http:// or https://, got {self.base_url!r}")
        if "{question}" not in self.prompt:
            raise ConfigError(f"prompt must contain {{question}}, got {self.prompt!r}")
        if self.timeout_s <= 0 or self.retries < 0 or min(self.concurrency, self.answer_tokens) < 1:
            raise ConfigError("timeout_s, concurrency and answer_tokens must be positive, and retries not negative")
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality must be in 1..100, got {self.jpeg_quality}")


class OpenAIModel:
    """A `soar.vlm.base.VisionLanguageModel` and `LanguageModel` behind an OpenAI-compatible endpoint."""

    def __init__(self, config: OpenAIConfig) -> None:
        self.config = config
        self.cache = ResponseCache(
            None if config.cache is None else Path(config.cache), max_calls=config.max_calls, max_tokens=config.max_tokens
        )
        self._client = openai.OpenAI(
            base_url=config.base_url,
            api_key=os.environ.get(config.api_key_env) or "none",
            timeout=config.timeout_s,
            max_retries=config.retries,
        )
        self._plain = False
        self._answered = self._away = False

    @property
    def id(self) -> str:
        """`openai:` and the model's name."""
        return f"openai:{self.config.model}"

    def check(self) -> None:
        """Ask the server whether it is there, without a call that costs.

        Raises:
            ModelServerError: Nobody answers, or the key is wrong.
        """
        try:
            self._client.with_options(max_retries=0).models.list()
        except openai.NotFoundError:
            return  # a server without a list of models
        except openai.InternalServerError as error:
            if error.status_code in _GATEWAY:
                raise self._refusal(error) from error
            log.info("%s cannot list its models (%s)", self.config.base_url, _short(error))  # `transformers serve` offline
        except _AWAY as error:
            raise self._refusal(error) from error

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i; equal ones are asked once.

        Raises:
            ModelServerError: The server refuses, or is away and `when_away` is `stop`.
            BudgetError: A cap is reached.
        """
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images but {len(questions)} questions")
        prompts = [self.config.prompt.replace("{question}", question) for question in questions]
        return self._ask_all(prompts, images, yes_no=True)

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        """Reply to prompt i about image i; empty when the server is away. Errors as in `answer`."""
        return [answer.text for answer in self._ask_all(prompts, images or [None] * len(prompts), yes_no=False)]

    def _ask_all(self, prompts: Sequence[str], images: Sequence[Image | None], *, yes_no: bool) -> list[Answer]:
        kind = "yes/no" if yes_no else "text"
        extra = self._extra(yes_no=yes_no)
        common: tuple[str, ...] = (self.id, self.config.base_url, kind, str(self.config.answer_tokens))
        common += (json.dumps(extra, sort_keys=True, default=str),) if extra else ()  # it may decide what can be answered
        keys = [
            (*common, prompt, "" if image is None else digest(image)) for prompt, image in zip(prompts, images, strict=True)
        ]
        answers = {key: answer for key in set(keys) if (answer := self.cache.find(*key)) is not None}
        missing = {key: (key, prompt, image) for key, prompt, image in zip(keys, prompts, images, strict=True)}
        work = [item for key, item in missing.items() if key not in answers]
        if work:
            with ThreadPoolExecutor(max_workers=min(self.config.concurrency, len(work))) as pool:
                found = list(pool.map(lambda item: self._ask(*item, yes_no=yes_no), work))
            problems = [problem for _, problem in found if problem]
            self._away = bool(problems)
            if problems:
                fell_back(self.id, UNDECIDABLE, f"{len(problems)} of {len(work)} questions without an answer; {problems[0]}")
            answers.update(zip([key for key, _, _ in work], [answer for answer, _ in found], strict=True))
        return [answers[key] for key in keys]

    def _ask(self, key: tuple[str, ...], prompt: str, image: Image | None, *, yes_no: bool) -> tuple[Answer, str]:
        """Return an answer, and why it is none; empty when it is one."""
        self.cache.book()
        try:
            answer = self._call(prompt, image, yes_no=yes_no)
        except _AWAY as error:
            if self.config.when_away == "stop" or (isinstance(error, _HOPELESS) and not self._answered):
                raise self._refusal(error) from error
            return Answer(text=""), f"{type(error).__name__}: {_short(error)}"
        self._answered = True
        self.cache.keep(answer, *key)
        return answer, ""

    def _call(self, prompt: str, image: Image | None, *, yes_no: bool) -> Answer:
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        if image is not None:
            content.insert(0, {"type": "image_url", "image_url": {"url": data_url(image, self.config.jpeg_quality)}})
        request: dict[str, Any] = {
            "model": self.config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.config.answer_tokens,
            "temperature": 0.0,
            "stream": self.config.stream,
        }
        wishes: dict[str, Any] = {"logprobs": True, "top_logprobs": _TOP} if yes_no and self.config.logprobs else {}
        if self.config.stream:
            wishes["stream_options"] = {"include_usage": True}
        if not wishes or self._plain:
            return self._send(request, yes_no=yes_no)
        try:
            return self._send(request | wishes, yes_no=yes_no)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            answer = self._send(request, yes_no=yes_no)  # when this is refused too, it was something else
            log.warning("%s refuses %s; it is asked without from now on", self.id, ", ".join(wishes))
            self._plain = True
            return answer

    def _send(self, request: dict[str, Any], *, yes_no: bool) -> Answer:
        client = self._client.with_options(max_retries=0) if self._away else self._client
        create: Callable[..., Any] = client.chat.completions.create
        try:
            response = create(**request, extra_body=self._extra(yes_no=yes_no) or None)
            text, tokens, spent = self._read_stream(response) if self.config.stream else _read(response)
        except _STRANGE as error:
            # The client believes what a server sends; one that sends something else makes it stumble anywhere.
            raise ValueError(f"this is not a chat completion ({type(error).__name__}: {_short(error)})") from error
        self.cache.add_tokens(spent)
        text = plain(text, _LONGEST)
        return Answer(text=text, p_yes=p_yes(text, tokens) if yes_no else None)

    def _extra(self, *, yes_no: bool) -> dict[str, Any]:
        return self.config.extra | (self.config.extra_yes_no if yes_no else {})

    def _read_stream(self, chunks: Any) -> tuple[str, list[Any], int]:
        """Return text, log-probabilities by token, and tokens spent; cuts off what is too long or takes too long."""
        text, spent = "", 0
        tokens: list[Any] = []
        deadline = time.monotonic() + self.config.timeout_s
        with chunks:
            for chunk in chunks:
                for choice in chunk.choices or ():
                    text += choice.delta.content or ""
                    tokens += list((choice.logprobs and choice.logprobs.content) or ())
                spent = _total(chunk.usage) or spent
                if time.monotonic() > deadline:
                    raise openai.OpenAIError(f"the answer was not complete after {self.config.timeout_s:g} s")
                if len(text) > _LONGEST:
                    break
        if not (text or spent):
            raise ValueError("the stream held no answer")
        return text, tokens, spent

    def _refusal(self, error: Exception) -> ModelServerError:
        hint = (
            f"Put a valid key into the environment variable {self.config.api_key_env}."
            if isinstance(error, (openai.AuthenticationError, openai.PermissionDeniedError))
            else "Check `model`, `extra` and `extra_yes_no`."
            if isinstance(error, _HOPELESS)
            else "Start the server, or correct `base_url`, then run the same command again."
        )
        return ModelServerError(f"{self.config.model} at {self.config.base_url}: {_short(error)}. {hint}")


def data_url(image_HWC: Image, quality: int) -> str:
    """Return an image as a JPEG in a URL."""
    jpeg = simplejpeg.encode_jpeg(image_HWC.copy(order="C"), quality=quality, colorspace="RGB", colorsubsampling="444")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _read(response: Any) -> tuple[str, list[Any], int]:
    """Return text, log-probabilities by token, and tokens spent of a whole answer.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(response, ChatCompletion) or not response.choices:
        raise ValueError(f"this is not a chat completion: {str(response)[:80]!r}")
    choice = response.choices[0]
    text = getattr(getattr(choice, "message", None), "content", None)
    if not isinstance(text, str):
        raise ValueError("the answer has no text")
    logprobs = getattr(choice, "logprobs", None)
    return text, list(getattr(logprobs, "content", None) or []), _total(getattr(response, "usage", None))


def _total(usage: Any) -> int:
    total = getattr(usage, "total_tokens", 0)
    return min(total, _MOST_TOKENS) if isinstance(total, int) and total > 0 else 0


def _short(error: Exception) -> str:
    text = str(error)
    if isinstance(error, openai.APIStatusError) and error.body and " - " not in text:
        # The client repeats only what stands where OpenAI puts it; FastAPI's servers say `detail`.
        said = error.body.get("detail", error.body) if isinstance(error.body, dict) else error.body
        text += f" - {said}"
    return " ".join(text.split())[:300].rstrip(".")
