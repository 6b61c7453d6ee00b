"""What every request must pass before anything reads it: the token, and the limit on its size.

no token, or a wrong one           401        (/health alone needs none, and tells nothing but that it lives)
longer than is allowed             413, as soon as that is known
does not arrive within `slow_s`    408
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from soar.errors import ConfigError
from soar.remote.wire import TOKEN

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
HEALTH = "/health"
_SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Who may ask, and how much.

    Attributes:
        token: That a request must carry as `Authorization: Bearer …`; None: anybody may ask.
        bytes: Longest request.
        slow_s: Longest time that a request may take to arrive.
    """

    token: str | None
    bytes: int
    slow_s: float = 60.0

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < _SHORTEST_TOKEN or not self.token.isascii() or " " in self.token):
            raise ConfigError(
                f"a token is at least {_SHORTEST_TOKEN} ASCII characters without spaces; leave it out, and one is made"
            )


def choose_token() -> tuple[str, bool]:
    """Return the token of the environment variable SOAR_TOKEN or else a new one, and whether it is new."""
    given = os.environ.get(TOKEN, "")
    return (given, False) if given else (secrets.token_urlsafe(32), True)


class RequestRefusedError(Exception):
    """A request that nothing reads; answered with this status of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message


class Auth:
    """An ASGI application in front of another one."""

    def __init__(self, app: App, config: AuthConfig) -> None:
        self._app, self._config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        try:
            if scope["path"] != HEALTH:
                self._check_token(scope)
            body = await self._body(scope, receive)
        except RequestRefusedError as refused:
            await _refuse(send, refused)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    def _check_token(self, scope: Scope) -> None:
        if self._config.token is None:
            return
        given = b"".join(value for name, value in scope["headers"] if name == b"authorization")
        if not hmac.compare_digest(given, b"Bearer " + self._config.token.encode()):
            raise RequestRefusedError(401, "a token is needed: Authorization: Bearer TOKEN")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        too_long = RequestRefusedError(413, f"a request may have {self._config.bytes} bytes")
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > self._config.bytes):
                raise too_long
        body = bytearray()
        try:
            async with asyncio.timeout(self._config.slow_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise RequestRefusedError(400, "the request was not complete")
                    body += message.get("body", b"")
                    if len(body) > self._config.bytes:
                        raise too_long
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError as error:
            raise RequestRefusedError(408, f"the request was not complete after {self._config.slow_s:g} s") from error


async def _refuse(send: Send, refused: RequestRefusedError) -> None:
    content = json.dumps({"error": {"message": refused.message, "type": "refused"}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    headers += [(b"connection", b"close")] if refused.status != 401 else [(b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
