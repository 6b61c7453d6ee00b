"""A policy behind openpi's websocket protocol (see `soar.policies.base.Policy`), made from a policy file (`maps`).

    opened      what the server is; then one made-up observation, so that it compiles, and that what it says wrongly is an error
                before anything moves
    an episode  a look every `execute` actions, each answered by `timeout_s`
    trouble     another number of actions, another range, no finite numbers, nothing in time, a closed connection: no action is
                made up. The episode is dropped (`SafetyError`); the next one waits up to `patience_s` for a server that is away

The server's key is in an environment variable, and never in the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from soar.cameras import MAIN
from soar.errors import ConfigError, ModelServerError
from soar.policies.action_chunking import ActionChunker
from soar.policies.openpi.connection import Connection
from soar.policies.openpi.maps import OpenPIConfig
from soar.remote.client import ModelAwayError
from soar.remote.wire import plain
from soar.robots.safety import SafetyError
from soar.types import STATE_DIM, Goal, Observation

_NOT_THE_POLICY = ("url", "token_env", "timeout_s", "warm_up_s", "patience_s", "when_away")
_AGAIN_S = 1.0
_MADE_UP_PX = 64


class OpenPIPolicy:
    """A policy that runs behind a server of openpi's protocol.

    Args:
        config: Its file.
        clock: Seconds, never going back.
        sleep: Waits so many seconds between attempts.

    Raises:
        ModelServerError: The server is not there, refuses, or answers what the file does not say.
    """

    conditioning: Literal["goal", "language"] = "language"

    def __init__(
        self,
        config: OpenPIConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.config, self._clock, self._sleep = config, clock, sleep
        key = os.environ.get(config.token_env, "")
        if key and not (key.isascii() and key.isprintable()):
            raise ConfigError(
                f"the key in the environment variable {config.token_env} holds what no header can carry: letters, "
                "digits and signs of ASCII, without line breaks"
            )
        self._server = Connection(config.url, {"Authorization": f"Api-Key {key}"} if key else {})
        self.action_std = config.std
        self.cameras = config.cameras
        self.image_size: int | None = max([picture.size or 0 for picture in config.images.values()], default=0) or None
        self._planner = ActionChunker(self._plan, config.execute // config.added)
        try:
            self._server.connect(self._end_s(config.timeout_s))
        except ModelAwayError as error:
            raise ModelAwayError(f"{error}. Start the policy's server, or correct `url`.") from error
        self.id = self._identified()
        answer = self._server.ask(config.message(self._made_up(128), ""), self._end_s(config.warm_up_s))
        _, self.chunk = config.actions(answer, config.chunk)

    def act(self, observations: Sequence[Observation], goals: Sequence[Goal]) -> NDArray[np.float32]:
        """Return actions (B, 7) in physical units.

        Raises:
            ValueError: There are not as many goals as observations.
            ConfigError: A goal is an image.
            SafetyError: There is no action that can be believed; the episode is to be dropped.
            ModelServerError: The same, and `when_away` is `stop`.
        """
        if not all(isinstance(goal, str) for goal in goals):
            raise ConfigError(f"policy {self.id} follows instructions, and got something else")
        try:
            return self._planner.act(observations, goals)
        except ModelServerError as error:
            if self.config.when_away == "stop":
                raise
            raise SafetyError(f"policy {self.id} gave no action: {error}") from error

    def reset(self) -> None:
        """Forget the last episode."""
        self._planner.reset()

    def describe(self) -> Mapping[str, str]:
        """Return what the server wants, what it gives, and what it says that it is."""
        sent = self.config.message(self._made_up(0), "")
        wants = [f"{key} {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else key for key, value in sent.items()]
        whose = [f"{key} of {picture.camera}" for key, picture in self.config.images.items()]
        added = f", {self.config.added} of which make one of 0.2 s" if self.config.added > 1 else ""
        return {
            "wants": ", ".join(wants),
            **({"pictures": ", ".join(whose)} if whose else {}),
            "gives": f"{self.config.answer} ({self.chunk}, {len(self.config.action)}), {self.config.execute} executed{added}",
            "server": f"{self.config.url} says {plain(json.dumps(_plain(self._server.said)), 200)}",
        }

    def _plan(self, observations: Sequence[Observation], goals: Sequence[Goal], indices: Sequence[int]) -> NDArray[np.float32]:
        due = zip(observations, goals, indices, strict=True)
        return np.stack([self._planned(one, str(goal), begins=index == 0) for one, goal, index in due])

    def _planned(self, observation: Observation, instruction: str, *, begins: bool) -> NDArray[np.float32]:
        answer = self._asked(self.config.message(observation, instruction), self.config.patience_s if begins else 0.0)
        if (now := self._identified()) != self.id:
            raise ModelServerError(
                f"{self.config.url} is {now} now, not {self.id}. If its weights are the same, give them a `name` in the policy "
                "file."
            )
        return self.config.actions(answer, self.chunk)[0]

    def _asked(self, message: Mapping[str, Any], patience_s: float) -> Any:
        """Return the answer to a message, asking again for so long while nobody answers; the arm is at rest then."""
        end_s = self._clock() + patience_s
        while True:
            try:
                return self._server.ask(message, self._end_s(self.config.timeout_s))
            except ModelAwayError:
                if self._clock() >= end_s:
                    raise
            self._sleep(_AGAIN_S)

    def _made_up(self, grey: int) -> Observation:
        """Return an observation of nothing, by all cameras that it looks at."""
        image_HWC = np.full((_MADE_UP_PX, _MADE_UP_PX, 3), grey, np.uint8)
        further = {camera: image_HWC for camera in self.cameras if camera != MAIN}
        return Observation(image_HWC=image_HWC, state=np.zeros(STATE_DIM, np.float32), extra_images=further)

    def _end_s(self, seconds: float) -> float:
        return time.monotonic() + seconds

    def _identified(self) -> str:
        """Return the policy's id: its file and, unless that names the weights, what the server says that it is."""
        settings = {name: value for name, value in asdict(self.config).items() if name not in _NOT_THE_POLICY}
        what = [settings, None if self.config.name else _plain(self._server.said)]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:8]
        return "-".join(filter(None, ("openpi", plain(self.config.name, 60), digest)))


def _plain(value: Any) -> Any:
    """Return what a server said as JSON values."""
    if isinstance(value, Mapping):
        return {key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): _plain(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
