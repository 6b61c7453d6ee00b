"""Talks to a peer: a program of another environment that answers each line on its standard input with a line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent


class Peer:
    """A running peer.

    Args:
        environment: Name of its environment, see `scripts/peer.sh`.
        program: File beside this one, under `peers`.
        arguments: Of the program.
        variables: Environment variables.
    """

    def __init__(
        self, environment: str, program: str, arguments: Sequence[object] = (), variables: Mapping[str, str] | None = None
    ) -> None:
        made = subprocess.run([ROOT / "scripts" / "peer.sh", environment], stdout=subprocess.PIPE, text=True, check=True)
        self.python = made.stdout.strip()
        command = [self.python, str(ROOT / "benchmarks" / "peers" / program), *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | dict(variables or {})
        )
        self.greeting: dict[str, Any] = self._answer()

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._answer()

    def versions(self, *packages: str) -> str:
        """Return names and versions of packages of its environment."""
        script = (
            "import sys; from importlib.metadata import version as v; print(', '.join(f'{p} {v(p)}' for p in sys.argv[1:]))"
        )
        done = subprocess.run([self.python, "-c", script, *packages], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the peer ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
