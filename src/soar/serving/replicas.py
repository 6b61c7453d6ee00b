"""Several copies of a model behind one address, by Ray Serve: one an accelerator, or several on a large machine.

Each replica is the application of `soar.serving.server` with a token, limits and batches of its own; Ray starts them, restarts
those that die, and spreads requests. Two things to know: Ray's processes talk to each other in pickles, over ports that it
opens on every interface, whatever address it is told. A token of Ray's own, made anew each time, keeps strangers out of those,
and ours is required; both travel in the clear. So a firewall belongs around this (docs/how-to/expose-a-server.md), and the
command says so. Ray's proxy reads requests before our limits see them: to strangers it is shown behind a proxy that has limits.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import signal
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from soar.errors import ConfigError
from soar.serving.auth import App
from soar.serving.listening import listen
from soar.serving.server import ServerConfig, build

log = logging.getLogger(__name__)
_WARNING = (
    "Ray listens on all interfaces of this machine, on ports that it chooses, even where --host is the loopback address. Its "
    "processes ask each other for a token, but let no firewall pass anything except --port (docs/how-to/expose-a-server.md)."
)
_NAME = "soar"
_PROXY_S, _TRIES = 60, 10
_OBJECT_STORE_BYTES = 80 * 2**20
"""Smallest that Ray allows: no image stays in it."""
_REQUESTS = 256
"""Requests that a replica takes at a time; more than fit in a batch, or none would form."""


def serve_replicas(config: ServerConfig, replicas: int, gpus: float, on_ready: Callable[[str, str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, which is raised again when all is stopped.

    Args:
        config: What, and where, with a token; the port must be a number other than 0.
        replicas: Copies of the model.
        gpus: Accelerators of each; 0 for none, 0.5 for two on one.
        on_ready: Called with the address and the model's name once requests are answered.

    Raises:
        ConfigError: Ray is not installed, the port is taken, a number is out of range, or there are too few accelerators.
        CheckpointError: The model cannot be loaded.
    """
    if replicas < 1 or gpus < 0:
        raise ConfigError(f"--replicas must be at least 1 and --gpus at least 0, got {replicas} and {gpus:g}")
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("--replicas needs Ray. Install it: pip install 'soar-robot[replicas]', or leave --replicas out.")
    if config.token is None:
        raise ConfigError("--replicas needs the token, because Ray listens on all interfaces: leave --no-require-token out")
    if config.port == 0:
        raise ConfigError("--replicas needs a --port other than 0")
    listen(config.host, config.port).close()  # Ray would say less clearly that it is taken
    _, name = build(config)  # what is wrong with the model shows here first
    log.warning(_WARNING)
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", str(_PROXY_S))
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

    # Ray's own processes are forked, and begin as something else at once.
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    import ray
    from ray import serve
    from ray.serve.config import HTTPOptions

    def application() -> App:
        return build(config)[0]

    stopped: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryDirectory(prefix="soar-ray-", dir="/tmp") as folder:  # paths of sockets must be short
        ray.init(
            num_cpus=max(replicas, 2),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(Path(folder)),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            check_accelerators(replicas, gpus, int(ray.cluster_resources().get("GPU", 0)))
            _patiently(lambda: serve.start(http_options=HTTPOptions(host=config.host, port=config.port)))
            options = {"num_cpus": 0, "num_gpus": gpus}
            deploy = serve.deployment(num_replicas=replicas, max_ongoing_requests=_REQUESTS, ray_actor_options=options)
            bound = deploy(serve.ingress(application)()).bind()
            _patiently(lambda: serve.run(bound, name=_NAME, route_prefix="/"))
            for number in before:
                signal.signal(number, lambda number, _frame: stopped.append(number))
            on_ready(f"http://{config.host}:{config.port}", name)
            while not stopped:
                signal.pause()
        finally:
            serve.shutdown()
            ray.shutdown()
            for number, handler in before.items():
                signal.signal(number, handler)
    signal.raise_signal(stopped[0])


def _patiently(call: Callable[[], object]) -> None:
    """Call again when Ray gave its proxy up after a minute, which a busy machine may need; what was begun goes on meanwhile.

    Raises:
        ConfigError: It did not begin in `_TRIES` minutes.
    """
    for _ in range(_TRIES):
        try:
            call()
            return
        except TimeoutError as error:
            problem = error
    raise ConfigError(
        f"Ray's HTTP proxy did not begin in {_TRIES} minutes ({problem}): is this machine busy, or out of memory?"
    )


def check_accelerators(replicas: int, gpus: float, there: int) -> None:
    """Refuse more replicas than there is room for: Ray would wait for another accelerator without a word.

    Raises:
        ConfigError: There are too few accelerators.
    """
    if not gpus:
        return
    room = there * int(1 / gpus) if gpus <= 1 else int(there / gpus)
    if replicas > room:
        raise ConfigError(
            f"{replicas} replicas of --gpus {gpus:g} need more accelerators than Ray sees here ({there}): "
            f"there is room for {room}. Ask for fewer --replicas, or a smaller share of --gpus."
        )
