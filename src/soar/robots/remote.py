"""A robot in another environment: another Python, other pins (LeRobot, ROS, a simulator), behind `soar robot serve`.

    driver: remote
    options: {url: http://127.0.0.1:8124, token: …}      # without a token, that of the environment variable SOAR_TOKEN

    GET  /v1/robot          what it is: protocol, cameras, abilities, how long its calls may take
    POST /v1/robot/CALL     {"seq": 7, …} → {"result": …}, {"fault": {"kind": …, "detail": …}} or {"unsafe": …}

The connection is the session: it begins with the call `open` and ends with `close`, or when the connection is lost, and then
the robot's side leaves the arm safe. Every call carries the next number, so that none is executed twice. Nothing is sent again:
when a connection is lost while an action runs, nobody knows whether it was executed; that is a fault (`connection`), after
which `recover` begins another session.

A stop is told on a connection of its own (`halt`), whatever is in flight: the robot's side lets no motion begin until it is
started again, and does not call its driver's `close`, so that the arm is held where it is.

A robot with further cameras says protocol 2 and their names, and `observe` has their pictures in `images`; one without says
1. So a client that knows nothing of further cameras refuses such a robot, and goes on with any other.

Nothing that comes back is believed: it is bounded in size and time, and is what the protocol says, or a fault.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import httpx2

from soar.errors import ConfigError, RobotFault
from soar.remote.transport import ReplyLimits, open_client
from soar.remote.wire import TOKEN, Encoding, WireError, is_loopback, is_url, plain
from soar.robots.base import Health
from soar.robots.remote_answers import LIMITS, LONGEST_TEXT, RESULTS, action_of, health, observation
from soar.robots.safety import SafetyError
from soar.types import Action, Observation
from soar.untrusted import parse_json

log = logging.getLogger(__name__)
T = TypeVar("T")
KIND = "robot"
PROTOCOL, SEVERAL_CAMERAS = 1, 2
"""Versions of what the two sides say to each other: with a main camera alone, and with further ones."""
PATH = "/v1/robot"
REQUIRED = ("observe", "act", "home", "health", "recover")
ABILITIES = ("reset_for", "set_table", "truth", "imagine", "answer", "motors", "reboot")
"""What a robot's place may be able to do besides, see `soar.robots.workcell`."""
KINDS = ("motor", "camera", "connection", "unrecoverable", "driver")
_REPLY = ReplyLimits(bytes=LIMITS.bytes, values=200_000)
_CONNECT_S, _LONGEST_S, _MARGIN_S, _HALT_S = 10.0, 600.0, 5.0, 3.0


def open_robot(
    url: str, token: str = "", encoding: Encoding | None = None, image_size: tuple[int, int] | None = None
) -> RemoteRobot:
    """Begin a session with the robot at an address.

    Args:
        url: Of its `soar robot serve`.
        token: That of its server; by default what the environment variable SOAR_TOKEN holds.
        encoding: How its pictures travel; `raw` on the same machine and `png` between machines by default.
        image_size: What its camera is asked for.

    Raises:
        ConfigError: Nobody answers there, it is something else, it speaks another version, or refuses; the message says which.
    """
    if not is_url(url):
        raise ConfigError(f"robot: url must begin with http:// or https://, got {url!r}")
    token = token or os.environ.get(TOKEN, "")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            f"robot: the token holds something that no header can carry: set {TOKEN} to what `soar robot serve` showed"
        )
    if encoding not in (None, "raw", "png", "jpeg"):
        raise ConfigError(f"robot: encoding must be raw, png or jpeg, got {encoding!r}")
    return RemoteRobot(url, token, encoding or ("raw" if is_loopback(url) else "png"), image_size)


