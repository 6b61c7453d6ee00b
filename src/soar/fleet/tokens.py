"""Who may do what: a token each, and its rights, in a file that its owner alone can read; for a fleet, and for its console.

    ann:     {token: …, may: [look, stop, promote]}
    bob:     {token: …, may: [look, label]}
    bench-2: {token: …, may: [drive]}
    wall:    {token: …, may: [look]}

    right      at the coordinator                                  in the console
    look       status and metrics                                  all pages
    label      nothing: it knows no labels                         judge episodes and trials
    drive      what a robot's process says and asks                nothing
    stop       pause, resume and stop; agree that a robot may      the same; stop arms, and set tasks off limits
               move again
    promote    deploy a policy                                     the same

The operator may do all: whose token is in SOAR_TOKEN or in RUN/token, and for the console in SOAR_CONSOLE_TOKEN. The journal
says who gave an order.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError
from soar.serving.auth import BY, App, Auth, AuthConfig, Receive, RequestRefusedError, Scope, Send

AtOnce = Callable[[bytes], Awaitable[App]]
"""From a request's body to what sends the answer."""
Right = Literal["look", "label", "drive", "stop", "promote"]
OPERATOR = "operator"
_NEEDS: dict[str, Right] = {
    "/v1/orders": "stop",
    "/v1/deploy": "promote",
    "/v1/status": "look",
    "/metrics": "look",
}
"""All else is for robots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Somebody who has a token.

    Attributes:
        token: Theirs.
        may: What they may do.
    """

    token: str
    may: tuple[Right, ...]

    def __post_init__(self) -> None:
        AuthConfig(token=self.token, bytes=1)  # refuses tokens that are none


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """All tokens of a fleet, or of a console.

    Attributes:
        operator: May do all.
        others: By name.
    """

    operator: str
    others: Mapping[str, Bearer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        AuthConfig(token=self.operator, bytes=1)
        given = [self.operator, *(bearer.token for bearer in self.others.values())]
        if OPERATOR in self.others or len(set(given)) != len(given):
            raise ConfigError(f"tokens: each of {', '.join([OPERATOR, *self.others])} needs a name and a token of its own")

    def whose(self, is_theirs: Callable[[str], bool]) -> tuple[str, tuple[Right, ...]] | None:
        """Return who has the token of which something is true, and what they may do; None for a stranger."""
        everybody = {OPERATOR: Bearer(token=self.operator, may=get_args(Right)), **self.others}
        return next(((name, bearer.may) for name, bearer in everybody.items() if is_theirs(bearer.token)), None)

    @property
    def for_robots(self) -> str:
        """The token that the robots which stand here get: one that may drive and nothing else, if there is one."""
        return next((bearer.token for bearer in self.others.values() if bearer.may == ("drive",)), self.operator)


def refusal(name: str, may: Sequence[Right], right: Right) -> str:
    """Return what somebody is told who may do other things."""
    return f"the token of {name!r} may {', '.join(may) or 'do nothing'}, and this is to {right}"


def read_tokens(path: Path) -> dict[str, Bearer]:
    """Read a file of tokens.

    Raises:
        ConfigError: It cannot be read, others can read it, or something in it is invalid.
    """
    data = read_yaml(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others can read the tokens in it: chmod 600 {path}")
    if wrong := [name for name, said in data.items() if not isinstance(said, dict)]:
        raise ConfigError(f"{path}: {wrong[0]!r} needs the keys token and may, such as {{token: …, may: [look]}}")
    return {str(name): validate(Bearer, said, f"{path}: {name}") for name, said in data.items()}


class TokenAuth(Auth):
    """An application whose requests carry one of several tokens.

    Args:
        app: Behind it.
        tokens: Theirs.
        longest: Request [bytes].
        binary: What begins with this path is no JSON.
        requests: That are answered at a time.
        at_once: By path, what answers a POST in the place of the application; quick, or not in the event loop.
    """

    def __init__(
        self,
        app: App,
        tokens: Tokens,
        *,
        longest: int,
        binary: str,
        requests: int,
        at_once: Mapping[str, AtOnce] | None = None,
    ) -> None:
        super().__init__(app, AuthConfig(token=tokens.operator, bytes=longest, requests=requests))
        self._tokens, self._longest, self._binary, self._at_once = tokens, longest, binary, at_once or {}

    async def _work(self, scope: Scope, parts: deque[bytearray], receive: Receive, send: Send) -> None:
        answer = self._at_once.get(scope["path"]) if scope["method"] == "POST" else None
        if answer is None:
            await super()._work(scope, parts, receive, send)
        else:  # over before anybody could give it up: nobody watches whether the peer is gone
            await (await answer(b"".join(parts)))(scope, receive, send)

    def _check_token(self, scope: Scope) -> None:
        if not scope["path"].isprintable():  # routes match before a newline, too, and rights are by path
            raise RequestRefusedError(404, "there is nothing at this path")
        given = b"".join(value for name, value in scope["headers"] if name == b"authorization")
        found = self._tokens.whose(lambda token: hmac.compare_digest(given, b"Bearer " + token.encode()))
        if found is None:
            super()._check_token(scope)
            return
        name, may = found
        if (right := _NEEDS.get(scope["path"], "drive")) not in may:
            raise RequestRefusedError(403, refusal(name, may, right))
        scope[BY] = name

    def _values(self, scope: Scope) -> int:
        # Episodes come as Arrow, in which the marks that separate JSON's values mean nothing.
        return self._longest if scope["path"].startswith(self._binary) else super()._values(scope)
