"""A person judges trials on a robot, and sets the starts where the workcell cannot: guided at the terminal, policies unnamed.

    each start ─► the policies in an order that a seed decides ─► home ─► the person restores the start ─► rollout ─► y or n

What the person sees is "trial 7 of 40": which policy acts is said nowhere before the end, since who knows it sees what they
hope. A start is restored by its reference picture, laid over what the camera sees (`soar.evaluation.starts`). A trial in which
the robot fails is repeated, as is one that the person calls off; the note of a repeated trial says how often.

Resume. Each verdict is written at once, to its policy's file. The same command goes on with the first trial that is missing.

    evaluations/NAME.json             every trial of a policy
    evaluations/NAME-trial.png        the reference over the camera's live picture, twice a second
    evaluations/NAME-session.jsonl    what happened: verdicts, what was taken back, repetitions
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soar.collect.models import open_subgoals, open_vlm, wants_subgoals
from soar.collect.rollout import RolloutConfig
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.person_session import Contender, Session
from soar.evaluation.plan import Plan
from soar.evaluation.runner import FILMS_PER_TASK, begun_evaluation, wanted_trials
from soar.evaluation.trial_running import TrialConfig, check_looks, check_person, policy_of
from soar.evaluation.trials import Evaluation
from soar.policies.base import check_cameras
from soar.policies.loading import load_policy
from soar.robots.workcell import load_workcell
from soar.run_claim import only_here
from soar.tasks import SuccessDetector
from soar.tasks.views import LAST
from soar.terminal import Terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a person's session came to.

    Attributes:
        evaluations: Of the policies, in their order.
        finished: Whether all that was wanted is there, or all that is needed.
        made: Trials that were made, in this session and earlier ones.
        planned: Trials of the plan.
    """

    evaluations: tuple[Evaluation, ...]
    finished: bool
    made: int
    planned: int


def evaluate_by_person(
    policies: Sequence[Path | str],
    *,
    name: str,
    workcell: str,
    subgoals: str,
    trials: int,
    outs: Sequence[Path],
    variants: Sequence[str],
    out: Path,
    tasks: tuple[str, ...] = (),
    first_trial: int = 0,
    seed: int = 0,
    stop_early: bool = True,
    action_scale: float = 1.0,
    image_size: int | None = None,
    questions: Path | None = None,
    rollout: RolloutConfig | None = None,
    vlm: str = "",
    threshold: float = 0.5,
    sees: str = LAST,
    terminal: Terminal | None = None,
) -> Judged:
    """Let a person judge what is missing of some policies' trials.

    Args:
        policies: Their names (see `soar.policies.loading`).
        name: Of the person.
        workcell: Name of a workcell, path of its YAML file, or `sim:SCENE`.
        subgoals: Name of a subgoal model, or `oracle`; a language-conditioned policy needs none.
        trials: Of each task, with each policy.
        outs: The policies' files.
        variants: What they are in the comparison at hand.
        out: What the session's own files are called after.
        tasks: Some of the scene's instructions; all of them by default.
        first_trial: Index of the first start of each task.
        seed: Of the order in which the policies are tried.
        stop_early: End when the comparison of several policies is decided, or cannot be any more
            (`soar.evaluation.sequential`).
        action_scale: Factor on the policies' motions.
        image_size: Of a simulated camera [px]; the first policy's by default.
        questions: File of questions that count more than the scene's.
        rollout: How long a trial is, whether a robot that stands still backs off, and whether looks end it.
        vlm: Name of the model that looks.
        threshold: Its least probability of success.
        sees: What it sees of an attempt (`soar.tasks.views`).
        terminal: Where the person is; `/dev/tty` by default.

    Raises:
        ConfigError: A number is out of range, a task is unknown, a file holds another evaluation, nobody is named, or there is
            no terminal.
        CheckpointError: A policy or the subgoal model cannot be loaded.
        RobotFault: The robot cannot be recovered; what was judged is kept.
        SoarError: A start's reference picture is gone, or something cannot be written.
    """
    if trials < 1 or first_trial < 0:
        raise ConfigError(f"evaluate: trials must be at least 1, first_trial at least 0; got {trials} and {first_trial}")
    terminal = terminal or Terminal(otherwise="let the workcell's truth or a model judge")
    who = check_person(name, terminal)
    cell, opened_policies = load_workcell(workcell), [load_policy(str(policy)) for policy in policies]
    size = image_size or opened_policies[0].image_size
    with cell.open(image_size=size, questions=questions) as opened, contextlib.ExitStack() as held:
        known = [task.instruction for task in opened.scene.tasks]
        for task in tasks:
            if task not in known:
                raise UnknownNameError("task", task, known, f"In scene {opened.scene.name!r}.")
        happening = rollout or RolloutConfig()
        looked_by = check_looks(opened, rollout=happening, vlm=vlm, sees=sees)
        detector = SuccessDetector(open_vlm(vlm, opened), threshold, sees=sees) if looked_by else None
        held.enter_context(only_here(out.parent, "--out", out.name))
        contenders = []
        for policy, loaded, path, variant in zip(policies, opened_policies, outs, variants, strict=True):
            config = TrialConfig(
                workcell=workcell,
                policy=str(policy),
                subgoals=subgoals if wants_subgoals(loaded, subgoals) else "",
                variant=variant,
                films=str(path.with_name(f"{path.stem}-films")),
                image_size=size,
                action_scale=action_scale,
                judge="person",
                questions=str(questions or ""),
                vlm=vlm,
                threshold=threshold,
                sees=sees,
                rollout=happening,
            )
            subgoal_model = open_subgoals(config.subgoals, opened) if config.subgoals else None
            check_cameras(loaded, opened.robot.cameras, f"workcell {opened.name!r}", subgoal_model)
            contenders.append(
                Contender(
                    config=config,
                    out=path,
                    policy=policy_of(config),
                    detector=detector,
                    subgoal_model=subgoal_model,
                    evaluation=begun_evaluation(path, config, who, looked_by),
                )
            )
        indices = range(first_trial, first_trial + trials)
        wanted, films = (wanted_trials(opened.scene, tasks or known, some) for some in (indices, indices[:FILMS_PER_TASK]))
        plan = Plan(wanted, len(contenders), seed=seed, stop_early=stop_early)
        session = Session(opened, contenders, plan, films=films, out=out, terminal=terminal)
        finished = session.run()
        return Judged(
            evaluations=tuple(contender.evaluation for contender in contenders),
            finished=finished,
            made=len(session.done()),
            planned=len(plan.slots),
        )
