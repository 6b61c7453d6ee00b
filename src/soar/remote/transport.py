"""How every client of a network sends: one deadline over the whole exchange, and so much of an answer.

    connect ─► handshake ─► request ─► 1xx, headers ─► body, to its last byte      until all of it is there, `timeout_s` at most

A server that drips a byte now and then keeps no limit between two bytes from being met, so all reading and writing looks at one
deadline. (The time limits of `httpx2` begin anew with each byte; here `read` is the whole exchange's.) An answer is counted
while it comes: its bytes, and the marks that separate values, because three bytes of JSON become a hundred in memory. It must
not be compressed. Redirects are answers like others: a request is never sent on to another host. Cookies are not kept.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2

from soar.errors import ConfigError
from soar.remote.wire import is_loopback, values_in

_PIECE_BYTES = 2**16
_NAMES = (
    *("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout", "TimeoutException", "ConnectError", "ReadError"),
    *("WriteError", "ProxyError", "UnsupportedProtocol", "LocalProtocolError", "RemoteProtocolError"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyLimits:
    """What is read of one answer.

    Attributes:
        bytes: Of its body.
        values: Of its JSON, about: commas and opening brackets.
    """

    bytes: int = 64 * 2**20
    values: int = 500_000


class RefusedReplyError(httpx2.RemoteProtocolError):
    """An answer that is not read to its end: too large, or compressed."""


def open_client(
    url: str,
    timeout_s: float,
    limits: ReplyLimits,
    *,
    headers: dict[str, str] | None = None,
    connections: int = 100,
    direct: bool = False,
) -> httpx2.Client:
    """Return a client for one server; it follows no redirects.

    Args:
        url: The server's address; paths that are asked for are relative to it.
        timeout_s: Of one exchange.
        limits: Of one answer.
        headers: Of every request.
        connections: Most at a time.
        direct: Whether a proxy that the environment names is left out; between a machine and itself it always is.

    Raises:
        ConfigError: The address, or that of the proxy, is none.
    """
    try:
        transport = BoundedTransport(limits, proxy=None if direct else _proxy(url), connections=connections)
        return httpx2.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport, follow_redirects=False)
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigError(f"{url} is no address: {error}. Name one such as http://127.0.0.1:8123") from error


class BoundedTransport(httpx2.BaseTransport):
    """Sends requests as the module's docstring says; the deadline is the request's `read` time limit.

    Args:
        limits: Of one answer.
        proxy: If there is one.
        connections: Most at a time; those that are idle stay open.
    """

    def __init__(self, limits: ReplyLimits, *, proxy: httpx2.Proxy | None = None, connections: int = 100) -> None:
        self._limits = limits
        self._pool = httpcore2.ConnectionPool(
            ssl_context=trust(),
            proxy=None if proxy is None else httpcore2.Proxy(_core_url(proxy.url), proxy.raw_auth, ssl_context=trust()),
            max_connections=connections,
            network_backend=DeadlineNetwork(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return its answer, whose body is still to be read."""
        limit_s = request.extensions.get("timeout", {}).get("read")
        if limit_s is None:
            raise ValueError("an exchange has a time limit")
        end_s = time.monotonic() + limit_s
        # What httpcore hands to the network as a time limit is, here, the time at which all must be over.
        timeouts = {"connect": end_s, "read": end_s, "write": end_s, "pool": limit_s}
        request.headers["Accept-Encoding"] = "identity"
        url = _core_url(request.url)
        assert isinstance(request.stream, httpx2.SyncByteStream)
        with _as_httpx():
            answer = self._pool.handle_request(
                httpcore2.Request(
                    request.method, url, headers=request.headers.raw, content=request.stream, extensions={"timeout": timeouts}
                )
            )
        body = _Body(answer.stream, self._limits)  # type: ignore[arg-type]
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"set-cookie"]
        encodings = {value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"}
        if encodings - {b"", b"identity"}:
            body.close()
            raise RefusedReplyError("the answer is compressed, which was not asked for")
        return httpx2.Response(answer.status, headers=headers, stream=body)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    """An answer's body, counted while it is read."""

    def __init__(self, stream: Iterable[bytes], limits: ReplyLimits) -> None:
        self._stream, self._limits = stream, limits

    def __iter__(self) -> Iterator[bytes]:
        size = values = 0
        with _as_httpx():
            for chunk in self._stream:
                size, values = size + len(chunk), values + values_in(chunk)
                if size > self._limits.bytes:
                    raise RefusedReplyError(f"an answer of more than {self._limits.bytes / 2**20:.4g} MB")
                if values > self._limits.values:
                    raise RefusedReplyError(f"an answer of more than {self._limits.values} values")
                yield chunk

    def close(self) -> None:
        close: Any = getattr(self._stream, "close", None)
        if close is not None:
            close()


class DeadlineNetwork(httpcore2.NetworkBackend):
    """Opens connections whose every `timeout` is a time of `time.monotonic`: the one at which an exchange is over."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first of a host's addresses that answers."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        problem: Exception = httpcore2.ConnectError(f"{host} has no address")
        for *_, address in found:
            left_s = _left(timeout, httpcore2.ConnectTimeout)
            try:
                stream = httpcore2.SyncBackend().connect_tcp(
                    str(address[0]), port, left_s, local_address, list(socket_options or ())
                )
                return _Stream(stream)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
        raise problem


class _Stream(httpcore2.NetworkStream):
    """A connection; every `timeout` is a time of `time.monotonic`."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came."""
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it, by pieces: one call of the system each."""
        view = memoryview(buffer)
        for start in range(0, len(view), _PIECE_BYTES):
            self._stream.write(view[start : start + _PIECE_BYTES], _left(timeout, httpcore2.WriteTimeout))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Go on encrypted."""
        left_s = _left(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known of the connection."""
        return self._stream.get_extra_info(info)


def _left(end_s: float | None, late: type[Exception]) -> float:
    assert end_s is not None
    left_s = end_s - time.monotonic()
    if left_s <= 0:
        raise late("timed out")
    return left_s


@contextlib.contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise the errors of `httpx2`, as its users expect, for those of `httpcore2`."""
    try:
        yield
    except Exception as error:
        for name in _NAMES:
            if isinstance(error, getattr(httpcore2, name)):
                raised: Exception = getattr(httpx2, name)(str(error))
                raise raised from error
        raise


def _core_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@functools.cache
def trust() -> ssl.SSLContext:
    """Return whom to trust behind https; reading the certificates takes longer than a request."""
    return httpx2.create_ssl_context()


def _proxy(url: str) -> httpx2.Proxy | None:
    """Return the proxy that the environment names for an address; none between a machine and itself."""
    parts = urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    named = urllib.request.getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if not proxy:
        return None
    try:
        return httpx2.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (httpx2.InvalidURL, ValueError) as error:
        raise ConfigError(
            f"the environment names a proxy that is none, {proxy!r}: {error}. Correct HTTP_PROXY and its like, or unset them"
        ) from error
