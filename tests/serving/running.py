"""The real server, in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from soar.serving.auth import App
from soar.serving.listening import listen, protected


@contextmanager
def running(app: App, slow_s: float = 60.0) -> Iterator[str]:
    """Serve an application as `soar serve` does, and yield its address."""
    listener = listen("127.0.0.1", 0)
    listener.listen()  # requests wait from now on
    server = uvicorn.Server(protected(app, slow_s))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
