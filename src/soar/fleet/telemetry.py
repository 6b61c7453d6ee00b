"""What a fleet counts: as Prometheus reads it, and where its robots' hours went, in the journal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from soar.event_log import Journal
from soar.fleet.status import RobotStatus
from soar.fleet.supervision import Supervisor
from soar.prometheus import Histogram, MetricsText, merged

SERVED = ("subgoal", "policy", "vlm")
"""Kinds of models that robots wait for when they are behind servers (`soar.remote.waits`)."""

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
    text = MetricsText("soar_fleet")

    def count(name: str, help: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
        text.add(f"{name}_total", "counter", help, values)

    count("episodes_stored", "Episodes in the store.", (({"robot": n}, c) for n, c in sorted(stored.items())))
    count("episodes", "Episodes recorded.", (({"robot": r.name}, r.episodes) for r in robots))
    count("judged_successes", "Episodes judged successes.", (({"robot": r.name}, r.successes) for r in robots))
    faults = (({"robot": r.name, "kind": kind}, count) for r in robots for kind, count in sorted(r.faults.items()))
    count("faults", "Faults by kind.", faults)
    count("calls", "Times that a person was needed.", (({"robot": r.name}, r.calls) for r in robots))
    count("restarts", "Processes started again.", (({"robot": n}, c) for n, c in sorted(restarts.items())))
    count("fallbacks", "Answers that a robot did without.", (({"robot": r.name}, r.fallbacks) for r in robots))
    seconds = (({"robot": r.name, "phase": phase}, time_s) for r in robots for phase, time_s in sorted(r.seconds.items()))
    count("phase_seconds", "Seconds in each phase.", seconds)
    text.add(
        "phase", "gauge", "1 for the phase that a robot is in.", (({"robot": r.name, "phase": r.phase}, 1) for r in robots)
    )
    waits = [(kind, merged([Histogram.read(r.waits[kind]) for r in robots if kind in r.waits])) for kind in SERVED]
    text.histogram(
        "model_wait_seconds",
        "How long robots waited for a model behind a server.",
        [({"kind": kind}, histogram) for kind, histogram in waits if any(histogram.counts)],
    )
    return str(text)


def read_asked(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a robot's `asked` can be believed.

    How often it did without an answer (`fallbacks`), its `waits` by kind of model, how many of its attempts looks `ended`, and
    how many steps that `saved`.
    """
    said, waits = event.get("waits"), {}
    for kind in SERVED:
        with contextlib.suppress(ValueError):
            waits[kind] = Histogram.read(said.get(kind) if isinstance(said, Mapping) else None).plain()
    counts = {name: event.get(name) for name in ("fallbacks", "ended", "saved")}
    believed = {name: count if type(count) is int and count > 0 else 0 for name, count in counts.items()}
    return {**believed, "waits": waits}
