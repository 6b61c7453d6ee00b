"""Who may do what with a fleet: a token each, and its rights, in a file that its owner alone can read.

    ann:     {token: …, may: [look, stop, promote]}
    bench-2: {token: …, may: [drive]}
    wall:    {token: …, may: [look]}

    look       status and metrics
    drive      what a robot's process says and asks (`soar fleet join`)
    stop       pause, resume and stop; agree that a robot may move again
    promote    deploy a policy

The operator, whose token is in SOAR_TOKEN or in RUN/token, may do all. The journal says who gave an order.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError
from soar.serving.auth import App, Auth, AuthConfig, RequestRefusedError, Scope

Right = Literal["look", "drive", "stop", "promote"]
OPERATOR = "operator"
BY = "soar.by"
"""Under this name a request's scope says whose token it carried."""
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
    """All tokens of a fleet.

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
            raise ConfigError(f"fleet: each of {', '.join([OPERATOR, *self.others])} needs a name and a token of its own")

    def find(self, given: bytes) -> tuple[str, tuple[Right, ...]] | None:
        """Return whose an Authorization header is, and what they may do; None for a stranger's."""
        everybody = {OPERATOR: Bearer(token=self.operator, may=get_args(Right)), **self.others}
        for name, bearer in everybody.items():
            if hmac.compare_digest(given, b"Bearer " + bearer.token.encode()):
                return name, bearer.may
        return None

    @property
    def for_robots(self) -> str:
        """The token that the robots which stand here get: one that may drive and nothing else, if there is one."""
        return next((bearer.token for bearer in self.others.values() if bearer.may == ("drive",)), self.operator)


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
    """

    def __init__(self, app: App, tokens: Tokens, *, longest: int, binary: str) -> None:
        super().__init__(app, AuthConfig(token=tokens.operator, bytes=longest))
        self._tokens, self._longest, self._binary = tokens, longest, binary

    def _check_token(self, scope: Scope) -> None:
        given = b"".join(value for name, value in scope["headers"] if name == b"authorization")
        found = self._tokens.find(given)
        if found is None:
            super()._check_token(scope)
            return
        name, may = found
        if (right := _NEEDS.get(scope["path"], "drive")) not in may:
            raise RequestRefusedError(
                403, f"the token of {name!r} may {', '.join(may) or 'do nothing'}, and this is to {right}"
            )
        scope[BY] = name

    def _values(self, scope: Scope) -> int:
        # Episodes come as Arrow, in which the marks that separate JSON's values mean nothing.
        return self._longest if scope["path"].startswith(self._binary) else super()._values(scope)
