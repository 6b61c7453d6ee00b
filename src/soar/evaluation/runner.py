"""Trials in simulation: seeded starts, several processes, success judged from the simulator's state.

Start i of a task is the same for every policy, for ever: it is a function of (scene, task, i) alone, drawn from a stream of
seeds that neither collection nor training uses. The noise of the subgoal model derives from the same seed, so that two policies
are compared start by start. Policies act deterministically. A language-conditioned policy gets the instruction and no subgoals.

Resume. The file is rewritten every few trials; running it again does what is missing. The first trials of each task are kept
as episodes beside it, to look at:

    evaluations/NAME.json     every trial
    evaluations/NAME-films/   an episode store
"""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from soar.collect.early_success import EarlySuccess
from soar.collect.rollout import RolloutConfig, rollout
from soar.configuration import validate
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, UnknownNameError
from soar.evaluation.trials import Evaluation, Trial, read_evaluation, write_evaluation
from soar.fleet.processes import Reporter, run_workers
from soar.policies.base import Policy
from soar.policies.exploration import ScaledPolicy
from soar.policies.loading import open_policy
from soar.remote import fallbacks
from soar.robots.safety import SafeRobot
from soar.seeding import derive_seed
from soar.sim.robot import SimRobot
from soar.sim.scene import load_scene
from soar.sim.world import World
from soar.subgoals.base import SubgoalModel
from soar.subgoals.loading import open_subgoal_model
from soar.subgoals.oracle import OracleSubgoals
from soar.tasks.detection import SuccessDetector
from soar.types import Episode, Image, Label, Provenance, Task
from soar.vlm.base import VisionLanguageModel
from soar.vlm.loading import open_vlm
from soar.vlm.oracle import OracleVLM

ORACLE = "oracle"
"""In place of a model's folder: the simulator itself."""
IMAGE_SIZE = 64
FILMS_PER_TASK = 2
"""Trials of each task that are kept as episodes."""
_CHUNK = 4
"""Trials that a worker takes at a time."""
_FLUSH = 8
"""Trials after which the file is rewritten."""


def trial_seed(scene: str, task: str, index: int) -> int:
    """Return what everything random in trial `index` of a task derives from."""
    return derive_seed(0, f"evaluation/{scene}/{task}", index) % 2**31


@functools.cache
def open_world(scene: str, image_size: int) -> World:
    """Return this process's world of a scene; compiling one and making its renderer takes a second."""
    world = World(load_scene(scene), image_size=image_size)
    world.render()
    # Exit handlers run last in, first out: so the renderer is freed before the GL library that it needs.
    atexit.register(world.close)
    return world


def check_rendering(scene: str, image_size: int) -> None:
    """Draw a scene once, so that what is wrong with it shows before any work begins.

    Raises:
        ConfigError: The scene is invalid.
        RenderingError: Nothing can be drawn here.
    """
    world = World(load_scene(scene), image_size=image_size)
    try:
        world.render()
    finally:
        world.close()


def open_subgoals(name: str, robot: SimRobot) -> SubgoalModel:
    """Return the model of that name (see `soar.subgoals.loading`), or with `oracle` the simulator's own imagination.

    Raises:
        CheckpointError: It cannot be loaded.
        ConfigError: Its YAML file is invalid.
    """
    return OracleSubgoals(robot.imagine) if name == ORACLE else open_subgoal_model(name)


def open_robots_vlm(name: str, robot: SimRobot, seed: int = 0) -> VisionLanguageModel:
    """Return the model of that name (see `soar.vlm.loading`), or with `oracle` the simulator's noisy answers.

    Raises:
        CheckpointError: It cannot be loaded.
        ConfigError: Its YAML file is invalid.
    """
    return OracleVLM(robot.answer, seed=seed) if name == ORACLE else open_vlm(name)


