"""Which of several policies is to do which task, by trials of each.

A policy's rate at a task is drawn towards its rate over all tasks by two trials' worth: one lucky trial decides nothing, as
(successes + 2 rate) / (trials + 2) is compared. The policy with the greatest one has the task; of equal ones the first. The
best of several looks better than it is: what a choice is worth, only trials on other starts say.

Trials, and not attempts of practice. Where nobody sets the table an attempt begins where the one before ended, and a judge that
is wrong about one policy's ways more often than about another's chooses that one (docs/learning-notes.md, entry 25).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from soar.errors import ConfigError
from soar.evaluation.statistics import Rate
from soar.evaluation.trials import Evaluation, TrialKey

_PRIOR = 2.0
_NONE = Rate(successes=0, trials=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who does a task.

    Attributes:
        task: Its instruction.
        rates: Successes of each policy at it, by the policy's name.
        policy: Name of the chosen one.
    """

    task: str
    rates: Mapping[str, Rate]
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Who does what.

    Attributes:
        tasks: That were tried, by name.
        otherwise: Name of the policy for all others: the one whose mean rate over tasks is greatest.
        unlike: Tasks that the policies were tried at from different starts, of which some are easier than others.
    """

    tasks: tuple[Choice, ...]
    otherwise: str
    unlike: tuple[str, ...] = ()


def choose(evaluations: Sequence[Evaluation], policies: Mapping[str, str]) -> Choices:
    """Choose a policy for each task.

    Args:
        evaluations: Of the policies; one of them may have several, on different starts.
        policies: Name to id, at least two.

    Raises:
        ConfigError: Some policy was not tried at all, or not at some task, a start counts twice, or judges differ.
    """
    if len(set(policies.values())) < len(policies):
        raise ConfigError(f"{', '.join(policies)} are not all different policies: name each once")
    mine = [(name, one) for one in evaluations for name, id in policies.items() if one.policy == id and one.trials]
    if untried := [f"{name} ({policies[name]})" for name in policies if name not in {name for name, _ in mine}]:
        found = ", ".join(f"{one.variant} ({one.policy})" for one in evaluations) or "none"
        raise ConfigError(
            f"{', '.join(untried)} was not tried in these evaluations, which are of: {found}. Try it "
            "(`soar evaluate --policy …`) and name its file, too"
        )
    if len(judges := {one.judge.partition(":")[0] for _, one in mine}) > 1:
        raise ConfigError(f"the evaluations were judged in different ways ({', '.join(sorted(judges))}): choose by one judge's")
    told: dict[str, dict[str, Rate]] = {}
    seen: set[tuple[str, TrialKey]] = set()
    for name, evaluation in mine:
        for trial in evaluation.trials:
            if (name, trial.key) in seen:
                raise ConfigError(
                    f"{name} was tried twice at one start of {trial.task!r} in {trial.scene}: name one of the files, or try "
                    "it on other starts (--first-trial)"
                )
            seen.add((name, trial.key))
            rates = told.setdefault(trial.task, {})
            rates[name] = rates.get(name, _NONE) + Rate(successes=int(trial.success), trials=1)
    if alone := [
        f"{task!r} was tried by {', '.join(rates)} alone" for task, rates in told.items() if len(rates) < len(policies)
    ]:
        raise ConfigError(f"{alone[0]}: try all policies at the same tasks")
    over_all = {name: reduce(Rate.__add__, (rates.get(name, _NONE) for rates in told.values()), _NONE) for name in policies}

    def expected(name: str, rate: Rate) -> float:
        return (rate.successes + _PRIOR * over_all[name].value) / (rate.trials + _PRIOR)

    tasks = []
    for task, rates in sorted(told.items()):
        whole = {name: rates[name] for name in policies}
        best = max(whole, key=lambda name: expected(name, whole[name]))
        tasks.append(Choice(task=task, rates=whole, policy=best))
    begun = {task: [{key for name, key in seen if name == which and key[1] == task} for which in policies] for task in told}
    unlike = tuple(task for task, starts in sorted(begun.items()) if any(each != starts[0] for each in starts))
    mean = {name: sum(expected(name, one.rates[name]) for one in tasks) for name in policies}
    return Choices(tasks=tuple(tasks), otherwise=max(mean, key=mean.__getitem__), unlike=unlike)
