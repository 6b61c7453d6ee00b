"""One autonomous episode after another on one robot, without a person and without resets (§3, Fig. 2).

    home → which objects are missing? → propose a task → 5 × (subgoal, 20 actions) → healthy? → success? → store → journal

Failure. A `RobotFault` anywhere, or an action that the safety shell refuses, drops the episode: nothing of it reaches the
store (§G). It is journaled, the robot is rebooted up to `reboots` times, and the next attempt starts. A robot that cannot be
recovered ends the collection with `RobotFault("unrecoverable")`. A model whose server is away is replaced as its file says
(`soar.remote.fallbacks`): the episode goes on, and the journal says what was done instead, and how often.

Resume. What is finished is what is in the store: episodes of the same run, round and robot are counted, and collection goes
on with the index after the last one's, also when some in between were deleted. Everything random in an episode derives from
(seed, robot, index, attempt), so that no episode depends on what the process did before it was killed, and none is repeated.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from soar.collect.config import CollectConfig
from soar.collect.early_success import EarlySuccess, Look
from soar.collect.listeners import Listeners
from soar.collect.model_events import journaled_models
from soar.collect.rollout import Rollout, rollout
from soar.episodes.filters import quoted
from soar.episodes.schema import DONE_BEFORE, INSTRUCTION, SIMULATOR, UNDONE_BEFORE
from soar.errors import RobotFault
from soar.event_log import Journal
from soar.policies.base import Policy
from soar.robots.safety import SafeRobot, SafetyError
from soar.seeding import derive_seed
from soar.subgoals.base import SubgoalModel
from soar.tasks.detection import PresenceChecker, SuccessDetector
from soar.tasks.proposal import TaskProposer
from soar.types import Episode, Image, Label, Provenance, Scene, Task
from soar.vlm.answer_parsing import decide

log = logging.getLogger(__name__)


class Storage(Protocol):
    """Where episodes go: an `EpisodeStore`, or what brings them to one."""

    def append(self, episodes: Episode) -> None:
        """Keep an episode; when this returns it is on disk."""
        ...

    def episodes(self, where: str | None = None) -> Sequence[Stored]:
        """Return what is known of the episodes that match."""
        ...

    def count(self, where: str | None = None) -> int:
        """Return how many episodes match."""
        ...


class Stored(Protocol):
    """What a collector asks of an episode that is stored."""

    @property
    def id(self) -> str:
        """Unique in the store."""
        ...


class Collector:
    """Collects episodes on one robot.

    Args:
        robot: In its safety shell.
        scene: What is in front of it.
        proposer: Chooses tasks; to resume, build it from the instructions that are in the store.
        subgoal_model: Imagines subgoals; None for a policy that follows the instruction itself.
        policy: Makes an episode's policy from the episode's seed: `lambda seed: Explorer(policy, …, seed=seed)`, or without
            exploration `lambda seed: policy`.
        detector: Judges the attempt.
        store: Where episodes go.
        journal: Where events go.
        provenance: Template of every episode's; its `run`, `round` and `robot` say what is resumed, its `seed` seeds it all.
        config: See `CollectConfig`.
        presence: Finds objects that left the workspace; their tasks are then off limits. None: not asked.
        prepare: Called with the index of an episode before it begins, the arm at home; it may set the table anew.
        listeners: Told what happens.
        epoch: How often somebody began to drive this robot in a fleet (`soar.fleet.ledger`); ids and seeds of two epochs
            differ. 0 outside of one.
        truth: The workcell's verdict on a task at the end of an episode. It is stored beside the detector's, with all tasks of
            the scene that are done then, and used for nothing but measuring. None outside simulation.
    """

    def __init__(
        self,
        *,
        robot: SafeRobot,
        scene: Scene,
        proposer: TaskProposer,
        subgoal_model: SubgoalModel | None,
        policy: Callable[[int], Policy],
        detector: SuccessDetector,
        store: Storage,
        journal: Journal,
        provenance: Provenance,
        config: CollectConfig,
        presence: PresenceChecker | None = None,
        prepare: Callable[[int], None] | None = None,
        truth: Callable[[Task], bool | None] | None = None,
        listeners: Listeners | None = None,
        epoch: int = 0,
    ) -> None:
        self._robot, self._scene, self._proposer = robot, scene, proposer
        self._subgoal_model, self._policy, self._detector = subgoal_model, policy, detector
        self._store, self._journal, self._provenance = store, journal, provenance
        self._config, self._presence, self._prepare, self._truth = config, presence, prepare, truth
        self._listeners, self._epoch = listeners or Listeners(), epoch

    def collected(self) -> int:
        """Return the number of episodes in the store from this run, round and robot."""
        return self._store.count(self._mine())

    def next_index(self) -> int:
        """Return the first index after those of the episodes in the store from this run, round and robot."""
        prefix = self._id_prefix()
        ids = [record.id for record in self._store.episodes(self._mine()) if record.id.startswith(prefix)]
        numbers = [int(id.removeprefix(prefix)) for id in ids if id.removeprefix(prefix).isdecimal()]
        return max(numbers, default=-1) + 1

    def _mine(self) -> str:
        key = self._provenance
        return f"run = {quoted(key.run)} AND round = {key.round} AND robot = {quoted(key.robot)}"

    def _id_prefix(self) -> str:
        key = self._provenance
        return f"{key.run}-{key.round:03d}-{key.robot}-" + (f"e{self._epoch}-" if self._epoch else "")

    def run(
        self,
        episodes: int,
        *,
        stopping: Callable[[], bool] = lambda: False,
        on_episode: Callable[[Episode], None] | None = None,
        on_fault: Callable[[str], None] | None = None,
    ) -> int:
        """Collect until the store holds `episodes` episodes of this run, round and robot.

        Args:
            episodes: How many in the end, those of earlier calls included.
            stopping: Asked before each episode; True ends the collection early.
            on_episode: Called with each episode once it is stored.
            on_fault: Called with what went wrong in an attempt, before the next one begins.

        Returns:
            How many the store holds.

        Raises:
            RobotFault: `unrecoverable`: the robot could not be recovered, or too many episodes in a row were dropped.
        """
        count, index, drops = self.collected(), self.next_index(), 0
        faults: list[str] = []
        while count < episodes and not stopping():
            known = len(faults)
            episode = self.run_episode(index, attempt=drops, faults=faults)
            if on_fault is not None and episode is None and len(faults) > known:
                on_fault(faults[-1])
            if episode is not None:
                count, index, drops = count + 1, index + 1, 0
                faults.clear()
                if on_episode is not None:
                    on_episode(episode)
                continue
            drops += 1
            if drops >= self._config.drops:
                fault = RobotFault("unrecoverable", f"{drops} episodes in a row were dropped: {faults[-1]}")
                self._journal.append("unrecoverable", robot=self._provenance.robot, detail=fault.detail)
                raise fault
        return count

    def run_episode(self, index: int, *, attempt: int = 0, faults: list[str] | None = None) -> Episode | None:
        """Run one episode from home to store.

        Args:
            index: Number of the episode among those of this run, round and robot.
            attempt: How often this episode was dropped before; another attempt draws other random numbers.
            faults: What went wrong in those attempts; extended by what goes wrong in this one.

        Returns:
            The stored episode, or None when it was dropped and the robot works again.

        Raises:
            RobotFault: `unrecoverable`.
        """
        who = self._provenance.robot + (f"/e{self._epoch}" if self._epoch else "")
        seed = derive_seed(self._provenance.seed, f"{who}/{attempt}", index)
        faults = faults if faults is not None else []
        try:
            with journaled_models(self._journal, self._provenance.robot, index, self._listeners):
                episode = self._attempt(index, seed, tuple(faults))
        except SafetyError as error:
            self._drop("unsafe", index, str(error), faults)
            return None
        except RobotFault as fault:
            self._drop(fault.kind, index, fault.detail, faults)
            self._recover(fault)
            return None
        self._store.append(episode)
        rollout = self._config.rollout
        saved = rollout.steps - len(episode.actions_TD) if rollout.early_success.looks else 0
        self._listeners.tell("episode_ends", episode=episode, saved=saved)
        label = episode.labels[0]
        self._journal.append(
            "episode",
            id=episode.id,
            robot=self._provenance.robot,
            instruction=episode.instruction,
            success=label.success,
            probability=label.probability,
        )
        return episode

    def _attempt(self, index: int, seed: int, faults: tuple[str, ...]) -> Episode:
        self._robot.home()
        if self._prepare is not None:
            self._prepare(index)
        task = self._propose(index)
        self._listeners.tell("episode_begins", index=index, instruction=task.instruction)
        done_before = self._truth(task) if self._truth is not None else None
        config = self._config.rollout
        judge = EarlySuccess(lambda film: self._detector.judge(film, task), config.early_success, self._tell_look)
        result = rollout(
            self._robot,
            task.instruction,
            self._subgoal_model,
            self._policy(seed),
            seed=seed,
            config=config,
            succeeded=judge.look if config.early_success.looks else None,
            listeners=self._listeners,
        )
        health = self._robot.health()
        if not health.ok:
            raise RobotFault(health.fault, health.detail)
        labels = [judge.label(len(result.actions_TD), result.film)]
        self._journal_course(index, result, judge)
        verdict = labels[0]
        about = {"success": verdict.success, "probability": verdict.probability, "label": verdict}
        self._listeners.tell("judged", index=index, instruction=task.instruction, **about)
        # A dropped attempt does not count as one: the task is still as unknown as before.
        self._proposer.record(task, verdict.success)
        if self._truth is not None:
            said = "" if done_before is None else DONE_BEFORE if done_before else UNDONE_BEFORE
            labels.append(Label(success=self._truth(task), probability=None, source=SIMULATOR, answer=said))
            labels += [
                Label(success=None, probability=None, source=f"{INSTRUCTION}{SIMULATOR}", answer=other.instruction)
                for other in self._scene.tasks
                if self._truth(other)
            ]
        key = self._provenance
        return Episode(
            id=f"{self._id_prefix()}{index:05d}",
            scene=self._scene.name,
            instruction=task.instruction,
            images_THWC=result.images_THWC,
            states_TD=result.states_TD,
            actions_TD=result.actions_TD,
            subgoals=result.subgoals,
            labels=tuple(labels),
            provenance=dataclasses.replace(
                key, seed=seed, faults=faults, subgoal_model=key.subgoal_model if result.subgoals else ""
            ),
            reflex_steps=result.reflex_steps,
            limited_steps=result.limited_steps,
            extra_images=result.extra_images,
        )

    def _tell_look(self, look: Look) -> None:
        about = {"success": look.label.success, "probability": look.label.probability, "label": look.label}
        self._listeners.tell("look", step=look.step, **about)

    def _journal_course(self, index: int, result: Rollout, judge: EarlySuccess) -> None:
        """Write down where the robot backed off, and what the judge saw on the way."""
        if result.reflexes:
            self._journal.append("reflex", robot=self._provenance.robot, index=index, steps=list(result.reflexes))
        rollout = self._config.rollout
        if rollout.early_success.looks:
            self._journal.append(
                "looks",
                robot=self._provenance.robot,
                index=index,
                steps=[look.step for look in judge.looks],
                probabilities=[round(look.certainty, 3) for look in judge.looks],
                ended=result.ended_early,
                saved=rollout.steps - len(result.actions_TD),
            )

    def _propose(self, index: int) -> Task:
        image: Image = self._robot.observe().image_HWC
        off_limits: frozenset[str] = frozenset()
        if self._presence is not None:
            before = self._presence.missing
            off_limits = self._presence.check(image)
            if self._presence.missing != before:
                self._journal.append("missing", robot=self._provenance.robot, objects=sorted(self._presence.missing))
        missing = frozenset() if self._presence is None else self._presence.missing
        proposal = self._proposer.propose(image, off_limits, missing)
        self._journal.append(
            "proposal",
            robot=self._provenance.robot,
            index=index,
            instruction=proposal.task.instruction,
            feasible=list(proposal.feasible),
            random=proposal.random,
            vetoed=list(proposal.vetoed),
            passed_over=proposal.passed_over,
            asked=len(proposal.answers),
            undecidable=sum(decide(answer) is None for answer in proposal.answers.values()),
            listed=list(proposal.listed),
            off_limits=list(proposal.off_limits),
        )
        self._listeners.tell("proposal", proposal=proposal)
        return proposal.task

    def _drop(self, kind: str, index: int, detail: str, faults: list[str]) -> None:
        log.warning("%s: episode %d dropped (%s: %s)", self._provenance.robot, index, kind, detail)
        self._journal.append("fault", robot=self._provenance.robot, index=index, kind=kind, detail=detail)
        self._listeners.tell("fault", index=index, fault=kind, detail=detail)
        faults.append(f"{kind}: {detail}")

    def _recover(self, cause: RobotFault) -> None:
        robot = self._provenance.robot
        last = cause
        for reboot in range(1, self._config.reboots + 1):
            try:
                self._robot.recover()
            except RobotFault as fault:
                last = fault
                if fault.kind == "unrecoverable":
                    break
                continue
            self._journal.append("recovered", robot=robot, kind=cause.kind, reboots=reboot)
            return
        self._journal.append("unrecoverable", robot=robot, kind=cause.kind, detail=last.detail)
        # What was stopped, or wants a person, says so itself.
        tried = "" if last.kind == "unrecoverable" else f"; {self._config.reboots} reboots are allowed. Check the robot"
        raise RobotFault("unrecoverable", f"{robot}: {last.detail}{tried}") from cause
