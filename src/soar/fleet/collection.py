"""Autonomous collection by one robot or by several simulated ones, into one store (§3).

A workcell that can be opened only once has one robot, which this process drives. A simulated one has as many as one likes, each
with a table of its own, in as many processes as there are cores for them. No table is reset between episodes, unless
`CollectionConfig.set_table_every` says so; only a robot that begins, or begins again after its process was killed, finds its
objects in new random places, as a person who comes in the morning would have put them. Simulated robots are called `NAME-0`,
`NAME-1`, … With more robots than processes they take turns, each with all of its episodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soar.collect.config import CollectionConfig
from soar.collect.listeners import Listener
from soar.collect.models import NONE, ORACLE_PRECISION, Models, check_models, open_subgoals, open_vlm, wants_subgoals
from soar.episodes import tables
from soar.episodes.filters import quoted
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError, RobotFault
from soar.event_log import Journal
from soar.fleet.processes import run_workers
from soar.fleet.session import SessionConfig, episode_report, run_robot, run_session
from soar.policies.base import Policy
from soar.robots.workcell import Workcell, WorkcellConfig, load_workcell
from soar.run_claim import RunClaim
from soar.run_orders import Orders
from soar.tasks import SuccessDetector
from soar.tasks.loading import open_proposer

log = logging.getLogger(__name__)
OnEpisode = Callable[[int, int, dict[str, Any]], None]


def collect(
    models: Models,
    *,
    workcell: str,
    store: str | Path,
    journal: Path,
    run: str,
    round: int,
    seed: int,
    config: CollectionConfig,
    workers: int = 1,
    image_size: int | None = None,
    on_episode: OnEpisode | None = None,
    listeners: Sequence[Listener] = (),
    claim: RunClaim | None = None,
) -> int:
    """Collect until the store holds `config.episodes` episodes of this run and round.

    Args:
        models: Of all robots.
        workcell: Name of a workcell, path of its YAML file, or `sim:SCENE`.
        store: Folder or URI of the episode store; made when it does not exist.
        journal: Where events are appended.
        run: Name of the run.
        round: Number of the round.
        seed: Of everything random.
        config: How.
        workers: Processes for simulated robots.
        image_size: Of simulated cameras [px]; the policy's by default.
        on_episode: Called after each episode with (episodes done, episodes in all, see `episode_report`), and while a person
            has paused the run with `paused`: who, or "" when it goes on. `judged` of those done are judged successes.
        listeners: Told what a real robot does (see `soar.collect.listeners`).
        claim: Of the run's folder, which is compared when all else was found valid, and held while robots work.

    Returns:
        How many episodes of this run and round the store holds: fewer, when a person has asked for another policy.

    Raises:
        SoarError: A person has stopped the run (`soar.run_orders`).
        ConfigError: The workcell, the scene or a number is invalid, or the run is another one.
        CheckpointError: A model cannot be loaded.
        StoreError: The store cannot be written; what was stored is kept.
        RobotFault: `unrecoverable`, after all other robots have done what they could; the message names those that failed.
    """
    if workers < 1:
        raise ConfigError(f"collect: workers must be at least 1, got {workers}")
    # What can be wrong is opened here first: an error in a worker is a worse message, and nothing is made before.
    cell, policy = load_workcell(workcell), check_models(models)
    questions = Path(config.proposal.questions) if config.proposal.questions else None
    size = image_size or policy.image_size
    orders = Orders(journal.parent)
    what = what_it_is(cell, models, policy, seed, store="" if claim is None else _place(store, claim.folder))
    what["settings"] = {"round": round, "workers": workers, "models": asdict(models), "collection": asdict(config)}
    with ExitStack() as held:
        with cell.open(image_size=size, questions=questions) as opened:
            check_abilities(opened, models, policy, config)
            if claim is not None:
                claim.check(what)
            _check_store(store, run, cell)
            episodes = EpisodeStore(store, mode="open_or_create")
            if claim is not None:
                held.enter_context(claim.hold(what))
                _take_no_other_policy(orders)
            mine = episodes.episodes(f"run = {quoted(run)} AND round = {round}")
            left, done = max(0, config.episodes - len(mine)), len(mine)
            judged = sum(record.success is True for record in mine)
            if on_episode is not None:
                on_episode(done, config.episodes, {"judged": judged})
            names = [f"{cell.name}-{number}" for number in range(config.robots)] if cell.simulated else [cell.name]
            have = {name: sum(record.provenance.robot == name for record in mine) for name in names}
            sessions = [
                SessionConfig(
                    models=models,
                    workcell=workcell,
                    robot=name,
                    image_size=size,
                    store=str(store),
                    journal=str(journal),
                    # Robots of an earlier call with more of them keep what they have done; the rest is shared out.
                    episodes=have[name] + left // len(names) + (number < left % len(names)),
                    run=run,
                    round=round,
                    seed=seed,
                    config=config,
                )
                for number, name in enumerate(names)
            ]
            sessions = [session for session in sessions if session.episodes > have[session.robot]]

            def receive(report: dict[str, Any]) -> None:
                nonlocal done, judged
                done += "paused" not in report
                judged += report.get("success") is True
                if on_episode is not None:
                    on_episode(done, config.episodes, report | {"judged": judged})

            if not cell.simulated and sessions:
                run_session(
                    opened,
                    sessions[0],
                    on_episode=lambda episode: receive(episode_report(episode)),
                    on_pause=lambda by: receive({"paused": by}),
                    listeners=listeners,
                )
        if cell.simulated:
            results = run_workers(
                run_robot,
                [asdict(session) for session in sessions],
                workers=workers,
                journal=Journal(journal),
                on_report=lambda _index, report: receive(report),
            )
            if lost := [result["unrecoverable"] for result in results if "unrecoverable" in result]:
                raise RobotFault(
                    "unrecoverable",
                    f"{'; '.join(lost)}. The other {len(names) - len(lost)} of {len(names)} robots have done what they had to",
                )
    count = episodes.count(f"run = {quoted(run)} AND round = {round}")
    if count < config.episodes:
        orders.check(f"{count} of the {config.episodes} episodes of round {round} are there")
    return count


def _take_no_other_policy(orders: Orders) -> None:
    """Begin a run that has one policy: what asks for another one was written by hand, and would end each call."""
    if (asked := orders.begin().deploy) is not None:
        log.warning(
            "%s asked for policy %d in orders.json: `soar collect` takes no other policy than its own, the order is dropped",
            asked.by,
            asked.policy,
        )
        orders.deployed(asked)


def what_it_is(cell: WorkcellConfig, models: Models, policy: Policy, seed: int, store: str) -> dict[str, Any]:
    """Return what makes a run of collection the same run when it is continued."""
    return {
        "workcell": {"name": cell.name, "driver": cell.robot.driver},
        "scene": {"name": cell.scene.name, "objects": list(cell.scene.objects)},
        "seed": seed,
        "models": {"policy": policy.conditioning, "subgoals": _kind(models.subgoals), "vlm": _kind(models.vlm)},
        "store": store,
    }


def _kind(model: str) -> str:
    return model if model in (*ORACLE_PRECISION, NONE, "human") else "model"


def _place(store: str | Path, folder: Path) -> str:
    """Return where a store is; one in the run's folder stays there when that is moved."""
    path = Path(store)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(store)


