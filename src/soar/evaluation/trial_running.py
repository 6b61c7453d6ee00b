"""One trial after another on an open workcell, judged by its truth or by a vision-language model.

    set the start, if the place can ─► home ─► rollout, with looks ─► judge ─► Trial, and for some an episode to look at

Where the place cannot set the start, a task may be done before anybody has tried it: the judge looks at the start, too, and
nothing is tried from one that it calls a success. A trial in which the robot fails is begun again; one in which a model was
away stops the evaluation, since it measures another robot.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from soar.collect.early_success import EarlySuccess
from soar.collect.models import open_subgoals, open_vlm
from soar.collect.rollout import Rollout, RolloutConfig, rollout
from soar.configuration import validate
from soar.episodes.schema import PERSON
from soar.errors import ConfigError, RobotFault
from soar.evaluation.films import keep_film
from soar.evaluation.trials import Trial, TrialKey
from soar.fleet.pausing import go_home
from soar.fleet.processes import Reporter
from soar.fleet.session import simulated_workcell
from soar.policies.base import Policy
from soar.policies.exploration import ScaledPolicy
from soar.policies.loading import load_policy
from soar.remote import fallbacks
from soar.robots.safety import SafetyError
from soar.robots.workcell import Workcell
from soar.run_orders import Orders
from soar.subgoals.base import SubgoalModel
from soar.tasks import SuccessDetector
from soar.tasks.views import LAST
from soar.terminal import Terminal
from soar.types import Image, Label, Observation, Provenance, Task

log = logging.getLogger(__name__)
T = TypeVar("T")
JudgeName = Literal["truth", "person", "vlm"]
Judge: TypeAlias = Callable[[Rollout, Task], Label]
ATTEMPTS = 10
"""How often a trial is begun when the robot fails in it, or in the recovery before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialConfig:
    """How trials are run and judged; JSON-able.

    Attributes:
        workcell: Name of the workcell.
        policy: Name of the policy.
        subgoals: Name of the subgoal model, `oracle`, or "" for none.
        variant: What the policy is in the comparison at hand.
        films: Store of the trials that are kept.
        image_size: Of a simulated camera [px].
        action_scale: Factor on the policy's motions.
        judge: Who says whether it worked.
        vlm: Name of the model that looks on the way, if anybody does, and that judges, with `judge: vlm`.
        threshold: Its least probability of success.
        sees: What it sees of an attempt (`soar.tasks.views`).
        questions: File of questions that count more than the scene's; "" for none.
        rollout: How long a trial is, whether a robot that stands still backs off, and whether looks end it.
        run: Folder of a run that a person may pause or stop (`soar.run_orders`); "" for none.
    """

    workcell: str
    policy: str
    subgoals: str
    variant: str
    films: str
    image_size: int | None = None
    action_scale: float = 1.0
    judge: JudgeName = "truth"
    vlm: str = ""
    threshold: float = 0.5
    sees: str = LAST
    questions: str = ""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    run: str = ""


def check_looks(workcell: Workcell, *, rollout: RolloutConfig, vlm: str, sees: str = LAST) -> str:
    """Return the id of who looks on the way, "" when nobody does.

    Raises:
        ConfigError: Somebody is to look and nobody is named, or the workcell is to look and cannot, or the model cannot see so.
        ModelServerError: The model does not answer.
    """
    if not rollout.early_success.looks:
        return ""
    if not vlm:
        raise ConfigError("evaluate: name the VLM that looks whether an attempt has succeeded, or set early_success.every: 0")
    detector = SuccessDetector(open_vlm(vlm, workcell), sees=sees)
    detector.check()
    return detector.id


def check_judge(workcell: Workcell, *, judge: JudgeName, vlm: str, sees: str = LAST, name: str = "") -> str:
    """Return who judges: `truth`, the success detector's id, or `person:NAME`.

    Raises:
        ConfigError: The workcell knows no truth, the model cannot see so, or the person has no name or no terminal.
        ModelServerError: The model does not answer.
    """
    if judge == "vlm":
        detector = SuccessDetector(open_vlm(vlm, workcell), sees=sees)
        detector.check()
        return detector.id
    if judge == "person":
        return check_person(name)
    if workcell.truth is None:
        raise ConfigError(
            f"workcell {workcell.name!r} does not know whether a task is done: its driver has no truth(instruction). Let a "
            "person or a model say so: --judge person, or --judge vlm (soar improve: --evaluate person, vlm, or off)"
        )
    return "truth"


