"""Seeded trials of a policy on a workcell: which ones, in how many processes, and into which file.

Start i of a task is the same for every policy, for ever, where the workcell can set it: it is a function of (scene, task, i)
alone, drawn from a stream of seeds that neither collection nor training uses. The noise of the subgoal model derives from the
same seed, so that two policies are compared start by start. Policies act deterministically. A language-conditioned policy gets
the instruction and no subgoals. Pictures have the policy's own size where a camera is simulated.

Resume. The file is rewritten every few trials; running it again does what is missing. The first trials of each task are kept
as episodes beside it, to look at:

    evaluations/NAME.json     every trial
    evaluations/NAME-films/   an episode store
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from soar.collect.models import ORACLE, open_subgoals, wants_subgoals
from soar.collect.rollout import RolloutConfig
from soar.episodes.encoded import decode
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.trial_running import JudgeName, TrialConfig, check_judge, check_looks, policy_of, run_chunk, run_trials
from soar.evaluation.trials import Evaluation, Trial, TrialKey, read_evaluation, write_evaluation
from soar.fleet.processes import run_workers
from soar.policies.base import check_cameras
from soar.policies.loading import load_policy
from soar.robots.workcell import load_workcell
from soar.run_claim import only_here
from soar.run_orders import Orders
from soar.seeding import derive_seed
from soar.subgoals.loading import load_subgoal_model
from soar.tasks.views import LAST
from soar.types import Episode, Scene

FILMS_PER_TASK = 2
"""Trials of each task that are kept as episodes."""
_CHUNK = 4
"""Trials that a worker takes at a time."""
_FLUSH = 8
"""Trials after which the file is rewritten."""


def trial_seed(scene: str, task: str, index: int) -> int:
    """Return what everything random in trial `index` of a task derives from."""
    return derive_seed(0, f"evaluation/{scene}/{task}", index) % 2**31


def wanted_trials(scene: Scene, tasks: Iterable[str], trials: Iterable[int]) -> list[TrialKey]:
    """Return the keys of trials by their indices, tasks in turn, so that a rate shown meanwhile is one of the whole scene."""
    return [(scene.name, task, trial_seed(scene.name, task, index)) for index in trials for task in tasks]


def evaluate(
    policy: Path | str,
    *,
    workcell: str,
    subgoals: str,
    trials: int,
    out: Path,
    variant: str,
    tasks: tuple[str, ...] = (),
    workers: int = 1,
    action_scale: float = 1.0,
    image_size: int | None = None,
    rollout: RolloutConfig | None = None,
    first_trial: int = 0,
    judge: JudgeName = "truth",
    vlm: str = "",
    threshold: float = 0.5,
    sees: str = LAST,
    questions: Path | None = None,
    run: Path | None = None,
    on_trial: Callable[[int, int, float], None] | None = None,
) -> Evaluation:
    """Run what is missing of an evaluation.

    Args:
        policy: Name of the policy (see `soar.policies.loading`).
        workcell: Name of a workcell, path of its YAML file, or `sim:SCENE`.
        subgoals: Name of a subgoal model (see `soar.subgoals.loading`), or `oracle`; a language-conditioned policy needs
            none, and it is not looked at.
        trials: Of each task.
        out: The evaluation's JSON file.
        variant: What the policy is in the comparison at hand.
        tasks: Some of the scene's instructions; all of them by default.
        workers: Processes, where the workcell is simulated; one is this process.
        action_scale: The "faster" control: motions are scaled by it.
        image_size: Of a simulated camera [px]; the policy's by default.
        rollout: How long an episode is, whether a robot that stands still backs off, and whether success ends an attempt;
            neither by default.
        first_trial: Index of the first start of each task. What is tuned on some starts must be measured on others; figures
            are measured on those from 0 on.
        judge: Who says whether it worked: the workcell's truth, or a vision-language model.
        vlm: Name of that model, and of the one that looks on the way whether an attempt has succeeded.
        threshold: Its least probability of success.
        sees: What it sees of an attempt (`soar.tasks.views`); by default the last frame.
        questions: File of questions that count more than the scene's.
        run: Folder of a run that a person may pause or stop (`soar.run_orders`).
        on_trial: Called after each trial with (trials done, trials in all, success rate so far).

    Raises:
        ConfigError: A number is out of range, a task is unknown, nobody can judge, or the file holds another evaluation.
        CheckpointError: The policy or the subgoal model cannot be loaded.
        RobotFault: A robot failed again and again, or cannot be recovered.
        SoarError: The file cannot be written, or a person has stopped the run; trials that were written are kept.
    """
    if trials < 1 or workers < 1 or first_trial < 0:
        raise ConfigError(
            "evaluate: trials and workers must be at least 1, first_trial at least 0; "
            f"got {trials}, {workers} and {first_trial}"
        )
    # Everything that can be wrong is opened here first: an error in a worker is a worse message.
    cell, opened_policy = load_workcell(workcell), load_policy(str(policy))
    config = TrialConfig(
        workcell=workcell,
        policy=str(policy),
        subgoals=subgoals if wants_subgoals(opened_policy, subgoals) else "",
        variant=variant,
        films=str(out.with_name(f"{out.stem}-films")),
        image_size=image_size or opened_policy.image_size,
        action_scale=action_scale,
        judge=judge,
        vlm=vlm,
        threshold=threshold,
        sees=sees,
        questions=str(questions or ""),
        rollout=rollout or RolloutConfig(),
        run="" if run is None else str(run),
    )
    with contextlib.ExitStack() as held:
        with cell.open(image_size=config.image_size, questions=questions) as opened:
            scene = opened.scene
            known = [task.instruction for task in scene.tasks]
            for task in tasks:
                if task not in known:
                    raise UnknownNameError("task", task, known, f"In scene {scene.name!r}.")
            subgoal_model = open_subgoals(config.subgoals, opened) if config.subgoals else None
            check_cameras(opened_policy, opened.robot.cameras, f"workcell {opened.name!r}", subgoal_model)
            who = check_judge(opened, judge=judge, vlm=vlm, sees=sees)
            looked_by = check_looks(opened, rollout=config.rollout, vlm=vlm, sees=sees)
            held.enter_context(only_here(out.parent, "--out", out.name))
            evaluation = begun_evaluation(out, config, who, looked_by, restored=opened.reset_for is not None)
            indices = range(first_trial, first_trial + trials)
            wanted = wanted_trials(scene, tasks or known, indices)
            missing = evaluation.missing(wanted)
            write_evaluation(out, evaluation)  # fails now rather than after the first trials
            record = _Record(evaluation, set(wanted), out, on_trial)
            films = set(wanted_trials(scene, tasks or known, indices[:FILMS_PER_TASK]))
            trials_left = [(task, seed, (name, task, seed) in films) for name, task, seed in missing]
            if not (cell.simulated and workers > 1):
                with record:
                    run_trials(opened, config, trials_left, on_trial=record.add, on_done_before=record.leave_out)
        if cell.simulated and workers > 1:
            chunks = [trials_left[start : start + _CHUNK] for start in range(0, len(trials_left), _CHUNK)]
            items = [{"config": asdict(config), "trials": chunk} for chunk in chunks]
            with record:
                run_workers(run_chunk, items, workers=workers, on_report=lambda _index, report: record.hear(report))
    if run is not None and (left := record.evaluation.missing(wanted)):
        Orders(run).check(f"{len(wanted) - len(left)} of the {len(wanted)} trials are there")
    return record.evaluation


def begun_evaluation(out: Path, config: TrialConfig, judge: str, looked_by: str, *, restored: bool = True) -> Evaluation:
    """Return the evaluation that a file holds, or one without trials; see `Evaluation` for what is told of it.

    Raises:
        ConfigError: The file holds another evaluation.
    """
    subgoals = config.subgoals if config.subgoals in ("", ORACLE) else load_subgoal_model(config.subgoals).id
    mine = Evaluation(
        variant=config.variant,
        policy=policy_of(config).id,
        subgoal_model=subgoals,
        judge=judge,
        rollout=config.rollout,
        looked_by=looked_by,
        restored=restored,
    )
    if not out.exists():
        return mine
    found = read_evaluation(out)
    if replace(found, rollout=mine.rollout, looked_by=looked_by, trials=(), done_before=()) != mine:
        raise ConfigError(
            f"{out} holds an evaluation of {_described(found)}, not of {_described(mine)}. Write to another file, or move that "
            "one away."
        )
    if (found.rollout, found.looked_by) != (mine.rollout, looked_by):
        raise ConfigError(
            f"{out} holds an evaluation with {found.rollout} and looks of {found.looked_by or 'nobody'}, not with "
            f"{mine.rollout} and those of {looked_by or 'nobody'}. Write to another file, or move that one away."
        )
    return found


def _described(evaluation: Evaluation) -> str:
    by = f"subgoals of {evaluation.subgoal_model}" if evaluation.subgoal_model else "no subgoals"
    return f"{evaluation.policy} ({evaluation.variant}) with {by}, judged by {evaluation.judge}"


def read_films(out: Path) -> list[Episode]:
    """Return the episodes that were kept beside an evaluation's file, none when there are none."""
    folder = out.with_name(f"{out.stem}-films")
    if not folder.exists():
        return []
    store = EpisodeStore(folder)
    return [decode(one) for one in store.read_many([record.id for record in store.episodes()], further=False)]


