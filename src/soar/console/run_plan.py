"""What a run of `soar improve` set out to do, as its folder says: what it learns from, and how many rounds; and its end."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from soar.configuration import read_yaml
from soar.errors import CheckpointError, SoarError
from soar.policies.named import id_in
from soar.run_claim import CONFIG
from soar.run_folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run set out to do.

    Attributes:
        rounds: Of collection and training.
        success_only: Whether it learns only from what was judged a success …
        threshold: … with this probability at least; 0 leaves it to the judge.
    """

    rounds: int
    success_only: bool
    threshold: float


def plan_of(run: Path | None) -> Plan | None:
    """Return what a run set out to do; None where nothing is learned, or its folder does not say it."""
    try:
        improvement = {} if run is None else read_yaml(run / CONFIG)["preset"]["improvement"]
        return Plan(
            rounds=int(improvement["rounds"]),
            success_only=bool(improvement["success_only"]),
            threshold=float(improvement["threshold"]),
        )
    except (SoarError, KeyError, TypeError, ValueError):
        return None


def finished(run: Path | None) -> str:
    """Return in words that all rounds of a run are finished, which policy is deployed, and how to go on; else nothing."""
    return "" if run is None else _finished(run, *(_mark(path) for path in (run / CONFIG, RunFolder(run).journal_file)))


@functools.lru_cache(maxsize=64)
def _finished(run: Path, *_marks: tuple[int, int]) -> str:
    """The same, anew when one of the files that say it has changed: pages ask often, and journals are long."""
    plan, folder = plan_of(run), RunFolder(run)
    done = {event.get("round") for event in folder.events("round_finished")}
    if plan is None or not plan.rounds or not done.issuperset(range(1, plan.rounds + 1)):
        return ""
    number, on_trial = folder.in_use(), folder.on_trial() is not None
    which = "the policy that the run began with" if number == 0 else f"the candidate of round {number}"
    rounds = f"all {plan.rounds} rounds are" if plan.rounds > 1 else "its round is"
    return (
        f"finished: {rounds} done. Deployed{' on trial' if on_trial else ''}: {name_in(folder, number)}, {which}. "
        f"The same command with --rounds {plan.rounds + 1} would go on"
    )


def _mark(path: Path) -> tuple[int, int]:
    """Return what changes with a file."""
    try:
        status = path.stat()
        return status.st_mtime_ns, status.st_size
    except OSError:
        return 0, 0


def name_in(folder: RunFolder, number: int) -> str:
    """Return the id of policy `number` of a run; while its folder does not say it, the folder's name."""
    try:
        return id_in(folder.policy(number))
    except CheckpointError:
        return folder.policy(number).name
