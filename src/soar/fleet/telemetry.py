"""What a fleet counts, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from soar.fleet.supervision import RobotStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
