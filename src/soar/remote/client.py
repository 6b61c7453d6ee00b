"""The client of a model server (`soar serve`): JSON over HTTP, with a token, and with nothing believed that comes back.

    what happens                                        what is raised
    no connection, time out, 429, 5xx, not our JSON     repeated with back-off and jitter, then ModelAwayError
    away a moment ago                                   ModelAwayError at once; the server is tried again every `probe_every_s`
    wrong token, unknown path, refused request          ModelServerError: waiting would not help

A robot cannot wait at every step for a server that hangs: after one failure the server counts as away, and only one request in
`probe_every_s` seconds tries it, once. The first that succeeds ends that, so that a restarted server is picked up again.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from soar.errors import ConfigError, ModelServerError
from soar.remote.transport import ReplyLimits, open_client
from soar.remote.wire import TOKEN, Encoding, is_id, is_url
from soar.seeding import generator
from soar.untrusted import parse_json

PROTOCOL, SEVERAL_CAMERAS = 1, 2
"""Versions of what servers and clients say to each other; the second is of policies that look at further cameras."""
WANTED, NEWEST = "Soar-Model", "Soar-Newest"
"""Headers: the version of a model that a request is for, and in an answer the one that is newer (`soar.serving.versions`)."""
_LONGEST_WAIT_S = 5.0


class ModelAwayError(ModelServerError):
    """Nobody answers, or what came back is no answer; it may work again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteConfig:
    """A model behind `soar serve`; the content of a YAML file with `backend: remote`.

    Attributes:
        url: Of the server, such as http://127.0.0.1:8123.
        token_env: Environment variable that holds the token.
        timeout_s: Of one attempt, from connecting to the last byte; None for the kind's own: 5 s for a policy, 120 s for a
            subgoal model.
        retries: Of one request.
        probe_every_s: How often a server that is away is tried again.
        encoding: How images travel: `png` and `raw` as they are, `jpeg` smaller.
        when_away: `fall_back` to the previous subgoal, or to holding the position; or `stop`.
    """

    url: str
    token_env: str = TOKEN
    timeout_s: float | None = None
    retries: int = 2
    probe_every_s: float = 2.0
    encoding: Encoding = "png"
    when_away: Literal["fall_back", "stop"] = "fall_back"

    def __post_init__(self) -> None:
        if not is_url(self.url):
            raise ConfigError(f"url must begin with http:// or https://, got {self.url!r}")
        if (self.timeout_s is not None and self.timeout_s <= 0) or self.retries < 0 or self.probe_every_s < 0:
            raise ConfigError(
                f"timeout_s must be positive, retries and probe_every_s not negative; got {self.timeout_s}, {self.retries} and "
                f"{self.probe_every_s}"
            )


