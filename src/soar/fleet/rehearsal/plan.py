"""What goes wrong in a rehearsal, drawn from a seed: the same plan and the same fleet give the same faults.

    seed: 0
    faults: 200             # how many in all
    every_s: 8              # time between two of them, on average [s]
    kinds: {kill: 3, partition: 1}    # how often, against each other; all of them alike by default
    step_s: 0.1             # that a light robot's action takes [s]
    steps: 20               # of an episode
    lease_s: 8              # instead of the fleet's: a rehearsal has no ten minutes for each lost network
    person_s: 4             # after so long whoever was called has come, and lets the robot go on [s]

| kind | what happens | to |
|---|---|---|
| kill | SIGKILL | a robot's process |
| freeze | SIGSTOP for less than its lease | a robot's process |
| replace | SIGSTOP until another computer drives the robot, then SIGCONT | a robot that joins |
| partition | nothing passes between it and the coordinator, for up to two leases | a robot that joins |
| coordinator kill | SIGKILL; it is started again later | the coordinator |
| coordinator freeze | SIGSTOP for up to one and a half leases | the coordinator |
| coordinator disk | it can write no file | the coordinator |
| disk | it can write no file | a robot's process |
| clock | its clock jumps by up to a day, either way | a robot's process |
| slow model | each answer takes a second longer | the subgoal server |
| wrong model | bits of each answer are wrong | the subgoal server |
| no model | nobody answers | the subgoal server |
| camera | the picture stays, until the first reboot | a robot |
| motor | it does not move, until the first reboot | a robot |
| connection | the driver loses it, until the first reboot | a robot |
| broken | a motor that no reboot repairs: a person is needed | a robot |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soar.configuration import read_yaml, validate
from soar.errors import ConfigError, UnknownNameError
from soar.seeding import generator

COORDINATOR, MODEL = "the coordinator", "the subgoal server"
_LASTS = {
    # In leases: shortest and longest.
    "freeze": (0.1, 0.8),
    "replace": (0.0, 0.0),
    "partition": (0.1, 2.0),
    "coordinator kill": (0.1, 1.0),
    "coordinator freeze": (0.1, 1.5),
    "coordinator disk": (0.1, 1.0),
    "disk": (0.1, 1.0),
    "slow model": (0.2, 1.0),
    "wrong model": (0.2, 1.0),
    "no model": (0.2, 1.0),
}
_OF_COORDINATOR = ("coordinator kill", "coordinator freeze", "coordinator disk")
_OF_MODEL = ("slow model", "wrong model", "no model")
_JOINING = ("replace", "partition")
OF_DRIVER = ("camera", "motor", "connection", "broken")
KINDS = ("kill", *_LASTS, "clock", *OF_DRIVER)
"""See the module's docstring."""
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """One thing that goes wrong.

    Attributes:
        number: Counted from 0.
        kind: One of `KINDS`.
        target: A robot's name, `COORDINATOR` or `MODEL`.
        after_s: How long after the one before it [s].
        lasts_s: How long it lasts [s]; 0 for what is over at once.
        seconds: By how much a clock jumps [s].
    """

    number: int
    kind: str
    target: str
    after_s: float
    lasts_s: float
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalPlan:
    """See the module's docstring.

    Attributes:
        seed: Of all draws.
        faults: How many.
        every_s: Mean time between two of them [s].
        kinds: Weights by kind.
        step_s: That a light robot's action takes [s].
        steps: Of an episode.
        lease_s: Of the rehearsed fleet [s].
        person_s: How long a person takes to come [s].
    """

    seed: int = 0
    faults: int = 200
    every_s: float = 8.0
    kinds: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 1.0))
    step_s: float = 0.1
    steps: int = 20
    lease_s: float = 8.0
    person_s: float = 4.0

    def __post_init__(self) -> None:
        for kind, weight in self.kinds.items():
            if kind not in KINDS:
                raise UnknownNameError("kind of fault", kind, KINDS)
            if weight < 0:
                raise ConfigError(f"plan: the weight of {kind!r} must not be negative, got {weight}")
        if self.faults < 0 or self.steps < 1 or min(self.every_s, self.step_s, self.lease_s, self.person_s) <= 0:
            raise ConfigError(
                "plan: faults must not be negative, steps at least 1, and every_s, step_s, lease_s and person_s positive; "
                f"got {self.faults}, {self.steps}, {self.every_s}, {self.step_s}, {self.lease_s} and {self.person_s}"
            )
        if not any(self.kinds.values()):
            raise ConfigError(f"plan: kinds has no kind of fault with a weight above 0; there are {', '.join(KINDS)}")

    def check(self, joining: Sequence[str]) -> None:
        """Refuse faults that no robot of a fleet can have.

        Args:
            joining: The robots that join.

        Raises:
            ConfigError: There is none that joins, and the plan names faults of such robots.
        """
        wanted = [kind for kind in _JOINING if self.kinds.get(kind)]
        if wanted and not joining:
            raise ConfigError(
                f"plan: {' and '.join(wanted)} are faults of robots that join, and no robot of the fleet does: give one "
                "`at: join`, or list other `kinds`"
            )

    def fault(self, number: int, robots: Sequence[str], joining: Sequence[str]) -> PlannedFault:
        """Return the fault of a number.

        Args:
            number: Counted from 0.
            robots: All of them.
            joining: Those that join.
        """
        kinds = sorted(kind for kind, weight in self.kinds.items() if weight)
        total = sum(self.kinds[kind] for kind in kinds)
        rng = generator(self.seed, "rehearsal", number)
        kind = kinds[int(rng.choice(len(kinds), p=[self.kinds[kind] / total for kind in kinds]))]
        whom = [COORDINATOR] if kind in _OF_COORDINATOR else [MODEL] if kind in _OF_MODEL else list(robots)
        whom = list(joining) if kind in _JOINING else whom
        shortest, longest = _LASTS.get(kind, (0.0, 0.0))
        return PlannedFault(
            number=number,
            kind=kind,
            target=whom[int(rng.integers(len(whom)))],
            after_s=float(rng.uniform(0.5, 1.5)) * self.every_s,
            lasts_s=float(rng.uniform(shortest, longest)) * self.lease_s,
            seconds=float(rng.uniform(-_DAY_S, _DAY_S)) if kind == "clock" else 0.0,
        )


def load_plan(path: Path) -> RehearsalPlan:
    """Read a plan.

    Raises:
        UnknownNameError: A key, or a kind of fault, does not exist.
        ConfigError: The file cannot be read, or a value is invalid; the message names it.
    """
    return validate(RehearsalPlan, read_yaml(path), str(path))
