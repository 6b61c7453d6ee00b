"""`transformers serve`, a released OpenAI-compatible server, in a process of its own with a tiny random model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

CODE = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"


@contextmanager
def transformers_serve(model: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield the address of the API, and the process."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-c", CODE, "serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            transport = httpx2.HTTPTransport(retries=3)
            with httpx2.Client(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
                while True:
                    assert process.poll() is None, "the server ended before it answered"
                    try:
                        if client.get("/health").status_code == 200:
                            break
                    except httpx2.TransportError:
                        pass
            yield f"http://127.0.0.1:{port}/v1", process
        finally:
            process.kill()