def check_person(name: str, terminal: Terminal | None = None) -> str:
    """Return who judges, as evaluations name them.

    Raises:
        ConfigError: Nobody is named, or there is no terminal.
    """
    who = check_named(name)
    (terminal or Terminal(otherwise="let the workcell's truth or a model judge")).check()
    return who


def check_named(name: str) -> str:
    """Return who judges, as evaluations name them.

    Raises:
        ConfigError: Nobody is named.
    """
    if not name:
        raise ConfigError("a person judges, and evaluations say who: name yourself with --judge-name")
    return f"{PERSON}{name}"


def run_chunk(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Run some trials on a simulated workcell (worker entry point); reports the fields of each `Trial`, or `done_before`.

    Args:
        item: `config`, see `TrialConfig`, and `trials`: lists of task, seed, and whether the episode is kept.
        report: Of the worker.
    """
    config = validate(TrialConfig, item["config"], "trials")
    questions = Path(config.questions) if config.questions else None
    run_trials(
        simulated_workcell(config.workcell, config.image_size, questions),
        config,
        [(task, seed, keep) for task, seed, keep in item["trials"]],
        on_trial=lambda trial: report(**asdict(trial)),
        on_done_before=lambda key: report(done_before=list(key)),
        stopping=lambda: report.stopping,
    )
    return {}


def run_trials(
    workcell: Workcell,
    config: TrialConfig,
    trials: Sequence[tuple[str, int, bool]],
    *,
    on_trial: Callable[[Trial], None],
    on_done_before: Callable[[TrialKey], None],
    stopping: Callable[[], bool] = lambda: False,
) -> None:
    """Run trials one after another.

    Args:
        workcell: Open.
        config: How.
        trials: Task, seed, and whether the episode is kept, of each.
        on_trial: Called with each.
        on_done_before: Called with the start of each that was not run, since the task was done already.
        stopping: Asked before each; True ends it early, as a person does who stops the run.

    Raises:
        RobotFault: A robot failed in a trial again and again, or cannot be recovered.
    """
    policy = policy_of(config)
    subgoal_model = open_subgoals(config.subgoals, workcell) if config.subgoals else None
    looks = config.rollout.early_success.looks
    detector = None
    if looks or config.judge == "vlm":
        detector = SuccessDetector(open_vlm(config.vlm, workcell), config.threshold, sees=config.sees)
    judge = _judge(config, workcell, detector)
    tasks = {task.instruction: task for task in workcell.scene.tasks}
    orders = Orders(Path(config.run)) if config.run else None
    rest = functools.partial(go_home, workcell.robot, workcell.name)
    for number, (instruction, seed, keep) in enumerate(trials):
        # Whoever begins a command that is paused may stand at the arm: it goes home only from a trial.
        if orders is not None and orders.wait(workcell.name, stopping=stopping, rest=rest if number else None).stopped:
            return
        if stopping():
            return
        task, key = tasks[instruction], (workcell.scene.name, instruction, seed)
        if workcell.reset_for is None and _done_before(workcell, task, config, detector):
            on_done_before(key)
            continue
        result, looked, failed = run_trial(
            workcell, task, subgoal_model, policy, seed=seed, config=config.rollout, detector=detector if looks else None
        )
        label = judge(result, task)
        if keep:
            made_by = Provenance(
                policy=policy.id,
                subgoal_model=subgoal_model.id if subgoal_model is not None and result.subgoals else "",
                robot=workcell.name,
                run=config.variant,
                seed=seed,
            )
            keep_film(
                Path(config.films), result, scene=workcell.scene.name, instruction=instruction, label=label, made_by=made_by
            )
        again = f"repeated {failed} x: the robot failed" if failed else ""
        note = "; ".join(filter(None, ["" if label.success is not None else f"undecidable: {label.answer}", again]))
        on_trial(trial_of(key, result, looked=looked, success=label.success is True, note=note))


def trial_of(key: TrialKey, result: Rollout, *, looked: int, success: bool, note: str) -> Trial:
    """Return what an evaluation keeps of a rollout: of the start `key`, looked at so often on the way, and judged."""
    scene, task, seed = key
    return Trial(
        scene=scene,
        task=task,
        seed=seed,
        success=success,
        steps=len(result.actions_TD),
        note=note,
        reflexes=len(result.reflexes),
        looks=looked,
        ended_early=result.ended_early,
    )


def run_trial(
    workcell: Workcell,
    task: Task,
    subgoal_model: SubgoalModel | None,
    policy: Policy,
    *,
    seed: int,
    config: RolloutConfig,
    detector: SuccessDetector | None = None,
    attempts: int = ATTEMPTS,
) -> tuple[Rollout, int, int]:
    """Set the start where the workcell can, go home, and let the policy try; begun again when the robot fails.

    Args:
        workcell: Open.
        task: What to do.
        subgoal_model: Imagines subgoals; None for a policy that follows the instruction itself.
        policy: Acts.
        seed: Of the start and the subgoals.
        config: What happens in the trial.
        detector: Looks on the way; None: nobody does.
        attempts: How often it is begun when the robot fails.

    Returns:
        What was seen and done, how often it was looked, and how often the robot had failed before.

    Raises:
        RobotFault: It failed `attempts` times, or cannot be recovered.
        ModelServerError: A model was away.
    """

    def trial() -> tuple[Rollout, int]:
        if workcell.reset_for is not None:
            workcell.reset_for(task.instruction, seed)
        else:
            workcell.robot.home()
        # A new one for each attempt: what was seen in one that failed says nothing about the next.
        looking = EarlySuccess(functools.partial(_seen, detector, task=task), config.early_success) if detector else None
        with fallbacks.forbidden():
            result = rollout(
                workcell.robot,
                task.instruction,
                subgoal_model,
                policy,
                seed=seed,
                config=config,
                succeeded=looking.look if looking else None,
            )
        return result, len(looking.looks) if looking else 0

    (result, looked), failed = _in_spite_of_faults(workcell, trial, attempts)
    return result, looked, failed


def _done_before(workcell: Workcell, task: Task, config: TrialConfig, detector: SuccessDetector | None) -> bool:
    """Whether success is seen before anybody has tried: by one picture, whatever the judge sees of an attempt."""

    def look() -> Image:
        workcell.robot.home()
        return workcell.robot.observe().image_HWC

    with fallbacks.forbidden():
        image, _ = _in_spite_of_faults(workcell, look)
        if config.judge != "vlm":
            return _truth(workcell, task).success is True
        assert detector is not None  # run_trials made one
        return detector.detect(image, task).success is True


def _in_spite_of_faults(workcell: Workcell, work: Callable[[], T], attempts: int = ATTEMPTS) -> tuple[T, int]:
    """Do something again, after recovering, as long as the robot fails in it; return its result, and how often it did."""
    begun = 0
    for attempt in range(1, attempts + 1):
        try:
            if attempt > 1:
                workcell.robot.recover()
            begun += 1
            return work(), begun - 1
        except (RobotFault, SafetyError) as error:
            if attempt == attempts or (isinstance(error, RobotFault) and error.kind == "unrecoverable"):
                raise
            log.warning("%s: a trial is begun again (%s)", workcell.name, error)
    raise AssertionError("unreachable")


def _seen(detector: SuccessDetector, film: Sequence[Observation], task: Task) -> Label:
    return detector.judge(film, task)


def _judge(config: TrialConfig, workcell: Workcell, detector: SuccessDetector | None) -> Judge:
    if config.judge == "vlm":
        assert detector is not None  # run_trials made one
        seeing = detector
        return lambda result, task: seeing.judge(result.film, task)
    return lambda _, task: _truth(workcell, task)


def _truth(workcell: Workcell, task: Task) -> Label:
    assert workcell.truth is not None  # check_judge was here
    return Label(success=workcell.truth(task.instruction), probability=None, source="simulator")


def policy_of(config: TrialConfig) -> Policy:
    """Return the policy, at the configured speed."""
    policy = load_policy(config.policy)
    return policy if config.action_scale == 1.0 else ScaledPolicy(policy, config.action_scale)