class _Record:
    """The trials so far, on disk; a context manager that writes them however it ends."""

    def __init__(
        self,
        evaluation: Evaluation,
        wanted: set[TrialKey],
        out: Path,
        on_trial: Callable[[int, int, float], None] | None,
    ) -> None:
        self._begun, self._wanted, self._out, self._on_trial = evaluation, wanted, out, on_trial
        self._trials = {trial.key: trial for trial in evaluation.trials}
        self._done_before = set(evaluation.done_before)
        self._tell()

    @property
    def evaluation(self) -> Evaluation:
        """Everything, in an order that does not depend on which worker was faster."""
        trials = sorted(self._trials.values(), key=lambda trial: trial.key)
        return replace(self._begun, trials=tuple(trials), done_before=tuple(sorted(self._done_before)))

    def hear(self, report: Mapping[str, Any]) -> None:
        """Add what a worker reports."""
        if "done_before" in report:
            scene, task, seed = report["done_before"]
            self.leave_out((scene, task, seed))
        else:
            self.add(Trial(**report))

    def leave_out(self, key: TrialKey) -> None:
        """Add a start at which the task was done already."""
        self._done_before.add(key)
        self._tell()

    def add(self, trial: Trial) -> None:
        self._trials[trial.key] = trial
        if len(self._trials) % _FLUSH == 0:
            write_evaluation(self._out, self.evaluation)
        self._tell()

    def __enter__(self) -> _Record:
        return self

    def __exit__(self, *_: object) -> None:
        write_evaluation(self._out, self.evaluation)

    def _tell(self) -> None:
        results = [trial.success for key, trial in self._trials.items() if key in self._wanted]
        if self._on_trial is not None and results:
            done = len(results) + len(self._done_before & self._wanted)
            self._on_trial(done, len(self._wanted), sum(results) / len(results))
