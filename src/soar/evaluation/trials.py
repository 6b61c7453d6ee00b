"""What an evaluation found: one file, every trial in it, so that it can be resumed, pooled and compared start by start.

A trial is identified by (scene, task, seed); the seed alone decides the start, so equal keys are paired across policies.
The file is rewritten whole and atomically; `missing` says what a resumed evaluation still has to run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from soar.collect.rollout import RolloutConfig
from soar.configuration import validate
from soar.errors import SoarError
from soar.evaluation.statistics import Rate
from soar.files import write_json
from soar.types import STEP_S
from soar.untrusted import parse_json

SCHEMA = "2.1"
"""Version of the file; a reader knows its major number and the one before, in which the variant was called arm."""
TrialKey: TypeAlias = tuple[str, str, int]
"""(scene, task, seed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attempt from one seeded start.

    Attributes:
        scene: Name of the scene.
        task: The instruction.
        seed: What the start and every random draw of the trial derive from.
        success: Whether it worked, as the evaluation's judge says; what is undecidable did not.
        steps: Actions taken.
        note: What the judge remarked.
        reflexes: How often the robot backed off.
        looks: How often it was looked whether it has succeeded, on the way.
        ended_early: Whether looks ended it.
    """

    scene: str
    task: str
    seed: int
    success: bool
    steps: int
    note: str = ""
    reflexes: int = 0
    looks: int = 0
    ended_early: bool = False

    @property
    def key(self) -> TrialKey:
        """What pairs this trial with another policy's."""
        return self.scene, self.task, self.seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Trials of one policy.

    Attributes:
        variant: What the policy is in the comparison at hand (`pretrained`, `improved`, …).
        policy: Its id.
        subgoal_model: Id of the model that made its subgoals; empty for a policy that needs none.
        judge: Who said whether it worked: `truth` (a simulator's state), a model's id, or `person:NAME`.
        rollout: How long an episode was, and what happened in it beside what the policy did.
        looked_by: Id of the model that looked on the way whether an attempt has succeeded; empty when nobody did.
        restored: Whether each trial began from the start of its seed: set by the workcell, or restored by a person. Otherwise
            the table was as it happened to be, and trials of equal seeds are not paired.
        trials: In any order, one a (scene, task, seed).
        done_before: Where nothing was tried, because the judge saw that the task was done already; they count as nothing. Only
            where nobody sets the starts.
    """

    variant: str
    policy: str
    subgoal_model: str = ""
    judge: str = "truth"
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    looked_by: str = ""
    restored: bool = True
    trials: tuple[Trial, ...] = ()
    done_before: tuple[TrialKey, ...] = ()

    def __post_init__(self) -> None:
        if len({trial.key for trial in self.trials}) != len(self.trials):
            raise ValueError(f"evaluation {self.variant!r}: a (scene, task, seed) occurs more than once")

    def rate(self) -> Rate:
        """Return the success rate over all trials."""
        return Rate(successes=sum(trial.success for trial in self.trials), trials=len(self.trials))

    def by_task(self) -> dict[str, Rate]:
        """Return the success rate of each task, in the order in which tasks first occur."""
        rates: dict[str, Rate] = {}
        for trial in self.trials:
            rates[trial.task] = rates.get(trial.task, Rate(successes=0, trials=0)) + Rate(successes=trial.success, trials=1)
        return rates

    def outcomes(self) -> dict[TrialKey, bool]:
        """Return the success of each start, for paired comparisons."""
        return {trial.key: trial.success for trial in self.trials}

    def missing(self, wanted: Iterable[TrialKey]) -> list[TrialKey]:
        """Return those of the wanted trials that were not run yet, in their order."""
        done = {trial.key for trial in self.trials} | set(self.done_before)
        return [key for key in wanted if key not in done]

    @property
    def saved(self) -> str:
        """What attempts saved that looks ended, in words; empty where nobody looked."""
        ended = [self.rollout.steps - trial.steps for trial in self.trials if trial.ended_early]
        hours = sum(ended) * STEP_S / 3600
        said = f"{len(ended)} of {len(self.trials)} attempts of {self.variant} ended when success was seen"
        return f"{said}: {sum(ended)} steps, {hours:.2f} robot-hours saved" if self.looked_by else ""

    @property
    def left_out(self) -> str:
        """What does not count, in words; empty when everything does."""
        times = len(self.done_before)
        return f"{times} start{'s' * (times != 1)} of {self.variant} not counted: the task was done already" if times else ""

    def extended(self, trials: Iterable[Trial]) -> Evaluation:
        """Return this evaluation with more trials."""
        return replace(self, trials=(*self.trials, *trials))


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation as JSON, atomically."""
    write_json(path, {"schema": SCHEMA, **asdict(evaluation)})


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation.

    Raises:
        SoarError: The file is missing, not JSON, not an evaluation, or of an unknown major version.
    """
    data = read_json_object(path)
    major = str(data.pop("schema", "none")).partition(".")[0]
    if major not in ("1", "2"):
        raise SoarError(
            f"{path}: evaluations of schema {major} cannot be read, only 1 and 2. "
            "Update soar, or move the file away and evaluate again."
        )
    if major == "1" and "arm" in data:
        data["variant"] = data.pop("arm")
    return validate(Evaluation, data, str(path))


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file whose top level is an object.

    Raises:
        SoarError: It is missing, unreadable, not JSON, or not an object.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SoarError(f"{path}: cannot be read ({error.strerror}). Run the command that writes it first.") from error
    except ValueError as error:
        raise SoarError(f"{path}: not valid JSON ({error}). Move it away and run the command that writes it again.") from error
    if not isinstance(data, dict):
        raise SoarError(f"{path}: expected a JSON object, got {type(data).__name__}. Is it the right file?")
    return data
