"""Asking the coordinator of a run that goes on, by the run's folder or by its address; and stopping robots without one."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from soar.errors import ConfigError, SoarError
from soar.fleet.link import Coordinator
from soar.fleet.robot_lock import robot_process
from soar.remote.client import ModelAwayError, RemoteConfig
from soar.remote.wire import TOKEN
from soar.untrusted import parse_json

ADDRESS, TOKEN_FILE = "fleet.json", "token"
"""In a run's folder: where the coordinator listens, and the token that it made."""


def read_token(run: Path) -> str:
    """Return the token of a run that goes on on this computer.

    Raises:
        SoarError: It cannot be read.
    """
    if given := os.environ.get(TOKEN):
        return given
    try:
        return (run / TOKEN_FILE).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SoarError(
            f"{run / 'token'}: cannot be read ({error.strerror}). Put the fleet's token into the environment variable {TOKEN}."
        ) from error


def ask(run: str, method: str, path: str, body: dict[str, Any] | None = None, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Ask the coordinator of a run, by its folder or its address.

    Raises:
        ConfigError: No coordinator runs there.
        ModelAwayError: It does not answer.
        ModelServerError: It refuses.
    """
    if run.startswith(("http://", "https://")):
        return Coordinator(RemoteConfig(url=run, retries=0), timeout_s).request(method, path, body)
    folder = Path(run)
    try:
        there = parse_json((folder / ADDRESS).read_text(encoding="utf-8"))
        url = str(there["url"])
    except FileNotFoundError as error:
        raise ConfigError(
            f"no fleet runs in {folder}: start it with `soar fleet up FILE --run {folder}`, or name its address. What one that "
            f"ended came to says `soar fleet report {folder}`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder / 'fleet.json'}: cannot be read ({error}); it is made by `soar fleet up`") from error
    try:
        config = RemoteConfig(url=url, retries=0)
        return Coordinator(config, timeout_s, token=read_token(folder)).request(method, path, body)
    except ModelAwayError as error:
        raise ModelAwayError(f"{error} Is the coordinator of {folder} alive (process {there.get('pid')})?") from error


def stop_processes(run: Path) -> int:
    """End the processes of the robots that stand here, without a coordinator; returns how many there were.

    Each leaves its arm safe as it does for any SIGTERM.
    """
    stopped = 0
    for folder in sorted((run / "spool").glob("*")):
        pid = robot_process(folder.name)
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            stopped += 1
    return stopped
