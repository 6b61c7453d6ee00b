"""A session: one workcell, its models and its collector. What a process runs, and whoever manages several robots lets run.

The same code drives a simulated robot in a worker process (`run_robot`) and a real one in the process of the command
(`run_session`). A workcell is opened by whoever begins the session, who closes it.

A robot's episodes are a function of its name, the seed and what was there before this round: how many processes work, and which
robot is faster, changes nothing.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from soar.collect.collector import Collector, Storage
from soar.collect.config import CollectConfig, CollectionConfig
from soar.collect.listeners import Listener, Listeners
from soar.collect.live import FOLDER, LiveView
from soar.collect.models import Models, open_subgoals, open_vlm, wants_subgoals
from soar.configuration import validate
from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord
from soar.episodes.store import EpisodeStore
from soar.errors import RobotFault
from soar.event_log import Journal
from soar.fleet.pausing import Pausing
from soar.fleet.processes import Reporter
from soar.policies.base import Policy, check_cameras
from soar.policies.exploration import Explorer
from soar.policies.loading import load_policy
from soar.robots.workcell import Workcell, open_workcell
from soar.run_orders import Orders
from soar.seeding import derive_seed
from soar.tasks import PresenceChecker, SuccessDetector
from soar.tasks.detection import log_missing
from soar.tasks.loading import open_proposer
from soar.tasks.notification import MissingObjectWebhook, call_person
from soar.tasks.off_limits import OffLimits
from soar.tasks.open_vocabulary import read_constitution
from soar.types import Episode, Provenance, Task

log = logging.getLogger(__name__)
_LOOKS_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """What one robot is to do.

    Attributes:
        models: Its own.
        workcell: Name of its workcell.
        robot: Its name, in the episodes.
        image_size: Of a simulated camera [px]; None: whatever the workcell says.
        store: Folder or URI of the episode store.
        journal: Where events are appended.
        episodes: How many of this run and round it shall have in the end.
        run: Name of the run.
        round: Number of the round.
        seed: Of everything random.
        config: How it collects.
        epoch: See `Collector`; 0 outside of a fleet.
    """

    models: Models
    workcell: str
    robot: str
    image_size: int | None
    store: str
    journal: str
    episodes: int
    run: str
    round: int
    seed: int
    config: CollectionConfig
    epoch: int = 0

    @property
    def questions(self) -> Path | None:
        """File of questions that count more than the scene's."""
        return Path(self.config.proposal.questions) if self.config.proposal.questions else None


class FleetLink(Protocol):
    """What a robot of a fleet shares with the others; see `soar.fleet.member`."""

    @property
    def storage(self) -> Storage:
        """Where its episodes go."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether the workcell was opened for this session."""
        ...

    def counts(self) -> tuple[Mapping[str, int], Mapping[str, int]] | None:
        """Return attempts and judged successes of each task by all robots; None while nobody can tell."""
        ...

    def off_limits(self) -> frozenset[str]:
        """Return the instructions that no robot may attempt, as last heard."""
        ...


