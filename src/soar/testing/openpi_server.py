"""A small server of openpi's websocket protocol: it says what it is, and answers observations by a function of yours.

    python -m soar.testing.openpi_server --port 8000        a policy that knows one motion

As the released one does, it sends the traceback of what the function raises as a text, and closes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

log = logging.getLogger(__name__)
_KEPT = 64
"""Observations that are remembered."""
Infer = Callable[[Mapping[Any, Any]], Any]
"""From an observation to an answer: a map; bytes, pieces of bytes or a text are sent as they are."""


class OpenPIServer:
    """Serves in threads until it is closed; a context manager.

    Args:
        infer: See `Infer`; called in the thread of a connection.
        metadata: What it says that it is.
        port: Of this machine; 0 for any that is free.
        key: That clients have to send; empty for none.
    """

    def __init__(self, infer: Infer, metadata: Mapping[str, Any] | None = None, *, port: int = 0, key: str = "") -> None:
        self.infer, self.metadata = infer, dict(metadata or {})
        self.asked: deque[Mapping[Any, Any]] = deque(maxlen=_KEPT)
        """The last observations, oldest first."""
        self._key = key
        options: dict[str, Any] = {"compression": None, "max_size": None, "process_request": self._admitted}
        # A client that does not listen just now is not waited for.
        self._server = serve(self._talk, "127.0.0.1", port, close_timeout=0.1, **options)
        self.port = int(self._server.socket.getsockname()[1])
        self.url = f"ws://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def wait(self) -> None:
        """Serve until the process ends."""
        self._thread.join()

    def _admitted(self, connection: ServerConnection, request: Any) -> Any:
        if self._key and request.headers.get("Authorization") != f"Api-Key {self._key}":
            return connection.respond(401, "no\n")
        return None

    def _talk(self, connection: ServerConnection) -> None:
        try:
            connection.send(packed(self.metadata))
            for message in connection:
                try:
                    observation = unpacked(message if isinstance(message, bytes) else message.encode())
                    self.asked.append(observation)
                    answer = self.infer(observation)
                except Exception:
                    log.exception("an observation could not be answered")
                    connection.send(traceback.format_exc())
                    connection.close(1011, "Internal server error. Traceback included in previous frame.")
                    return
                as_it_is = isinstance(answer, bytes | str | Iterator)
                connection.send(answer if as_it_is else packed(answer))
        except ConnectionClosed:
            return


def packed(message: Any) -> bytes:
    """Return a message as bytes, as the released server packs it."""

    def as_map(value: Any) -> Any:
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}

    data: bytes = msgpack.packb(message, default=as_map)
    return data


def unpacked(data: bytes) -> Any:
    """Return what a client sent."""

    def as_array(found: dict[Any, Any]) -> Any:
        if b"__ndarray__" not in found:
            return found
        return np.ndarray(buffer=found[b"data"], dtype=found[b"dtype"], shape=found[b"shape"])

    return msgpack.unpackb(data, object_hook=as_array)


def one_motion(observation: Mapping[Any, Any]) -> dict[str, Any]:
    """Answer with ten actions (10, 7): 4 mm down each, with an open gripper."""
    action = [0.0, 0.0, -0.004, 0.0, 0.0, 0.0, 1.0]
    return {"actions": np.tile(np.asarray(action, np.float32), (10, 1))}


def main() -> None:
    """Serve `one_motion`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    with OpenPIServer(one_motion, {"policy": "one motion"}, port=parser.parse_args().port) as server:
        sys.stdout.write(f"a policy is served at {server.url}\n")
        sys.stdout.flush()
        server.wait()


if __name__ == "__main__":
    main()
