"""Which of the feasible tasks to attempt; by default the one whose success rate is known least (paper §3, equation 1).

    ucb       sqrt(log(N + 1) / (n + 1)), N over the feasible tasks: attempts spread evenly over what is feasible
    zone      the released code's score: tasks near a wished success rate, and tasks that were tried little
    uniform   any
    cycling   the scene's order, over and over
    human     a person at the terminal

Everything random is a function of the seed and of the number of attempts so far, so that a collector that restarts goes on as
if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from soar.errors import ConfigError
from soar.seeding import generator
from soar.terminal import Terminal

SelectionName = Literal["ucb", "zone", "uniform", "cycling", "human"]


class Selector(Protocol):
    """Chooses a task."""

    def select(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int] | None = None) -> str:
        """Return the task to attempt.

        Args:
            feasible: The tasks that the model considers feasible, all of them keys of `counts`. When there is none, any task
                of `counts` may come: that usually perturbs the scene enough for the next proposal to succeed (§G).
            counts: Attempts so far of every task that may be attempted, in the scene's order.
            successes: How many of those were judged successes; none by default.

        Raises:
            ValueError: `counts` is empty.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UCBSelector:
    """Upper-confidence-bound selection without a reward term: it spreads attempts evenly over what is feasible.

    Attributes:
        seed: Ties and random tasks are a function of it and of the number of attempts so far.
    """

    seed: int = 0

    def scores(self, feasible: Collection[str], counts: Mapping[str, int]) -> dict[str, float]:
        """Return sqrt(log(N + 1) / (n + 1)) of each feasible task; N is the sum of n over the feasible tasks alone."""
        total = sum(counts[task] for task in feasible)
        return {task: math.sqrt(math.log(total + 1) / (counts[task] + 1)) for task in feasible}

    def select(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int] | None = None) -> str:
        """Return the task with the highest score, see `Selector.select`; successes do not count."""
        return _best(self.scores(feasible, counts), counts, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSelector:
    """Zone of proximal development: neither what always works nor what never does, and what was tried little.

    Attributes:
        seed: Of ties and random tasks.
        zone_center: The success rate that is best for learning.
        ucb_weight: Of the bonus for tasks that were tried little, in which N is the sum over all tasks.
        random_share: Probability of a uniformly random task instead.
    """

    seed: int = 0
    zone_center: float = 0.3
    ucb_weight: float = 100.0
    random_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.zone_center <= 1 or not 0 <= self.random_share <= 1 or self.ucb_weight < 0:
            raise ConfigError(
                "zone_center and random_share must be in 0..1 and ucb_weight not negative, got "
                f"{self.zone_center}, {self.random_share} and {self.ucb_weight}"
            )

    def scores(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int]) -> dict[str, float]:
        """Return (1 − |rate − zone_center|) + ucb_weight · sqrt(log(N + 1) / (n + 1)); an untried task has a rate of 0."""
        log_total = math.log(sum(counts.values()) + 1)
        return {
            task: 1
            - abs(successes.get(task, 0) / max(counts[task], 1) - self.zone_center)
            + self.ucb_weight * math.sqrt(log_total / (counts[task] + 1))
            for task in feasible
        }

    def select(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int] | None = None) -> str:
        """Return the task with the highest score, or a random one, see `Selector.select`."""
        if generator(self.seed, "random task", sum(counts.values())).random() < self.random_share:
            return _best(dict.fromkeys(feasible, 0.0), counts, self.seed)
        return _best(self.scores(feasible, counts, successes or {}), counts, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformSelector:
    """Any feasible task.

    Attributes:
        seed: Of the draws.
    """

    seed: int = 0

    def select(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int] | None = None) -> str:
        """Return a random task, see `Selector.select`."""
        return _best(dict.fromkeys(feasible, 0.0), counts, self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclingSelector:
    """The scene's tasks in their order, over and over; those that are not feasible are passed over."""

    def select(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int] | None = None) -> str:
        """Return the next task, see `Selector.select`."""
        order = list(counts)
        if not order:
            raise ValueError("there is no task to select from")
        begin = sum(counts.values()) % len(order)
        turn = order[begin:] + order[:begin]
        return next((task for task in turn if task in feasible), turn[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanSelector:
    """Asks a person.

    Attributes:
        terminal: Where.
    """

    terminal: Terminal = field(default_factory=lambda: Terminal(otherwise="let something else select, such as ucb"))

    def select(self, feasible: Collection[str], counts: Mapping[str, int], successes: Mapping[str, int] | None = None) -> str:
        """Return what the person chose, see `Selector.select`.

        Raises:
            ConfigError: There is no terminal.
        """
        tasks = [task for task in counts if task in feasible] or list(counts)
        if not tasks:
            raise ValueError("there is no task to select from")
        listed = "\n".join(f"{number} {task}" for number, task in enumerate(tasks, start=1))
        said = self.terminal.ask(None, f"{listed}\nWhich task next?", [str(i) for i in range(1, len(tasks) + 1)])
        return tasks[int(said) - 1]


def _best(scores: Mapping[str, float], counts: Mapping[str, int], seed: int) -> str:
    """Return a task with the highest score, any task when there are no scores."""
    if not counts:
        raise ValueError("there is no task to select from")
    candidates = scores or dict.fromkeys(counts, 0.0)
    best = max(candidates.values())
    tied = sorted(task for task, score in candidates.items() if score == best)
    rng = generator(seed, "task selection", sum(counts.values()))
    return tied[int(rng.integers(len(tied)))]
