"""The real server, in a thread of the test's process."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from soar.serving.auth import App
from soar.serving.listening import listen, protected

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


def certificate(folder: Path) -> dict[str, str]:
    """Make a certificate for 127.0.0.1 that vouches for itself."""
    made = {"certificate": str(folder / "lab.pem"), "key": str(folder / "lab.key")}
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*words, "-out", made["certificate"], "-keyout", made["key"]], check=True, capture_output=True)
    return made


@contextmanager
def running(app: App, slow_s: float = 60.0, **changes: Any) -> Iterator[str]:
    """Serve an application as `soar serve` does, and yield its address."""
    listener = listen("127.0.0.1", 0)
    listener.listen()  # requests wait from now on
    server = uvicorn.Server(protected(app, slow_s, **changes))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if changes.get('certificate') else ''}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