def evaluate(
    policy: Path | str,
    *,
    scene: str,
    subgoals: str,
    trials: int,
    out: Path,
    arm: str,
    tasks: tuple[str, ...] = (),
    workers: int = 1,
    action_scale: float = 1.0,
    image_size: int = IMAGE_SIZE,
    rollout: RolloutConfig | None = None,
    vlm: str = "",
    first_trial: int = 0,
    on_trial: Callable[[int, int, float], None] | None = None,
) -> Evaluation:
    """Run what is missing of an evaluation.

    Args:
        policy: Folder of the policy, or its other name (see `soar.policies.loading`).
        scene: Name of a scene, or path of its YAML file.
        subgoals: Name of a subgoal model (see `soar.subgoals.loading`), or `oracle`; a language-conditioned policy needs
            none, and it is not looked at.
        trials: Of each task.
        out: The evaluation's JSON file.
        arm: What the policy is in the comparison at hand.
        tasks: Some of the scene's instructions; all of them by default.
        workers: Processes.
        action_scale: The "faster" control: motions are scaled by it.
        image_size: Of the camera [px].
        rollout: How long an episode is, whether a robot that stands still backs off, and whether success ends an attempt;
            neither by default.
        vlm: Name of the VLM that looks whether an attempt has succeeded (see `open_robots_vlm`); not looked at without looks.
        first_trial: Index of the first start of each task. What is tuned on some starts must be measured on others; figures
            are measured on those from 0 on.
        on_trial: Called after each trial with (trials done, trials in all, success rate so far).

    Raises:
        ConfigError: A number is out of range, the scene or a task is unknown, or the file holds another evaluation.
        CheckpointError: The policy or the subgoal model cannot be loaded.
        RenderingError: Nothing can be drawn here.
        SoarError: The file cannot be written; trials that were written are kept.
    """
    if trials < 1 or workers < 1 or first_trial < 0:
        raise ConfigError(
            "evaluate: trials and workers must be at least 1, first_trial at least 0; "
            f"got {trials}, {workers} and {first_trial}"
        )
    config = load_scene(scene)
    known = [task.instruction for task in config.parsed_tasks()]
    for task in tasks:
        if task not in known:
            raise UnknownNameError("task", task, known, f"In scene {config.name!r}.")
    # Everything that can be wrong is opened here first: an error in a worker is a worse message.
    if open_policy(str(policy)).conditioning == "language":
        subgoals, subgoal_id = "", ""
    else:
        subgoal_id = ORACLE if subgoals == ORACLE else open_subgoal_model(subgoals).id
    rollout = rollout or RolloutConfig()
    if rollout.early_success.every and not vlm:
        raise ConfigError("evaluate: name the VLM that looks whether an attempt has succeeded, or set early_success.every: 0")
    judge = _judge_id(vlm) if rollout.early_success.every else ""
    item = {"policy": str(policy), "subgoals": subgoals, "scene": scene, "action_scale": action_scale, "image_size": image_size}
    item |= {"arm": arm, "films": str(out.with_name(f"{out.stem}-films")), "rollout": asdict(rollout), "vlm": judge and vlm}
    evaluation = Evaluation(arm=arm, policy=_policy(item).id, subgoal_model=subgoal_id, rollout=rollout, judge=judge)
    if out.exists():
        found = read_evaluation(out)
        if (found.arm, found.policy, found.subgoal_model) != (arm, evaluation.policy, evaluation.subgoal_model):
            raise ConfigError(
                f"{out} holds an evaluation of {found.policy} ({found.arm}) with subgoals of {found.subgoal_model}, not of "
                f"{evaluation.policy} ({arm}) with {evaluation.subgoal_model}. Write to another file, or move that one away."
            )
        if (found.rollout, found.judge) != (rollout, judge):
            raise ConfigError(
                f"{out} holds an evaluation with {found.rollout} and looks of {found.judge or 'nobody'}, not with "
                f"{rollout} and those of {judge or 'nobody'}. Write to another file, or move that one away."
            )
        evaluation = found
    chosen, indices = tasks or known, range(first_trial, first_trial + trials)
    films = {(config.name, task, trial_seed(config.name, task, i)) for task in chosen for i in indices[:FILMS_PER_TASK]}
    # Tasks in turn, so that the rate shown meanwhile is one of the whole scene.
    wanted = [(config.name, task, trial_seed(config.name, task, i)) for i in indices for task in chosen]
    missing = evaluation.missing(wanted)
    total = len(wanted)
    if missing:
        check_rendering(scene, image_size)
    write_evaluation(out, evaluation)  # fails now rather than after the first trials
    done = {trial.key: trial for trial in evaluation.trials}
    relevant = set(wanted)

    def progress() -> None:
        results = [trial.success for key, trial in done.items() if key in relevant]
        if on_trial is not None and results:
            on_trial(len(results), total, sum(results) / len(results))

    def receive(_index: int, report: dict[str, Any]) -> None:
        trial = Trial(**report)
        done[trial.key] = trial
        if len(done) % _FLUSH == 0:
            write_evaluation(out, _with(evaluation, done.values()))
        progress()

    progress()
    items = [
        {**item, "trials": [[task, seed, (name, task, seed) in films] for name, task, seed in missing[start : start + _CHUNK]]}
        for start in range(0, len(missing), _CHUNK)
    ]
    try:
        run_workers(run_trials, items, workers=workers, on_report=receive)
    finally:
        write_evaluation(out, _with(evaluation, done.values()))
    return _with(evaluation, done.values())


