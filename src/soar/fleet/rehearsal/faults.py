"""How each kind of fault (`soar.fleet.rehearsal.plan`) is done to a fleet on a stage, and undone."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from soar.files import write_text
from soar.fleet.rehearsal.lines import State
from soar.fleet.rehearsal.plan import COORDINATOR, PlannedFault
from soar.fleet.rehearsal.stage import Stage

_REPLACED_S = 90.0
_LINES: dict[str, State] = {"partition": "cut", "slow model": "slow", "wrong model": "wrong", "no model": "refuses"}


@dataclass(slots=True)
class Injected:
    """A fault that was done.

    Attributes:
        fault: What was planned.
        pid: The process that it was done to, 0 for none.
        until_s: When it is undone [s, monotonic].
        undo: Undoes it.
        early: Whether it may be undone now, whatever `until_s` says.
    """

    fault: PlannedFault
    pid: int
    until_s: float
    undo: Callable[[], None] = lambda: None
    early: Callable[[], bool] = lambda: False


def inject(stage: Stage, fault: PlannedFault) -> Injected | str:
    """Do a fault to a fleet; returns why it cannot be done now."""
    until_s = time.monotonic() + fault.lasts_s
    if fault.kind in _LINES:
        return _to_line(stage, fault, until_s)
    if fault.target == COORDINATOR:
        running = stage.up and stage.coordinator.alive() and stage.coordinator.process is not None
        pid = stage.coordinator.process.pid if running and stage.coordinator.process is not None else None
    else:
        pid = stage.pid(fault.target)
    if pid is None or _frozen(pid):
        return "its process does not run" if pid is None else "its process is frozen"
    return (_to_coordinator if fault.target == COORDINATOR else _to_robot)(stage, fault, pid, until_s)


def _to_line(stage: Stage, fault: PlannedFault, until_s: float) -> Injected | str:
    line = stage.joined[fault.target].line if fault.kind == "partition" else stage.model
    if line.state != "passes":
        return f"the line is {line.state} already"
    line.state = _LINES[fault.kind]
    return Injected(fault, 0, until_s, lambda: setattr(line, "state", "passes"))


def _to_robot(stage: Stage, fault: PlannedFault, pid: int, until_s: float) -> Injected:
    if fault.kind == "kill":
        _signal(pid, signal.SIGKILL)
        return Injected(fault, pid, until_s)
    if fault.kind == "disk":
        return Injected(fault, pid, until_s, _full_disk(pid))
    if fault.kind == "freeze":
        _signal(pid, signal.SIGSTOP)
        return Injected(fault, pid, until_s, lambda: _signal(pid, signal.SIGCONT))
    if fault.kind == "replace":
        _signal(pid, signal.SIGSTOP)
        before = stage.switch(fault.target)

        def replaced() -> bool:
            return _driven_by(stage, fault.target) not in ("", str(pid))

        def wake() -> None:
            if not replaced():  # the other computer was too slow: the robot stays where it is
                stage.switch(fault.target).end()
            if before.process is not None:
                _signal(before.process.pid, signal.SIGCONT)

        return Injected(fault, pid, time.monotonic() + _REPLACED_S, wake, replaced)
    write_text(stage.folder / "faults" / fault.target / fault.kind, f"{fault.seconds}")
    return Injected(fault, pid, until_s)


def _to_coordinator(stage: Stage, fault: PlannedFault, pid: int, until_s: float) -> Injected:
    if fault.kind == "coordinator disk":
        return Injected(fault, pid, until_s, _full_disk(pid, lambda: [stage.pid(name) for name in stage.config.robots]))
    if fault.kind == "coordinator freeze":
        _signal(pid, signal.SIGSTOP)
        return Injected(fault, pid, until_s, lambda: _signal(pid, signal.SIGCONT))
    stage.up = False
    _signal(pid, signal.SIGKILL)
    return Injected(fault, pid, until_s, lambda: setattr(stage, "up", True))


def _driven_by(stage: Stage, robot: str) -> str:
    """Return the process that the coordinator believes to drive a robot, empty when that is not known."""
    state = stage.ask("GET", "/v1/status")
    said = next((one["driven_by"] for one in state["robots"] if one["name"] == robot), "") if state else ""
    words = str(said).split()
    return words[1] if len(words) > 1 else ""


def _full_disk(pid: int, others: Callable[[], list[int | None]] = lambda: []) -> Callable[[], None]:
    """Let a process write no file, as though no disk had room; returns what ends that, for its children among `others`, too."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))

    def undo() -> None:
        for process in (pid, *others()):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(process, resource.RLIMIT_FSIZE, before)

    return undo


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _frozen(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False
