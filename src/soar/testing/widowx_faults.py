"""What goes wrong with WidowX servers, as on real ones; `soar.testing.widowx_server` injects it, planned or at random.

| kind | what the server does |
|---|---|
| late | executes, and answers after `late_s` |
| no_reply | executes, and never answers |
| out_of_order | sets the request aside, answers the next one first, and executes it then; its answer goes nowhere |
| exception | raises in its callback: no answer, the server stops, brings the arm to neutral and starts again |
| stale | the same, since its last frame is older than a second |
| restart | its process ends and another one begins, without a robot until it is initialised |
| uninitialised | forgets its robot: status 3, a state that is empty, frames of noise |
| frozen | shows one frame again and again |
| no_camera | has a picture of three pixels |
| no_motion | finds no way: says success and holds; what was commanded adds up all the same |
| motor_error | a motor's error latches: no torque until it was rebooted; its register tells, where there is one |
| few_motors | the same, and the registers of some motors cannot be read |
| failure | says status 2 |
| not_finite | a state that is not a number |
| hostile | a pickle that runs a program where `pickle` reads it |
| gigabyte | an answer that is a gigabyte when decompressed |
| garbage | bytes that are nothing |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from soar.errors import ConfigError, UnknownNameError
from soar.seeding import generator

KINDS = (
    "late",
    "no_reply",
    "out_of_order",
    "exception",
    "stale",
    "restart",
    "uninitialised",
    "frozen",
    "no_camera",
    "no_motion",
    "motor_error",
    "few_motors",
    "failure",
    "not_finite",
    "hostile",
    "gigabyte",
    "garbage",
)
_OBSERVING = ("stale", "frozen", "no_camera", "not_finite")
_ACTING = ("no_motion", "motor_error", "few_motors", "failure")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFault:
    """One failure.

    Attributes:
        kind: One of `KINDS`.
        request: It happens with the first request of a fitting sort (observation, action) from this one on, counted from 0;
            questions who the server is do not count.
        reboots: How often all joints have to be rebooted until a motor works again.
    """

    kind: str
    request: int
    reboots: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("fault", self.kind, KINDS)
        if self.request < 0 or self.reboots < 1:
            raise ConfigError(f"fault: request must be at least 0 and reboots at least 1, got {self}")

    def fits(self, sort: str) -> bool:
        """Whether it can happen to an observation (`obs`) or a step (`step_action`); nothing happens to other requests."""
        if sort == "obs":
            return self.kind not in _ACTING
        return sort == "step_action" and self.kind not in _OBSERVING


@dataclass(slots=True)
class FaultPlan:
    """Which fault happens to which request.

    Attributes:
        planned: These, in order.
        chance: Besides, that one happens to an observation or step.
        seed: Of those.
        kinds: Which of `KINDS` those are.
        happened: Kinds, in order.
    """

    planned: Sequence[ServerFault] = ()
    chance: float = 0.0
    seed: int = 0
    kinds: Sequence[str] = KINDS
    happened: list[str] = field(default_factory=list)
    _requests: int = 0

    def next(self, sort: str) -> ServerFault | None:
        """Return the fault of the next request, if any."""
        number, self._requests = self._requests, self._requests + 1
        found: ServerFault | None = None
        due = [fault for fault in self.planned if fault.request <= number and fault.fits(sort)]
        if due:
            found = due[0]
            self.planned = [fault for fault in self.planned if fault is not found]
        elif self.chance:
            rng = generator(self.seed, "widowx faults", number)
            if rng.random() < self.chance:
                kind = str(self.kinds[int(rng.integers(len(self.kinds)))])
                drawn = ServerFault(kind=kind, request=number, reboots=int(rng.integers(1, 4)))
                found = drawn if drawn.fits(sort) else None
        if found is not None:
            self.happened.append(found.kind)
        return found
