"""What stands in a chat completion, whole or streamed: the words, the thought, the tokens, and why it ended.

Servers say the same thing in several ways, and some say an error in a 200. Nothing is believed: what is not there, or is of
another kind, counts as absent.

    words      `content`: a text, or a list of parts; `delta.content` of a stream
    thought    `reasoning_content` or `reasoning` beside it, or parts of the kind `thinking`
    tokens     `logprobs.content`: token, bytes, top_logprobs
    end        `finish_reason`
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat import ChatCompletion

from soar.vlm.answer_parsing import is_whole
from soar.vlm.token_probability import Token

MOST_TOKENS = 10_000_000
"""That are believed of one call: one wrong number must not use up the cap for ever, nor overflow the cache."""
_THOUGHTS = ("reasoning_content", "reasoning")


class ServerSaidError(ValueError):
    """An error in the body of an answer whose status says that all is well."""


@dataclass(slots=True, kw_only=True)
class Said:
    """What a server said so far.

    Attributes:
        text: The words.
        thought: What the model thought before, where the server tells it apart.
        tokens: With alternatives, as far as the server sends them.
        finish: Why it ended; None when that is not known.
        spent: Tokens, those of the prompt included.
        made: Tokens of words and thought.
        refusal: Why the model does not answer, in a field of its own.
    """

    text: str = ""
    thought: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None
    spent: int = 0
    made: int = 0
    refusal: str = ""

    def add(self, message: Any, choice: Any) -> None:
        """Add a message or the next piece of one."""
        content = getattr(message, "content", None)
        text, thought = _parts(content)
        self.text += text
        self.thought += thought or next(
            (x for name in _THOUGHTS if isinstance(x := getattr(message, name, None), str) and x), ""
        )
        refusal = getattr(message, "refusal", None)
        self.refusal += refusal if isinstance(refusal, str) else ""
        self.tokens += _tokens(getattr(getattr(choice, "logprobs", None), "content", None))
        finish = getattr(choice, "finish_reason", None)
        self.finish = finish if isinstance(finish, str) else self.finish

    def count(self, usage: Any) -> None:
        """Note what was spent."""
        self.spent = _count(usage, "total_tokens") or self.spent
        self.made = _count(usage, "completion_tokens") or self.made


def read_completion(response: Any) -> Said:
    """Return what a whole answer says.

    Raises:
        ServerSaidError: It is an error.
        ValueError: It is no chat completion.
    """
    choices = getattr(response, "choices", None) if isinstance(response, ChatCompletion) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if error := error_in(choice) or error_in(response):
        raise ServerSaidError(error)
    if choice is None:
        raise ValueError(f"this is not a chat completion: {str(response)[:80]!r}")
    said = Said()
    message = getattr(choice, "message", None)
    said.add(message, choice)
    said.count(getattr(response, "usage", None))
    worded = isinstance(getattr(message, "content", None), (str, list))
    if not (worded or said.thought or said.refusal or not is_whole(said.finish)):
        raise ValueError("the answer has no text")
    return said


def error_in(value: Any) -> str:
    """Return the error that a server put where an answer belongs; empty when there is none."""
    for name in ("error", "detail"):
        found = getattr(value, name, None)
        if isinstance(found, dict):
            found = found.get("message") or found.get("detail") or found.get("error") or found
        if found and isinstance(found, (str, dict, list)):
            return str(found)
    if getattr(value, "object", None) == "error" and isinstance(getattr(value, "message", None), str):
        return str(value.message)
    return ""


def _parts(content: Any) -> tuple[str, str]:
    """Return words and thought of a content: a text, or a list of parts."""
    if isinstance(content, str):
        return content, ""
    text = thought = ""
    for item in content if isinstance(content, list) else ():
        part = item if isinstance(item, dict) else getattr(item, "__dict__", {})
        if isinstance(part.get("text"), str) and part.get("type", "text") in ("text", "output_text"):
            text += part["text"]
        elif part.get("type") in ("thinking", "reasoning"):
            inner = part.get("thinking") or part.get("reasoning") or part.get("text")
            thought += "".join(_parts(inner)) if isinstance(inner, (str, list)) else ""
    return text, thought


def _tokens(content: Any) -> list[Token]:
    """Return tokens with their alternatives; what is no token makes all of them worthless, since their texts must add up."""
    try:
        return [_token(item) for item in content or ()]
    except (AttributeError, TypeError, ValueError):
        return []


def _token(item: Any) -> Token:
    alternatives: Iterable[Any] = getattr(item, "top_logprobs", None) or ()
    return Token(text=_text(item), alternatives=tuple((_text(other), _number(other.logprob)) for other in alternatives))


def _text(item: Any) -> str:
    """Return a token's text; half a character is � in it, so that the texts may not add up."""
    if not isinstance(item.token, str):
        raise TypeError("a token is a text")
    return item.token


def _number(value: Any) -> float:
    """Return a log-probability; NaN for what is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300 else math.nan


def _count(usage: Any, name: str) -> int:
    total = getattr(usage, name, 0)
    return min(total, MOST_TOKENS) if type(total) is int and total > 0 else 0