class RemoteRobot:
    """A `Robot` that is driven by another process; made by `open_robot`. It has the abilities that the other side has."""

    def __init__(self, url: str, token: str, encoding: Encoding, image_size: tuple[int, int] | None) -> None:
        self._url, self._token = url.rstrip("/"), token
        self._wishes = {"encoding": encoding, "image_size": image_size}
        self._client: httpx2.Client | None = None
        self._seq = 0
        self._abilities: dict[str, Callable[[Any], Any]] = {}
        self._timeouts: dict[str, float] = {}
        try:
            self._begin()
        except (RobotFault, SafetyError) as error:
            raise ConfigError(f"{self._url}: the robot there cannot be opened: {error}") from error

    def observe(self) -> Observation:
        """Return what the robot perceives now."""
        return self._understood("observe", observation, self._call("observe"))

    def act(self, action: Action) -> Action:
        """Execute one action (7,); returns what the shell on the robot's side made of it."""
        values = [float(value) for value in action]
        return self._understood("act", action_of, self._call("act", action=values))

    def home(self) -> None:
        """Go to the pose from which every episode starts."""
        self._call("home")

    def health(self) -> Health:
        """Say whether the robot works; never raises."""
        try:
            return self._understood("health", health, self._call("health"))
        except RobotFault as fault:
            return Health(ok=False, fault=fault.kind, detail=fault.detail)

    def recover(self) -> None:
        """Reboot what failed and go home; begins another session when the connection was lost."""
        if self._client is None:
            try:
                self._begin()
            except ConfigError as error:
                raise RobotFault("connection", f"recover: {error}") from error
        self._call("recover")

    def close(self) -> None:
        """Let the other side leave the arm safe. When the connection is lost, it does so of itself."""
        if self._client is not None:
            try:
                self._call("close")
            finally:
                self._end()

    def drill(self) -> None:
        """Lose the connection, as when a cable is pulled; `recover` begins another session."""
        self._end()

    def halt(self) -> None:
        """Stop the other side, too; waits for nothing."""
        threading.Thread(target=self._halt_there, name="halt", daemon=False).start()  # a process that ends waits for it

    def _halt_there(self) -> None:
        try:
            with open_client(self._url, _HALT_S, _REPLY, headers=self._headers(), connections=1, direct=True) as client:
                client.request("POST", f"{PATH}/halt", content=b"{}", timeout=_HALT_S).raise_for_status()
        except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            log.error("%s could not be told to stop (%s): stop it there, or switch the arm's power off", self._url, error)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return an ability that the other side has."""
        understand = self.__dict__.get("_abilities", {}).get(name)
        if understand is None:
            raise AttributeError(name)
        return lambda *arguments: self._understood(name, understand, self._call(name, arguments=list(arguments)))

    def _begin(self) -> None:
        """Ask who is there, and begin a session."""
        self._seq = 0
        # One connection, which is the session; through a proxy it would be one between others.
        self._client = open_client(self._url, _CONNECT_S, _REPLY, headers=self._headers(), connections=1, direct=True)
        try:
            about = self._answer("GET", PATH, None, _CONNECT_S)
            self._check(about)
            self._call("open", **self._wishes)
        except _LostError as error:
            raise ConfigError(
                f"{self._url}: {error}. Start the robot there with `soar robot serve`, or correct the address."
            ) from error
        except RobotFault:
            self._end()
            raise
        except ConfigError:
            self._end()
            raise

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    def _check(self, about: Mapping[str, Any]) -> None:
        if about.get("kind") != KIND:
            raise ConfigError(
                f"{self._url} is no robot: something else answers there ({str(about)[:80]}). Correct the address; "
                "`soar robot serve` says its own."
            )
        if about.get("protocol") not in (PROTOCOL, SEVERAL_CAMERAS):
            raise ConfigError(
                f"{self._url} speaks protocol {str(about.get('protocol'))[:10]} and this SOAR {PROTOCOL} and "
                f"{SEVERAL_CAMERAS}: install the same version of soar-robot on both sides"
            )
        offered, timeouts = about.get("abilities"), about.get("timeouts")
        offered = offered if isinstance(offered, list) else []
        self._abilities = {name: RESULTS[name] for name in ABILITIES if name in offered}
        said = timeouts if isinstance(timeouts, dict) else {}
        self._timeouts = {
            str(name): float(min(value, _LONGEST_S))
            for name, value in said.items()
            if type(value) in (int, float) and value > 0
        }

    def _call(self, name: str, **body: Any) -> Any:
        """Return the result of one call.

        Raises:
            RobotFault: Of the robot; or `connection`, when there is no answer, or none that can be understood.
            SafetyError: The shell on the robot's side refused.
        """
        if self._client is None:
            raise RobotFault("connection", f"{name}: the connection to {self._url} was lost")
        self._seq += 1
        # The other side may first wait for a call that it has given up.
        limit_s = 2 * self._timeouts.get(name, self._timeouts.get("other", 30.0)) + _MARGIN_S
        try:
            answer = self._answer("POST", f"{PATH}/{name}", {"seq": self._seq, **body}, limit_s)
        except _LostError as error:
            executed = " Whether the action was executed is not known: look at the arm." if name == "act" else ""
            raise RobotFault("connection", f"{name}: {self._url}: {error}.{executed}") from error
        except ConfigError as error:
            if name == "open":
                raise
            self._end()
            raise RobotFault("connection", f"{name}: {error}") from error
        fault = answer.get("fault")
        if isinstance(fault, dict):
            kind = fault.get("kind") if fault.get("kind") in KINDS else "driver"
            raise RobotFault(str(kind), plain(str(fault.get("detail")), LONGEST_TEXT))
        if "unsafe" in answer:
            raise SafetyError(plain(str(answer["unsafe"]), LONGEST_TEXT))
        return answer.get("result")

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None, limit_s: float) -> dict[str, Any]:
        """Return what the other side answers.

        Raises:
            _LostError: Nothing, or too much, or too late. The connection is given up.
            ConfigError: It refuses, or is no server of ours.
        """
        assert self._client is not None
        content = None if body is None else json.dumps(body).encode()
        try:
            response = self._client.request(method, path, content=content, timeout=limit_s)
        except httpx2.TimeoutException as error:
            self._end()
            raise _LostError(f"no answer in {limit_s:g} s") from error
        except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
            self._end()
            raise _LostError(" ".join(str(error).split())[:200] or type(error).__name__) from error
        return self._read(response.status_code, response.content)

    def _read(self, status: int, data: bytes) -> dict[str, Any]:
        try:
            answer = parse_json(data)
        except ValueError:
            answer = None
        if status == 200 and isinstance(answer, dict):
            return answer
        error = answer.get("error") if isinstance(answer, dict) else None
        said = plain(str(error.get("message")), 300) if isinstance(error, dict) else repr(data[:60])
        if status == 401:
            raise ConfigError(
                f"{self._url} wants another token: put what `soar robot serve` showed into the environment variable {TOKEN}, "
                "or into the robot's file (`options: {token: …}`)"
            )
        if isinstance(error, dict):
            raise ConfigError(f"{self._url} refuses (status {status}): {said}")
        raise ConfigError(
            f"{self._url} is no robot: something else answers there (status {status}: {said}). Correct the address; "
            "`soar robot serve` says its own."
        )

    def _understood(self, name: str, understand: Callable[[Any], T], result: Any) -> T:
        try:
            return understand(result)
        except (WireError, ValueError, TypeError, KeyError, OverflowError) as error:
            self._end()
            raise RobotFault("connection", f"{name}: {self._url} sent something else ({str(error)[:200]})") from error

    def _end(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class _LostError(Exception):
    """There is no connection any more."""