def run_session(
    workcell: Workcell,
    session: SessionConfig,
    *,
    stopping: Callable[[], bool] = lambda: False,
    on_episode: Callable[[Episode], None] | None = None,
    on_fault: Callable[[str], None] | None = None,
    on_pause: Callable[[str], None] = lambda by: None,
    listeners: Sequence[Listener] = (),
    fleet: FleetLink | None = None,
) -> None:
    """Collect until the store holds the session's episodes, a person stops the run, or asks for another policy.

    Args:
        workcell: Open.
        session: What to do.
        stopping: Asked before each episode, and while none may begin; True ends the session early.
        on_episode: Called with each episode once it is stored.
        on_fault: Called with what went wrong in an attempt, before the next one begins.
        on_pause: Called now and then with who has paused the run, while that is so, and with "" when it goes on.
        listeners: Told what happens, see `soar.collect.listeners`; beside them a file is (`soar.collect.live`).
        fleet: What the robot shares with others: attempts, what is off limits, and the way to the store.

    Raises:
        RobotFault: `unrecoverable`.
        StoreError: The store cannot be written.
        ModelServerError: A model is away and its configuration says to stop.
        ConfigError: The policy looks at a camera that the workcell lacks; nothing moved.
    """
    config, proposal = session.config, session.config.proposal
    policy, vlm = load_policy(session.models.policy), open_vlm(session.models.vlm, workcell, session.seed)
    subgoals = session.models.subgoals
    subgoal_model = open_subgoals(subgoals, workcell) if wants_subgoals(policy, subgoals) else None
    check_cameras(policy, workcell.robot.cameras, f"workcell {workcell.name!r}", subgoal_model)
    store = EpisodeStore(session.store, mode="open_or_create") if fleet is None else fleet.storage
    mine = f"(round = {session.round} AND robot = {quoted(session.robot)})"
    past: Sequence[EpisodeRecord] = ()
    if isinstance(store, EpisodeStore):
        past = store.episodes(f"run = {quoted(session.run)} AND (round < {session.round} OR {mine})")
    detector = SuccessDetector(vlm, config.threshold, sees=config.sees)
    proposer = open_proposer(
        proposal,
        vlm,
        session.models.vlm,
        workcell.scene.tasks,
        seed=derive_seed(session.seed, session.robot) % 2**31,
        past=[record.instruction for record in past],
        past_successes=[record.instruction for record in past if record.success],
        own=[one.instruction for one in past if one.provenance.robot == session.robot],
        detector=detector if proposal.reproposals else None,
    )
    presence = None
    if config.watch_objects:
        told_missing = MissingObjectWebhook(proposal.notify, session.robot) if proposal.notify else log_missing
        # A model that lists tasks may name any object that the constitution allows.
        allowed = read_constitution(Path(proposal.constitution)).objects if proposal.constitution else ()
        presence = PresenceChecker(vlm, workcell.scene.tasks, told_missing, objects=allowed)

    def exploring(seed: int) -> Policy:
        return Explorer(policy, config.exploration, action_std=policy.action_std, seed=seed)

    def prepare(index: int) -> None:
        if pausing is not None:
            pausing.moved = True
        if fleet is not None and (counts := fleet.counts()) is not None:
            proposer.recount(*counts)
        if config.set_table_every and index > begun and index % config.set_table_every == 0:
            set_table(index)

    forbidden = OffLimits(Path(session.journal).parent).now if fleet is None else fleet.off_limits

    def over() -> bool:
        """Whether the session ends; waits before an episode while a person has paused the run, or left it no task."""
        told_so = False
        while not stopping():
            if pausing is not None and pausing.ends(stopping):
                return True
            proposer.forbid(forbidden())
            if not proposer.all_forbidden:
                return stopping()
            if not told_so:
                log.warning("%s waits: a person has set all tasks of %s off limits", session.robot, workcell.scene.name)
                told_so = True
            time.sleep(_LOOKS_S)
        return True

    def set_table(index: int) -> None:
        if workcell.set_table is not None:
            table = f"collection/{session.run}/{session.round}/{session.robot}"
            workcell.set_table(derive_seed(session.seed, table, index) % 2**31)

    truth = workcell.truth

    def truth_of(task: Task) -> bool | None:
        return None if truth is None else truth(task.instruction)

    journal = Journal(Path(session.journal))
    live = LiveView(Path(session.journal).parent / FOLDER, session.robot)
    told = Listeners(session.robot, [*listeners, live])
    pausing = None  # a fleet's coordinator is told instead
    if fleet is None:
        pausing = Pausing(Orders(Path(session.journal).parent), workcell.robot, session.robot, told, on_pause)
    collector = Collector(
        robot=workcell.robot,
        scene=workcell.scene,
        proposer=proposer,
        subgoal_model=subgoal_model,
        policy=exploring,
        detector=detector,
        store=store,
        journal=journal,
        provenance=Provenance(
            policy=policy.id,
            vlm=vlm.id,
            subgoal_model="" if subgoal_model is None else subgoal_model.id,
            robot=session.robot,
            run=session.run,
            round=session.round,
            seed=session.seed,
        ),
        config=CollectConfig(rollout=config.rollout),
        presence=presence,
        prepare=prepare,
        truth=None if truth is None else truth_of,
        listeners=told,
        epoch=session.epoch,
    )
    begun = collector.next_index()
    if fleet is None or fleet.fresh:
        set_table(begun)
    try:
        collector.run(session.episodes, stopping=over, on_episode=on_episode, on_fault=on_fault)
    except RobotFault as fault:
        if proposal.notify and fleet is None:  # a fleet's coordinator calls somebody itself

            def told_person() -> None:
                journal.append("person_told", robot=session.robot)

            call_person(proposal.notify, session.robot, fault.detail.removeprefix(f"{session.robot}: "), on_sent=told_person)
        raise
    finally:
        told.close()


def run_robot(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Run the session of one simulated robot (worker entry point); reports each episode as `episode_report` does.

    Returns:
        Nothing, or under `unrecoverable` what became of a robot that cannot be recovered.
    """
    session = validate(SessionConfig, item, "session")
    try:
        run_session(
            simulated_workcell(session.workcell, session.image_size, session.questions),
            session,
            stopping=lambda: report.stopping,
            on_episode=lambda episode: report(**episode_report(episode)),
            on_pause=lambda by: report(paused=by),
        )
    except RobotFault as fault:
        # The others need not suffer for it: whoever waits for a process begins all the same.
        return {"unrecoverable": f"{session.robot}: {fault.detail.removeprefix(f'{session.robot}: ')}"}
    return {}


def episode_report(episode: Episode) -> dict[str, Any]:
    """Return what a progress bar needs to know: `instruction`, `success` as judged, and `truth` where it is known."""
    truths = [label.success for label in episode.labels if label.source == "simulator"]
    return {
        "instruction": episode.instruction,
        "success": episode.labels[0].success,
        "truth": truths[-1] if truths else None,
    }


def paused_words(report: Mapping[str, Any]) -> str:
    """Return what a progress bar says of a run that a person has paused; empty while it goes on."""
    return f"paused by {report['paused']}" if report.get("paused") else ""


@functools.cache
def simulated_workcell(name: str, image_size: int | None, questions: Path | None = None) -> Workcell:
    """Return a simulated workcell that this process keeps: compiling one and making its renderer takes a second."""
    return open_workcell(name, image_size=image_size, questions=questions)
