"""The console as a process: it listens, and it gives way to whoever drives robots on the same computer."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import uvicorn

from soar.console.access import ENTER
from soar.console.application import console_application
from soar.console.sources import Source
from soar.fleet.tokens import Tokens
from soar.serving.listening import LOOPBACK, listen, protected

PORT = 8140
_POLITE = 19
"""How much the process gives way to others of this computer (nice): of a core that a robot wants, it gets a seventieth."""
_SWITCH_S = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """A console.

    Attributes:
        tokens: Who may see and do what.
        host: Address to listen on; by default only this machine's browsers come in.
        port: Port to listen on; 0 for any that is free.
    """

    tokens: Tokens
    host: str = LOOPBACK
    port: int = PORT


def serve_console(
    sources: Mapping[str, Source], config: ConsoleConfig, on_ready: Callable[[str, str], None] = lambda url, entrance: None
) -> None:
    """Serve until Ctrl-C or SIGTERM, which is raised again when the last answers are out.

    Args:
        sources: What is shown.
        config: To whom, and where.
        on_ready: Called with the console's address, and with the one that holds the operator's token.

    Raises:
        ConfigError: The port is taken.
    """
    with contextlib.suppress(OSError):
        os.nice(_POLITE)
    sys.setswitchinterval(_SWITCH_S)
    listener = listen(config.host, config.port)
    server = uvicorn.Server(protected(console_application(dict(sources), config.tokens)))
    listener.listen(128)
    shown = "localhost" if config.host in ("0.0.0.0", "::") else f"[{config.host}]" if ":" in config.host else config.host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    on_ready(url, f"{url}{ENTER}#{config.tokens.operator}")
    server.run(sockets=[listener])