def _check_store(store: str | Path, run: str, cell: WorkcellConfig) -> None:
    """Refuse a store in which a run of this name is of another scene, and one that cannot be read; makes nothing."""
    if not tables.exist(store):
        return
    scenes = {record.scene for record in EpisodeStore(store).episodes(f"run = {quoted(run)}")} - {cell.scene.name}
    if scenes:
        raise ConfigError(
            f"{store} holds episodes of a run {run!r} in another scene: {', '.join(sorted(scenes))} there, {cell.scene.name} "
            "now. Name another folder with --run."
        )


def check_abilities(workcell: Workcell, models: Models, policy: Policy, config: CollectionConfig) -> None:
    """Refuse what a workcell cannot do, before anything moves or is written.

    Raises:
        ConfigError: An oracle or a set table is asked of a place that has none (the message says what its driver lacks), or the
            model cannot see what the judge shall.
    """
    if wants_subgoals(policy, models.subgoals):
        open_subgoals(models.subgoals, workcell)
    vlm = open_vlm(models.vlm, workcell)
    open_proposer(config.proposal, vlm, models.vlm, workcell.scene.tasks, seed=0)
    SuccessDetector(vlm, config.threshold, sees=config.sees).check()
    if config.set_table_every and workcell.set_table is None:
        raise ConfigError(
            f"set_table_every {config.set_table_every}: nobody sets the table of workcell {workcell.name!r}, since its driver "
            "has no set_table(seed). Use 0, and set it yourself."
        )
