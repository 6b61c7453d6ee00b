"""What worker processes do in the tests; they import this module by name."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from soar.errors import SoarError
from soar.fleet.processes import Reporter


def square(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    report(half=item["x"] / 2)
    return {"square": item["x"] ** 2, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def light(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    return {"heavy": sorted({"torch", "lance", "numpy"} & set(sys.modules))}


def die_once(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    marker = Path(item["marker"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"survived": True}


def die(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def fail(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    if item["fails"]:
        raise SoarError("no such robot") if item["fails"] == "soar" else ZeroDivisionError("oh")
    return {}


def wait_until_stopped(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Works until the parent asks it to stop; then leaves a file behind."""
    report(pid=os.getpid())
    while not report.stopping:
        report._pipe.poll(0.05)
    Path(item["stopped"]).touch()
    return {}


def never_stop(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Ignores every request, as a solver in a long call would."""
    report(pid=os.getpid())
    while True:
        signal.pause()
