"""What a fleet counts: as Prometheus reads it (text format 0.0.4), and where its robots' hours went, in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from soar.event_log import Journal
from soar.fleet.supervision import RobotStatus, Supervisor

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


PHASES_EVERY_S = 60.0
"""How often the journal takes note of the robots' phases; so much is unknown of a coordinator that is killed [s]."""


class PhaseTimes:
    """Journals the seconds of each robot in each phase since the last time: `phases`, with `robots`: {NAME: {PHASE: seconds}}.

    Args:
        supervisor: Counts them.
        journal: Of the run.
        clock: Seconds, never going back.
    """

    def __init__(self, supervisor: Supervisor, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        self._supervisor, self._journal, self._clock = supervisor, journal, clock
        self._written: dict[str, dict[str, float]] = {}
        self._next_s = clock() + PHASES_EVERY_S

    def tick(self) -> None:
        """Write them when it is time.

        Raises:
            SoarError: The journal cannot be written.
        """
        if self._clock() >= self._next_s:
            self.write()

    def write(self) -> None:
        """Write them now.

        Raises:
            SoarError: The journal cannot be written.
        """
        self._next_s = self._clock() + PHASES_EVERY_S
        seconds = {robot.name: dict(robot.seconds) for robot in self._supervisor.status()}
        new = {
            name: {phase: round(s - before.get(phase, 0.0), 3) for phase, s in phases.items() if s > before.get(phase, 0.0)}
            for name, phases in seconds.items()
            for before in [self._written.get(name, {})]
        }
        self._journal.append("phases", robots=new)
        self._written = seconds


def metrics(robots: Sequence[RobotStatus], stored: Mapping[str, int], restarts: Mapping[str, int]) -> str:
    """Return the metrics of a fleet.

    Args:
        robots: How they are.
        stored: Episodes of each in the store.
        restarts: How often each one's process was started again.
    """
    lines: list[str] = []

    def add(name: str, kind: str, help: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        lines.append(f"# HELP soar_fleet_{name} {help}")
        lines.append(f"# TYPE soar_fleet_{name} {kind}")
        for labels, value in values:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"soar_fleet_{name}{{{inner}}} {value:g}")

    add("episodes_stored_total", "counter", "Episodes in the store.", (({"robot": n}, c) for n, c in sorted(stored.items())))
    add("episodes_total", "counter", "Episodes recorded.", (({"robot": r.name}, r.episodes) for r in robots))
    add("judged_successes_total", "counter", "Episodes judged successes.", (({"robot": r.name}, r.successes) for r in robots))
    faults = (({"robot": r.name, "kind": kind}, count) for r in robots for kind, count in sorted(r.faults.items()))
    add("faults_total", "counter", "Faults by kind.", faults)
    add("calls_total", "counter", "Times that a person was needed.", (({"robot": r.name}, r.calls) for r in robots))
    add("restarts_total", "counter", "Processes started again.", (({"robot": n}, c) for n, c in sorted(restarts.items())))
    seconds = (({"robot": r.name, "phase": phase}, time_s) for r in robots for phase, time_s in sorted(r.seconds.items()))
    add("phase_seconds_total", "counter", "Seconds in each phase.", seconds)
    add("phase", "gauge", "1 for the phase that a robot is in.", (({"robot": r.name, "phase": r.phase}, 1) for r in robots))
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
