"""Who may see and do what in the console: tokens with rights (`soar.fleet.tokens`), shown once and kept as a cookie.

    look       all that is asked for
    label      judge episodes and trials
    stop       orders to robots, and tasks off limits
    promote    bring the robots of a fleet another policy

    http://…/enter#TOKEN ─► the page sends the token ─► a cookie (HttpOnly, SameSite=Strict), made from the token by HMAC

What comes after # is sent to no server and to no other page. The cookie is a function of the token: a console that begins again
with the same token knows its pages. Programs send `Authorization: Bearer TOKEN` instead.

A request that changes something is a POST of JSON, from a page of this console (`Origin`), and not one of too many. What a page
may load is said by its content policy: this console's own scripts, styles and pictures, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from soar.fleet.tokens import Right, Tokens, refusal
from soar.serving.auth import BY, App, Auth, AuthConfig, Message, Receive, RequestRefusedError, Scope, Send

MAY = "soar.may"
"""Under this name a request's scope has the rights of whoever asks, and under `BY` who that is."""
ENTER, STATIC = "/enter", "/static/"
_BYTES = 2**16
_REQUESTS = 512
_SLOW_S = 30.0
_ENTRIES_A_MINUTE, _CHANGES_A_MINUTE = 20, 600
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]


def cookie_of(token: str) -> str:
    """Return the cookie of a token, from which nobody can tell the token."""
    return hmac.new(token.encode(), b"soar console", hashlib.sha256).hexdigest()


def cookie_name(scope: Scope) -> str:
    """Return the cookie's name, which tells consoles of one host apart: browsers share cookies between ports."""
    server = scope.get("server") or ("", 0)
    return f"soar-console-{server[1]}"


class Rate:
    """So many a minute, in which as many may come at once.

    Args:
        a_minute: How many.
        clock: Seconds, never going back.
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = a_minute, clock
        self._left, self._at_s, self._lock = float(a_minute), clock(), threading.Lock()

    def take(self) -> bool:
        """Whether one more may come."""
        with self._lock:
            now_s = self._clock()
            self._left, self._at_s = min(self._most, self._left + (now_s - self._at_s) * self._most / 60), now_s
            if self._left < 1:
                return False
            self._left -= 1
            return True


class Access(Auth):
    """An ASGI application in front of the console's.

    Args:
        app: The console.
        tokens: Who may come.
        clock: Seconds, never going back.
    """

    def __init__(self, app: App, tokens: Tokens, clock: Callable[[], float] = time.monotonic) -> None:
        config = AuthConfig(token=tokens.operator, bytes=_BYTES, requests=_REQUESTS, slow_s=_SLOW_S)
        super().__init__(app, config)
        self._tokens = tokens
        self._entries, self._changes = Rate(_ENTRIES_A_MINUTE, clock), Rate(_CHANGES_A_MINUTE, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; every answer says what pages may load."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                kept = [(b"cache-control", b"no-store")] if b"cache-control" not in names else []
                message = {**message, "headers": [*given, *_HEADERS, *kept]}
            await send(message)

        await super().__call__(scope, receive, guarded)

    def _check_token(self, scope: Scope) -> None:
        path, method = str(scope["path"]), str(scope["method"])
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        bearer = headers.get(b"authorization", "").removeprefix("Bearer ")
        changes = method not in ("GET", "HEAD")
        if changes:
            self._check_change(method, headers, path, by_program=bool(bearer))
        if path == ENTER or path.startswith(STATIC):
            return
        cookie = _cookie(headers, cookie_name(scope))
        whose = self._tokens.whose(is_token(bearer) if bearer else lambda token: is_token(cookie)(cookie_of(token)))
        if whose is None:
            if method == "GET" and "text/html" in headers.get(b"accept", ""):
                back = path + (f"?{scope['query_string'].decode('latin-1')}" if scope.get("query_string") else "")
                location = f"{ENTER}?to={quote(back, safe='')}".encode()
                raise RequestRefusedError(303, "a token is needed", [(b"location", location)])
            raise RequestRefusedError(401, "a token is needed: open the address that `soar console` shows")
        name, may = scope[BY], scope[MAY] = whose
        if not set(some := needed(method, path)) & set(may):
            raise RequestRefusedError(403, refusal(name, may, some[0]))

    def _check_change(self, method: str, headers: dict[bytes, str], path: str, *, by_program: bool) -> None:
        if method != "POST":
            raise RequestRefusedError(405, f"{method} is not known here", [(b"allow", b"GET, HEAD, POST")])
        origin, host = headers.get(b"origin"), headers.get(b"host", "")
        if origin not in (f"http://{host}", f"https://{host}") and not (origin is None and by_program):
            raise RequestRefusedError(403, "that comes from another site's page, or from none")
        if headers.get(b"sec-fetch-site", "same-origin") != "same-origin":
            raise RequestRefusedError(403, "that comes from another site's page")
        if headers.get(b"content-type", "").partition(";")[0].strip() != "application/json":
            raise RequestRefusedError(415, "what changes something is said as application/json")
        if not (self._entries if path == ENTER else self._changes).take():
            raise RequestRefusedError(429, "too many requests; wait a minute", [(b"retry-after", b"10")])


def is_token(given: str) -> Callable[[str], bool]:
    """Return whether a token is the given one, as a function that takes as long for any."""
    return lambda token: hmac.compare_digest(given.encode(), token.encode())


def needed(method: str, path: str) -> tuple[Right, ...]:
    """Return the rights of which a request takes one; which one an order takes is said in it (`soar.console.live_pages`)."""
    if method in ("GET", "HEAD"):
        return ("look",)
    return ("stop", "promote") if path.endswith("/orders") else ("label",)


def _cookie(headers: dict[bytes, str], name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get(b"cookie", "")).get(name)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