def run_trials(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Run some trials of one policy (worker entry point).

    Args:
        item: `policy`, `subgoals` (empty for none), `scene`, `action_scale`, `image_size`, `arm`, `films` (folder of a store),
            `rollout`, `vlm` (empty for none), and `trials`: lists of task, seed, and whether the episode is kept.
        report: Called with the fields of each `Trial`.
    """
    world = open_world(item["scene"], item["image_size"])
    robot, policy = SimRobot(world), _policy(item)
    subgoal_model = open_subgoals(item["subgoals"], robot) if item["subgoals"] else None
    config = validate(RolloutConfig, item["rollout"], "rollout")
    detector = SuccessDetector(open_robots_vlm(item["vlm"], robot)) if item["vlm"] else None
    tasks = {task.instruction: task for task in world.config.scene().tasks}
    for task, seed, keep in item["trials"]:
        if report.stopping:
            break
        robot.reset_for(task, seed)
        safe = SafeRobot(robot, world.config.workspace)
        judge = EarlySuccess(functools.partial(_detect, detector, tasks[task]), config.early_success) if detector else None
        with fallbacks.forbidden():
            result = rollout(
                safe, task, subgoal_model, policy, seed=seed, config=config, succeeded=judge.look if judge else None
            )
        success = robot.succeeded(task)
        if keep:
            episode = Episode(
                id=f"{world.config.name}-{task}-{seed}".replace(" ", "-"),
                scene=world.config.name,
                instruction=task,
                images_THWC=result.images_THWC,
                states_TD=result.states_TD,
                actions_TD=result.actions_TD,
                subgoals=result.subgoals,
                labels=(Label(success=success, probability=None, source="simulator"),),
                provenance=Provenance(
                    policy=policy.id,
                    subgoal_model="" if subgoal_model is None else subgoal_model.id,
                    robot=world.config.robot,
                    run=item["arm"],
                    seed=seed,
                ),
                reflex_steps=result.reflex_steps,
            )
            _keep(Path(item["films"]), episode)
        report(
            scene=world.config.name,
            task=task,
            seed=seed,
            success=success,
            steps=len(result.actions_TD),
            reflexes=len(result.reflexes),
            looks=len(judge.looks) if judge else 0,
            ended_early=result.ended_early,
        )
    return {}


def _detect(detector: SuccessDetector, task: Task, image_HWC: Image) -> Label:
    return detector.detect(image_HWC, task)


def _judge_id(vlm: str) -> str:
    return ORACLE if vlm == ORACLE else open_vlm(vlm).id


def _keep(folder: Path, episode: Episode) -> None:
    store = EpisodeStore(folder, mode="open_or_create")
    if not store.count(f"id = '{episode.id}'"):
        store.append(episode)


def _policy(item: dict[str, Any]) -> Policy:
    policy = open_policy(item["policy"])
    return policy if item["action_scale"] == 1.0 else ScaledPolicy(policy, item["action_scale"])


def _with(evaluation: Evaluation, trials: Iterable[Trial]) -> Evaluation:
    """Return the evaluation with these trials, in an order that does not depend on which worker was faster."""
    return replace(evaluation, trials=tuple(sorted(trials, key=lambda trial: trial.key)))


def read_films(out: Path) -> list[Episode]:
    """Return the episodes that were kept beside an evaluation's file, none when there are none."""
    folder = out.with_name(f"{out.stem}-films")
    if not folder.exists():
        return []
    store = EpisodeStore(folder)
    return [store.read(record.id) for record in store.episodes()]