class ModelServer:
    """One server, as a client sees it.

    Args:
        config: Where it is.
        timeout_s: Of one attempt, unless the configuration says another.
        token: That it asks for; that of the environment by default.
        clock: Seconds, never going back.
        sleep: Waits so many seconds between attempts.

    Attributes:
        wanted: Id of the model that requests are for; empty for whatever is there.
        newer: Id of the one that is there beside it, and will take its place; empty for none.
    """

    def __init__(
        self,
        config: RemoteConfig,
        timeout_s: float,
        *,
        token: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config, self._clock, self._sleep = config, clock, sleep
        self._timeout_s = config.timeout_s or timeout_s
        token = os.environ.get(config.token_env, "") if token is None else token
        if token and not (token.isascii() and token.isprintable()):
            raise ConfigError(
                f"the token in the environment variable {config.token_env} holds something that no header can carry: "
                "set it to what the server showed, without line breaks"
            )
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = self._connect()
        self._next_probe_s: float | None = None
        self._requests = 0
        self.wanted = self.newer = ""

    def _connect(self) -> httpx2.Client:
        return open_client(self.config.url, self._timeout_s, ReplyLimits(), headers=self._headers)

    def about(self, kind: str, protocols: Sequence[int] = (PROTOCOL,)) -> dict[str, Any]:
        """Return what the server says of its model.

        Args:
            kind: Of model that is wanted.
            protocols: That are understood.

        Raises:
            ModelServerError: It is another kind, or speaks another version.
            ModelAwayError: There is no answer.
        """
        try:
            about = self.request("GET", "/v1/model")
        except ModelAwayError as error:
            raise ModelAwayError(f"{error}. Start it with `soar serve {kind}`, or correct the address.") from error
        if about.get("kind") != kind or about.get("protocol") not in protocols:
            raise ModelServerError(
                f"{self.config.url} serves {str(about.get('kind'))[:40]!r} (protocol {str(about.get('protocol'))[:10]}), and a "
                f"{kind} of protocol {' or '.join(map(str, protocols))} is wanted. Start one: `soar serve {kind}`."
            )
        return about

    def request(self, method: str, path: str, body: Mapping[str, Any] | bytes | None = None) -> dict[str, Any]:
        """Return the server's answer.

        Args:
            method: Of HTTP.
            path: On the server.
            body: JSON values, or bytes as they are.

        Raises:
            ModelServerError: The server refuses.
            ModelAwayError: There is no answer, after all retries.
        """
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        away = self._next_probe_s is not None
        if self._next_probe_s is not None and self._clock() < self._next_probe_s:
            raise ModelAwayError(f"{self.config.url} did not answer a moment ago")
        wish_s = 0.0
        for attempt in range(1 if away else self.config.retries + 1):
            if attempt:
                self._sleep(self._wait_s(attempt, wish_s))
                wish_s = 0.0
            try:
                status, data, wish_s = self._send(method, path, content)
                if status == 200:
                    answer = _parse(data)
                    self._next_probe_s = None
                    return answer
                problem = f"status {status}: {_message(data)}"
            except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
                status, problem = 0, str(error) or type(error).__name__
                if isinstance(error, httpx2.TimeoutException):
                    problem = f"no complete answer in {self._timeout_s:g} s"
                elif "CERTIFICATE_VERIFY_FAILED" in problem:
                    problem += ": name the file of the certificate, or of whoever vouches for it, in SSL_CERT_FILE"
            if 300 <= status < 500 and status not in (408, 425, 429):
                raise ModelServerError(f"{self.config.url}{path}: {problem.removesuffix('.')}. {self._hint(status)}".rstrip())
        # Connections that were kept may be dead without anybody knowing: the next try shall begin a new one.
        self._client.close()
        self._client = self._connect()
        self._next_probe_s = self._clock() + self.config.probe_every_s
        raise ModelAwayError(f"{self.config.url}{path}: {' '.join(problem.split())[:300]}")

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes, float]:
        """Return status, body, and after how many seconds the server wishes to be asked again."""
        headers = {"Content-Type": "application/json"} if content is not None else {}
        headers |= {WANTED: self.wanted} if self.wanted and self.wanted.isascii() else {}
        response = self._client.request(method, path, content=content, headers=headers)
        newer = response.headers.get(NEWEST, "")
        self.newer = newer if is_id(newer) else ""
        return response.status_code, response.content, _seconds(response.headers.get("Retry-After", ""))

    def _wait_s(self, attempt: int, wish_s: float) -> float:
        self._requests += 1
        jitter = float(generator(os.getpid(), f"jitter/{self.config.url}", self._requests).uniform(0.5, 1.5))
        wait_s: float = max(wish_s, 0.1 * 2**attempt * jitter)
        return min(wait_s, _LONGEST_WAIT_S)

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return f"Put the server's token into the environment variable {self.config.token_env}."
        return "Is this the address of a `soar serve` of this version?"


def _parse(data: bytes) -> dict[str, Any]:
    try:
        answer = parse_json(data)
    except ValueError as error:
        raise ValueError(f"not JSON: {data[:60]!r}") from error
    if not isinstance(answer, dict):
        raise ValueError(f"not an object: {data[:60]!r}")
    return answer


def _message(data: bytes) -> str:
    try:
        error = _parse(data).get("error")
    except ValueError:
        return repr(data[:60])
    return str(error.get("message") if isinstance(error, dict) else error)[:300]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0
