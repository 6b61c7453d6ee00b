"""What every request must pass before anything reads it: the token, and limits on size, memory and time.

no token, or a wrong one           401        (/health alone needs none: it tells nothing but that it lives, and reads nothing)
longer than is allowed             413, as soon as that is known; a GET has no body
more memory than there is free     503 (`soar.serving.memory`); more than there is at all: 413
too many requests in flight        503
does not arrive within `slow_s`    408
whoever asked is gone              what was begun for it is given up

Where there may be several tokens (`AuthConfig.others`), none of them takes all places or all memory, and memory is booked for
what has come, not for what is announced: whoever has a token that may do little keeps nobody else out by being slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from soar.errors import ConfigError
from soar.remote.wire import TOKEN, values_in
from soar.serving.memory import Booking, Memory, NoRoomError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
HEALTH = "/health"
BY = "soar.by"
"""Under this name a request's scope says whose token it carried, where there are several; nothing for none."""
_SHORTEST_TOKEN = 16
_OTHERS, _OTHERS_MEMORY = 32, 0.25
"""Requests, and part of the memory, that one token's requests leave to others; of the requests half at most."""
_COPIES = 4
"""Of a request's bytes that exist at a time: as they came, as text, as the bytes of pictures."""
_PART_BYTES = 2**18
_AGAIN = [(b"retry-after", b"1")]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Who may ask, and how much.

    Attributes:
        token: That a request must carry as `Authorization: Bearer …`; None: anybody may ask.
        bytes: Longest request.
        total: Memory of all requests in flight [bytes].
        values: Of a request's JSON, about: commas and opening brackets.
        requests: That are answered at a time.
        others: Whether the requests of one token leave places and memory to those of others; there may be one token alone.
        slow_s: Longest time that a request may take to arrive.
    """

    token: str | None
    bytes: int
    total: int = 2**30
    values: int = 100_000
    requests: int = 128
    others: bool = True
    slow_s: float = 60.0

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii() or " " in self.token):
            raise ConfigError(
                f"a token is at least {_SHORTEST_TOKEN} ASCII characters without spaces; leave it out, and one is made"
            )

    @property
    def each(self) -> int:
        """Requests that are answered at a time of those that carry the same token."""
        return max(self.requests // 2, self.requests - _OTHERS) if self.others else self.requests

    @property
    def each_total(self) -> int:
        """Memory of the requests in flight that carry the same token [bytes]."""
        return int(self.total * (1 - _OTHERS_MEMORY)) if self.others else self.total


def choose_token() -> tuple[str, bool]:
    """Return the token of the environment variable SOAR_TOKEN or else a new one, and whether it is new."""
    given = os.environ.get(TOKEN, "")
    return (given, False) if given else (secrets.token_urlsafe(32), True)


class RequestRefusedError(Exception):
    """A request that nothing reads; answered with this status of HTTP."""

    def __init__(self, status: int, message: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.status, self.message, self.headers = status, message, headers or []


class Auth:
    """An ASGI application in front of another one."""

    def __init__(self, app: App, config: AuthConfig) -> None:
        self._app, self._config, self._requests = app, config, 0
        self._requests_of: Counter[str] = Counter()  # of each whose token they carry
        self.memory = Memory(config.total, config.each_total)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
        elif scope["path"] == HEALTH:
            await self._app(scope, _nothing, _closing(send))
        else:
            try:
                self._check_token(scope)
                self._check_places(who := str(scope.get(BY, "")))
            except RequestRefusedError as refused:
                await _refuse(send, refused)
                return
            self._requests, self._requests_of[who] = self._requests + 1, self._requests_of[who] + 1
            try:
                await self._answer(scope, receive, send)
            finally:
                self._requests, self._requests_of[who] = self._requests - 1, self._requests_of[who] - 1

    def _check_places(self, who: str) -> None:
        if self._requests >= self._config.requests:
            raise RequestRefusedError(503, f"{self._requests} requests are in flight; try again", _AGAIN)
        if (taken := self._requests_of[who]) >= self._config.each:
            raise RequestRefusedError(503, f"{taken} requests with this token are in flight; try again", _AGAIN)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.memory.booking(str(scope.get(BY, ""))) as booking:
            try:
                parts = await self._body(scope, receive, booking)
            except NoRoomError as error:
                await _refuse(send, RequestRefusedError(503 if error.ever else 413, str(error), _AGAIN if error.ever else []))
                return
            except RequestRefusedError as refused:
                await _refuse(send, refused)
                return
            await self._work(scope, parts, receive, send)

    async def _work(self, scope: Scope, parts: deque[bytearray], receive: Receive, send: Send) -> None:
        """Let the application answer; give it up when nobody waits for that any more."""
        finished = False

        async def replay() -> Message:
            if not parts:
                return await asyncio.shield(gone)
            return {"type": "http.request", "body": bytes(parts.popleft()), "more_body": bool(parts)}

        async def watched(message: Message) -> None:
            nonlocal finished
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        gone = asyncio.ensure_future(receive())
        work = asyncio.ensure_future(self._app(scope, replay, watched))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() or finished:
                await work
        finally:
            gone.cancel()
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await work

    def _check_token(self, scope: Scope) -> None:
        if self._config.token is None:
            return
        given = b"".join(value for name, value in scope["headers"] if name == b"authorization")
        if not hmac.compare_digest(given, b"Bearer " + self._config.token.encode()):
            raise RequestRefusedError(401, "a token is needed: Authorization: Bearer TOKEN")

    def _values(self, _scope: Scope) -> int:
        """Return how many values a request may have."""
        return self._config.values

    async def _body(self, scope: Scope, receive: Receive, booking: Booking) -> deque[bytearray]:
        """Return a request's body in parts, one at least: whoever needs it whole makes the only copy."""
        config = self._config
        without = scope["method"] in ("GET", "HEAD")
        longest = 0 if without else config.bytes
        too_long = RequestRefusedError(
            413, f"a {scope['method']} has no body" if without else f"a request may have {longest} bytes"
        )
        announced = booked = 0
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                if len(value) > 18 or int(value) > longest:
                    raise too_long
                announced = int(value)
        booking.check(announced * _COPIES)
        if not config.others:  # all trust each other: nobody is refused in the midst of a body
            booking.add(announced * _COPIES)
            booked = announced
        parts, length, values, plain, more = deque([bytearray()]), 0, 0, True, True
        try:
            async with asyncio.timeout(config.slow_s):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise RequestRefusedError(400, "the request was not complete")
                    part, more = message.get("body", b""), message.get("more_body", False)
                    length += len(part)
                    if length > longest:
                        raise too_long
                    if (missing := length - booked) > 0:
                        booking.add(missing * _COPIES)
                        booked += missing
                    if len(parts[-1]) >= _PART_BYTES:
                        parts.append(bytearray())
                    parts[-1] += part
                    values, plain = values + values_in(part), plain and part.isascii()
                    if values > self._values(scope):
                        raise RequestRefusedError(413, f"a request may have {self._values(scope)} values")
        except TimeoutError as error:
            raise RequestRefusedError(408, f"the request was not complete after {config.slow_s:g} s") from error
        if not plain:
            booking.add(length * _COPIES)  # one such character makes each of a text four bytes long
        return parts


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _closing(send: Send) -> Send:
    """Close the connection after the answer: there may be a body, which nobody reads."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return closing


async def _refuse(send: Send, refused: RequestRefusedError) -> None:
    content = json.dumps({"error": {"message": refused.message, "type": "refused"}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode()), *refused.headers]
    headers += [(b"www-authenticate", b"Bearer")] if refused.status == 401 else []
    closing = _closing(send)
    await closing({"type": "http.response.start", "status": refused.status, "headers": headers})
    await closing({"type": "http.response.body", "body": content})
