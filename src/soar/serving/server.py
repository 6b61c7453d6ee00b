"""One process that serves one model: enough for the robots of a lab and one accelerator. More is `soar.serving.replicas`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from fastapi import FastAPI

from soar.errors import ConfigError, SoarError
from soar.nn.devices import usable_device
from soar.policies.learned import LearnedPolicy
from soar.serving.application import ServiceConfig
from soar.serving.auth import App, Auth, AuthConfig
from soar.serving.chat import chat_application
from soar.serving.listening import LOOPBACK, listen, protected
from soar.serving.policies import policy_application
from soar.serving.subgoals import subgoal_application
from soar.serving.versions import Versions
from soar.serving.visitors import DoorServer
from soar.subgoals.loading import load_subgoal_model
from soar.vlm.loading import load_vlm

log = logging.getLogger(__name__)
Kind = Literal["subgoal", "vlm", "policy"]
_QUEUE = 1024
"""Connections that the door has not taken yet: one for which there is no place comes again after a second, by itself."""
_SWITCH_S = 5e-4
"""Threads that decode pictures hold Python's lock for so long while others wait; each connection waits for it many times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """A server.

    Attributes:
        kind: Of model.
        model: Its name, as everywhere (`soar.subgoals.loading`, `soar.vlm.loading`; of a policy its folder).
        token: That requests must carry; None: nobody is asked for one.
        host: Address to listen on; by default only this machine can ask.
        port: Port to listen on; 0 for any that is free.
        device: Of torch, for a policy; other models' files say it themselves.
        service: Batches and limits.
    """

    kind: Kind
    model: str
    token: str | None
    host: str = LOOPBACK
    port: int = 8123
    device: str = "cpu"
    service: ServiceConfig = field(default_factory=ServiceConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"--port must lie between 0 and {2**16 - 1}, got {self.port}")
        self.auth()  # refuses tokens that are none

    def auth(self) -> AuthConfig:
        """Return who may ask."""
        total = self.service.total_megabytes * 2**20
        return AuthConfig(token=self.token, bytes=self.service.limits.bytes, total=total, others=False)


def build(config: ServerConfig) -> tuple[App, str]:
    """Load the model and return the application that serves it, and the model's id.

    Raises:
        CheckpointError: The model cannot be loaded.
        ConfigError: Its name or file is invalid, or the device cannot be used.
    """
    app, name = _application(config)
    return Auth(app, config.auth()), name


def serve(config: ServerConfig, on_ready: Callable[[str, str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, which is raised again when the last answers are out.

    At SIGUSR1 what `config.model` names is loaded anew, and served beside the one before (`soar.serving.versions`).

    Args:
        config: What, and where.
        on_ready: Called with the address and the model's id once both are known.

    Raises:
        CheckpointError: The model cannot be loaded.
        ConfigError: Its name or file is invalid, or the port is taken.
        SoarError: The process at the door was ended by somebody.
    """
    sys.setswitchinterval(_SWITCH_S)
    app, name = _application(config)
    versions, loading = Versions(app, name), threading.Lock()

    def load_newer() -> None:
        with loading:  # one after another
            _load_newer(config, versions)

    before = signal.signal(
        signal.SIGUSR1, lambda _number, _frame: threading.Thread(target=load_newer, name="newer model", daemon=True).start()
    )
    try:
        listener = listen(config.host, config.port)
        listener.listen(_QUEUE)  # who asks from now on waits, and is not refused
        on_ready(f"http://{config.host}:{listener.getsockname()[1]}", name)
        DoorServer(protected(Auth(versions, config.auth())), listener).run()
    finally:
        signal.signal(signal.SIGUSR1, before)


def _load_newer(config: ServerConfig, versions: Versions) -> None:
    before = versions.ids[-1]
    load_subgoal_model.cache_clear()
    load_vlm.cache_clear()
    try:
        app, name = _application(config)
    except SoarError as error:
        log.error("%s goes on; what is there now cannot be served: %s", before, error)
        return
    if name == before:
        app.state.close()
        log.warning("%s is served already", name)
    else:
        versions.add(app, name)
        log.warning("%s is served from now on, and %s to whoever began with it", name, before)


def _application(config: ServerConfig) -> tuple[FastAPI, str]:
    if config.kind == "subgoal":
        subgoals = load_subgoal_model(config.model)
        return subgoal_application(subgoals, config.service), subgoals.id
    if config.kind == "vlm":
        vlm = load_vlm(config.model)
        return chat_application(vlm, config.service), vlm.id
    policy = LearnedPolicy.load(config.model, usable_device(config.device))
    return policy_application(policy, config.service), policy.id
