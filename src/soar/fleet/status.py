"""What is known of each robot of a fleet, as `soar.fleet.supervision` keeps it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

NOT_STARTED, SILENT, WAITING, STOPPED = "not started", "silent", "waiting", "stopped"
"""Phases that are not, or not only, what a robot says."""


@dataclass(slots=True)
class RobotStatus:
    """What is known of one robot.

    Attributes:
        name: Of the robot.
        phase: What it said last, or what its silence means.
        detail: In words.
        scene: In front of it.
        instruction: That it attempts now; empty for none.
        policy: Id of the policy that it runs.
        since_s: When the phase began [s, of the supervisor's clock].
        counted_s: Until when its seconds are counted [s].
        heard_s: When it was heard of last; None: never.
        waiting: Episodes on its disk that the store does not have yet.
        episodes: Recorded since the coordinator began.
        successes: Of those, judged ones.
        faults: By kind.
        calls: How often a person was needed.
        fallbacks: How often something was done while a model was away: the last subgoal again, say.
        waits: For models behind servers, by kind, see `soar.prometheus.Histogram.plain`.
        worked_s: Of work since the last rest [s].
        seconds: In each phase [s].
    """

    name: str
    phase: str = NOT_STARTED
    detail: str = ""
    scene: str = ""
    instruction: str = ""
    policy: str = ""
    since_s: float = 0.0
    counted_s: float = 0.0
    heard_s: float | None = None
    waiting: int = 0
    episodes: int = 0
    successes: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    fallbacks: int = 0
    waits: dict[str, list[float]] = field(default_factory=dict)
    worked_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)


def phases_said(robots: Sequence[RobotStatus]) -> str:
    """Return how many robots are in which phase, in words."""
    counts = Counter(robot.phase for robot in robots)
    return ", ".join(f"{count} {phase}" for phase, count in counts.most_common())
