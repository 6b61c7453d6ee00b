"""Which fields a server takes, learned from what it refuses; and what to do about an error, from what the server said.

    the server says something about …           it is asked again
    max_tokens that it does not know            with max_completion_tokens
    top_logprobs, and how many are allowed      with as many; with 5 when it does not say how many
    log-probabilities, whatever the status      without
    temperature, stream_options                 without
    nothing of these, but 400 or 422            without log-probabilities and stream_options, once

What worked is asked for from then on, so that a refusal costs one request and not one each time.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Any

import openai

from soar.remote.wire import is_loopback
from soar.vlm.completions import ServerSaidError

TOP = 20
"""Alternatives of a token that are asked for first; the most that hosted services give."""
_FEW = 5
"""What servers with a smaller limit mostly allow."""
_LIMIT = re.compile(r"less|most|max|exceed|range|between|greater|larger?|limit|up to|allowed|<|≤|at most|smaller")
_UNKNOWN = re.compile(
    r"unsupported|not supported|unrecogni[sz]ed|unknown|unexpected|extra|deprecated|instead|not permitted|invalid param"
)
_FORBIDDEN = re.compile(r"not (?:\w+ )?(?:allowed|supported|available|permitted|enabled|implemented|support)|unsupported")
_COUNT = re.compile(r"(?<![\w.-])(\d{1,2})(?![\w-]|\.\d)")
_KEY = "Put a valid key into the environment variable {key}."
_ADVICE: tuple[tuple[tuple[int, ...], str, str], ...] = (
    ((401,), "", _KEY),
    (
        tuple(range(300, 400)),
        "",
        "It sends requests on to another address, which is not followed: they carry pictures and the key. Correct `base_url`.",
    ),
    ((), r"log[_ ]?prob", "Set `logprobs: false`."),
    (
        (),
        r"context (?:length|window)|too many tokens|max_(?:completion_)?tokens|maximum context|input is too long",
        "Change `answer_tokens`, or let the server take longer prompts: an image can be thousands of tokens.",
    ),
    (
        (),
        r"(?:does not|doesn't|not) (?:support|accept|a)\b.{0,40}(?:image|vision|multimodal)|image.{0,40}not supported",
        "This model takes no pictures, or the server does not pass them on: name a vision model.",
    ),
    (
        (),
        r"\b(?:one|single|only|at most|up to|max(?:imum)?(?: of)?)\b[^.]{0,30}\bimages?\b|(?:multiple|several|many) images",
        "This server takes fewer pictures a question: raise its limit (vLLM: --limit-mm-per-prompt), or let the judge see one "
        "picture a question (last, changed, twice:N, looks:N, rise:N).",
    ),
    ((), r"quota|billing|credit|balance|payment", "The account must be topped up; the key itself is right."),
    ((402,), "", "The account must be topped up; the key itself is right."),
    ((413,), "", "The picture is too large for this server: lower `jpeg_quality`, or raise its limit."),
    ((403,), r"api.?key|token|credential|authenti", _KEY),
    ((403,), "", "The server forbids it, and says why; perhaps the key in {key} may not use this model."),
    ((404,), r"model", "Check `model`, and whether `base_url` ends as the server wants it, mostly in /v1."),
    ((404,), "", "Check `base_url`, which mostly ends in /v1, and `model`."),
)
"""By status and by what the server says, in this order."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_HOPELESS = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
    openai.BadRequestError,
    openai.UnprocessableEntityError,
    ServerSaidError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Fields that a server takes.

    Attributes:
        limit: What it calls the longest answer.
        top: Alternatives of each token; 0: no log-probabilities.
        usage: Whether a stream is asked for what it costs.
        temperature: Whether the temperature is sent.
    """

    limit: str = "max_tokens"
    top: int = TOP
    usage: bool = True
    temperature: bool = True

    def fields(self, answer_tokens: int, *, logprobs: bool, stream: bool) -> dict[str, Any]:
        """Return the fields of a request that not all servers take."""
        fields: dict[str, Any] = {self.limit: answer_tokens}
        if self.temperature:
            fields["temperature"] = 0.0
        if logprobs and self.top:
            fields |= {"logprobs": True, "top_logprobs": self.top}
        if stream and self.usage:
            fields["stream_options"] = {"include_usage": True}
        return fields

    def without(self, error: Exception, *, logprobs: bool, stream: bool) -> Dialect | None:
        """Return what to try after an error; None when something else is wrong."""
        said, status = quoted(error).lower(), getattr(error, "status_code", 200)
        asks_top, asks_usage = logprobs and self.top > 0, stream and self.usage
        unknown_limit = "max_completion_tokens" in said or ("max_tokens" in said and _UNKNOWN.search(said) is not None)
        changes: dict[str, Any] = {}
        if status in (401, 429):
            pass
        elif self.limit == "max_tokens" and unknown_limit and "logprob" not in said:
            changes = {"limit": "max_completion_tokens"}
        elif asks_top and re.search(r"log[_ ]?prob|top_n_tokens", said):
            changes = {"top": self._fewer(said)}
        elif self.temperature and "temperature" in said:
            changes = {"temperature": False}
        elif asks_usage and re.search("stream_options|include_usage", said):
            changes = {"usage": False}
        elif status in (400, 422) and (asks_top or asks_usage):
            changes = {"top": 0, "usage": False}
        return replace(self, **changes) if changes else None

    def _fewer(self, said: str) -> int:
        allowed = [count for text in _COUNT.findall(said) if 0 < (count := int(text)) < self.top]
        if not _LIMIT.search(said) or (not allowed and _FORBIDDEN.search(said)):
            return 0
        return max(allowed) if allowed else _FEW if self.top > _FEW else 0


def hopeless(error: Exception) -> bool:
    """Whether waiting does not help."""
    return isinstance(error, _HOPELESS) or 300 <= getattr(error, "status_code", 0) < 400


def quoted(error: Exception) -> str:
    """Return what a server said, in its own words; empty when it said nothing."""
    if isinstance(error, ServerSaidError):
        return " ".join(str(error).split())[:300]
    if not isinstance(error, openai.APIError):
        return ""
    body = error.body
    if isinstance(body, dict):
        # OpenAI says `message`, FastAPI's servers `detail`, others `error`.
        body = next((body[name] for name in ("message", "detail", "error", "error_msg") if body.get(name)), body)
    return " ".join(str(body or error.message).split())[:300]


def short(error: Exception) -> str:
    """Return an error in one line."""
    text = str(error)
    if isinstance(error, openai.APIStatusError) and error.body and " - " not in text:
        text += f" - {quoted(error)}"
    if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None and str(error.__cause__):
        text = f"{text.rstrip('.')}: {error.__cause__}"
    return " ".join(text.split())[:300].rstrip(".")


def hint(error: Exception, *, key: str, url: str) -> str:
    """Return what to do about an error: from the server's words first, else from its status.

    Args:
        error: What was raised.
        key: Environment variable of the key.
        url: The server's address.
    """
    said, status = quoted(error).lower(), getattr(error, "status_code", None)
    for statuses, words, advice in _ADVICE:
        if (not statuses or status in statuses) and re.search(words, said):
            return advice.format(key=key)
    if hopeless(error):
        return "Check `model`, `extra` and `extra_yes_no`."
    return "Start the server, or correct `base_url`, then run the same command again." + _proxy_hint(url)


def proxies() -> tuple[str, ...]:
    """Return the environment variables that name a proxy."""
    return tuple(name for name in _PROXIES if os.environ.get(name))


def _proxy_hint(url: str) -> str:
    if not (names := proxies()):
        return ""
    if is_loopback(url):
        return f" ({', '.join(names)} names a proxy; this machine's own addresses are asked without it.)"
    return f" It was asked through the proxy that {', '.join(names)} names; NO_PROXY lists hosts that are asked without one."
