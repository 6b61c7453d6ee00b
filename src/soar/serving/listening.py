"""How an application is served to strangers: on which socket, with which limits. Nothing here needs a model."""

from __future__ import annotations

import socket
import ssl

import uvicorn

from soar.errors import ConfigError
from soar.serving.auth import App
from soar.serving.connections import WAITING, bounded_protocol

LOOPBACK = "127.0.0.1"
BACKLOG = 128
"""Connections that are taken at a time: as many as there are files to open."""
_LAST_S = 5
SLOW_S = 60.0
_HEADER_BYTES = 2**14


def protected(
    app: App, slow_s: float = SLOW_S, waiting: int = WAITING, *, certificate: str = "", key: str = ""
) -> uvicorn.Config:
    """Return how an application is served to strangers.

    Args:
        app: With `soar.serving.auth` in front.
        slow_s: Longest time for headers to come, and for an answer to be taken.
        waiting: Most connections without a request.
        certificate: PEM file, for TLS; empty for none.
        key: PEM file of its key, without a password.

    Raises:
        ConfigError: They are no certificate and its key.
    """
    tls = _encryption(certificate, key) if certificate else None
    return uvicorn.Config(
        app,
        http=bounded_protocol(slow_s, waiting, tls),
        loop="asyncio" if tls else "auto",  # uvloop reads what comes before a protocol that was made can begin TLS
        ws="none",
        backlog=BACKLOG,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        log_level="error",  # that something is no HTTP is no news
        server_header=False,
        timeout_graceful_shutdown=_LAST_S,
    )


def _encryption(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except OSError as error:
        raise ConfigError(
            f"{certificate} and {key} are no certificate and its key without a password ({error.strerror or error}): name the "
            "PEM files of both"
        ) from error
    return context


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        ConfigError: It cannot be.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}. Choose another --port, or 0 for any.") from error
    return listener
