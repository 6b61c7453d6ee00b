"""Autonomous collection by one robot or by several simulated ones, into one store (§3).

A workcell that can be opened only once has one robot, which this process drives. A simulated one has as many as one likes, each
with a table of its own, in as many processes as there are cores for them. No table is reset between episodes, unless
`CollectionConfig.set_table_every` says so; only a robot that begins, or begins again after its process was killed, finds its
objects in new random places, as a person who comes in the morning would have put them. Simulated robots are called `NAME-0`,
`NAME-1`, … With more robots than processes they take turns, each with all of its episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soar.collect.config import CollectionConfig
from soar.collect.listeners import Listener
from soar.collect.models import Models, check_models, open_subgoals, open_vlm
from soar.episodes.store import EpisodeStore, quoted
from soar.errors import ConfigError
from soar.event_log import Journal
from soar.fleet.processes import run_workers
from soar.fleet.session import SessionConfig, episode_report, run_robot, run_session
from soar.policies.base import Policy
from soar.robots.workcell import Workcell, load_workcell
from soar.tasks.open_vocabulary import read_constitution
from soar.vlm.loading import load_language_model

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
        on_episode: Called after each episode with (episodes done, episodes in all, see `episode_report`).
        listeners: Told what a real robot does (see `soar.collect.listeners`).

    Returns:
        How many episodes of this run and round the store holds.

    Raises:
        ConfigError: The workcell, the scene or a number is invalid.
        CheckpointError: A model cannot be loaded.
        StoreError: The store cannot be written; what was stored is kept.
        RobotFault: `unrecoverable`.
    """
    if workers < 1:
        raise ConfigError(f"collect: workers must be at least 1, got {workers}")
    # What can be wrong is opened here first: an error in a worker is a worse message, and nothing is made before.
    cell, policy = load_workcell(workcell), check_models(models)
    if config.proposal.constitution:
        read_constitution(Path(config.proposal.constitution))
        load_language_model(config.proposal.lister or models.vlm)
    questions = Path(config.proposal.questions) if config.proposal.questions else None
    size = image_size or policy.image_size
    with cell.open(image_size=size, questions=questions) as opened:
        check_abilities(opened, models, policy, config)
        episodes = EpisodeStore(store, mode="open_or_create")
        mine = episodes.episodes(f"run = {quoted(run)} AND round = {round}")
        left, done = max(0, config.episodes - len(mine)), len(mine)
        if on_episode is not None:
            on_episode(done, config.episodes, {})
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
            nonlocal done
            done += 1
            if on_episode is not None:
                on_episode(done, config.episodes, report)

        if not cell.simulated and sessions:
            run_session(opened, sessions[0], on_episode=lambda episode: receive(episode_report(episode)), listeners=listeners)
    if cell.simulated:
        items = [asdict(session) for session in sessions]
        run_workers(
            run_robot, items, workers=workers, journal=Journal(journal), on_report=lambda _index, report: receive(report)
        )
    return episodes.count(f"run = {quoted(run)} AND round = {round}")


def check_abilities(workcell: Workcell, models: Models, policy: Policy, config: CollectionConfig) -> None:
    """Refuse what a workcell cannot do, before anything moves or is written.

    Raises:
        ConfigError: An oracle or a set table is asked of a place that has none; the message says what its driver lacks.
    """
    if policy.conditioning == "goal":
        open_subgoals(models.subgoals, workcell)
    open_vlm(models.vlm, workcell)
    if config.set_table_every and workcell.set_table is None:
        raise ConfigError(
            f"set_table_every {config.set_table_every}: nobody sets the table of workcell {workcell.name!r}, since its driver "
            "has no set_table(seed). Use 0, and set it yourself."
        )
