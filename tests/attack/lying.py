"""Replies that no honest server gives, and requests that no honest client makes: seeded, and mostly almost right."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from soar.remote.wire import pack

from .hostile_server import dripped_body, dripped_headers, endless_103, many_headers, many_values, whole

Rng = np.random.Generator
IMAGE = np.full((16, 16, 3), 77, np.uint8)
STATE = [0.27, 0.0, 0.12, 0.0, 0.0, 0.0, 1.0]
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**63, 10**400, 1e308, -1e-320, math.nan, math.inf, -math.inf, "", "yes", "no", "0" * 5000),
    *("\x1b[31mred\x1b]0;title\x07", "\ud800", "\u202eno", "../../etc/passwd", "http://169.254.169.254/", [], {}, [[]], [None]),
    *({"a": 1}, [1e9] * 7, [0.01] * 7, {"png": "AAAA"}, {"raw": "AAAA", "shape": [1, 1, 3]}, [[[math.nan] * 7]], "A" * 100_000),
)
STATUSES = ("200 OK", "201 Created", "204 No Content", "302 Found", "307 Temporary Redirect", "400 Bad Request", "401 No")
STATUSES += ("404 Not Found", "418 Teapot", "429 Slow", "500 Error", "502 Bad Gateway", "503 Busy", "599 \x1b[31m", "999 What")
SLOW: tuple[Callable[[], Iterator[bytes]], ...] = (dripped_headers, endless_103, dripped_body)


def pick(rng: Rng, values: Any) -> Any:
    """One of them."""
    return values[int(rng.integers(len(values)))]


def changed(rng: Rng, value: Any) -> Any:
    """A value with something in it replaced, left out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = pick(rng, sorted(value))
        if rng.random() < 0.15:
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, key: changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = int(rng.integers(len(value)))
        if rng.random() < 0.2:
            return value[:index] + value[index:] * 2
        return [*value[:index], changed(rng, value[index]), *value[index + 1 :]]
    return pick(rng, ODD)


def damaged(rng: Rng, data: bytes) -> bytes:
    """Bytes of which some are others, missing, or there twice."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place, length = int(rng.integers(0, max(len(found), 1))), int(rng.integers(1, 30))
        match int(rng.integers(4)):
            case 0:
                found[place : place + length] = rng.bytes(length)
            case 1:
                del found[place : place + length]
            case 2:
                found[place:place] = found[place : place + length]
            case _:
                del found[place:]
    return bytes(found)


def text_of(value: Any) -> bytes:
    """JSON, or what looks like it."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def reply(rng: Rng, honest: Any, elsewhere: str) -> Iterator[bytes]:
    """What a lying server sends in place of an honest answer.

    Args:
        rng: Of this reply.
        honest: The answer that would be right.
        elsewhere: An address to redirect to.
    """
    data = text_of(honest)
    kind = rng.random()
    if kind < 0.25:
        yield whole(data)
    elif kind < 0.65:
        yield whole(text_of(changed(rng, honest)))
    elif kind < 0.75:
        yield whole(damaged(rng, data))
    elif kind < 0.83:
        yield whole(data, f"Location: {elsewhere}/v1/x", "Retry-After: 0.001", status=pick(rng, STATUSES))
    elif kind < 0.93:
        yield damaged(rng, whole(data, "Retry-After: nan", "Content-Encoding: identity"))
        raise ConnectionError  # the rest does not come
    elif kind < 0.985:
        yield from pick(rng, (many_values, many_headers))()
    else:
        yield from pick(rng, SLOW)()


def policy_request() -> dict[str, Any]:
    """What `/v1/actions` takes."""
    return {"items": [{"image": pack(IMAGE), "state": STATE, "goal": pack(IMAGE), "plan_index": 0}]}


_PATHS = ("/v1/actions",) * 12 + ("/v1/model", "/health", "/", "/docs", "/../etc/passwd", "/v1/actions?" + "a" * 9000)
_LENGTHS = ("Transfer-Encoding: chunked", "X: y", "Content-Length: -1", "Content-Length: 1, 2")
_FURTHER = ("Connection: close", "Expect: 100-continue", "Content-Encoding: gzip", "Cookie: a=b", "X-Forwarded-For: ::1")


def request(rng: Rng, token: str) -> tuple[bytes, bool]:
    """What a hostile client sends to a policy's server, and whether that may not be all of it."""
    body = policy_request()
    kind = rng.random()
    data = text_of(body if kind < 0.1 else changed(rng, body))
    data = damaged(rng, data) if 0.5 < kind < 0.65 else data
    path, method = pick(rng, _PATHS), pick(rng, ("POST",) * 9 + ("GET", "PUT", "BREW"))
    given = token if rng.random() < 0.85 else pick(rng, ("", "x", token + "x", token[:-1], "\xff" * 20))
    length = len(data) if rng.random() < 0.9 else int(rng.integers(0, 2 * len(data) + 1))
    size = f"Content-Length: {length}" if rng.random() < 0.92 else pick(rng, _LENGTHS)
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {given}", size, pick(rng, _FURTHER), "", ""]
    sent = "\r\n".join(lines).encode("latin-1") + data
    if kind > 0.85:
        return damaged(rng, sent), True
    return sent, length > len(data) or size in _LENGTHS
