"""A collector of fakes around the real store, made in the tests and in their worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soar.collect.collector import Collector
from soar.collect.config import CollectConfig
from soar.collect.listeners import Listeners
from soar.collect.rollout import RolloutConfig
from soar.episodes.store import EpisodeStore
from soar.event_log import Journal
from soar.fleet.processes import Reporter
from soar.instruction_grammar import task_from_instruction
from soar.policies.base import Policy
from soar.robots import Fault, FaultyRobot, SafeRobot
from soar.seeding import generator
from soar.subgoals.base import SubgoalModel
from soar.tasks import PresenceChecker, SuccessDetector, TaskProposer, UCBSelector
from soar.testing import FakePolicy, FakeRobot, FakeSubgoals, FakeVLM
from soar.testing.fakes import FAKE_WORKSPACE
from soar.types import Image, Observation, Provenance, Scene, Task
from soar.vlm.base import VisionLanguageModel

PUT = task_from_instruction("put the green block in the wooden bowl")
OPEN = task_from_instruction("open the drawer")
SCENE = Scene(name="scene", objects=("green block", "wooden bowl"), tasks=(PUT, OPEN), workspace=FAKE_WORKSPACE)
STEPS = 10
ROLLOUT = RolloutConfig(subgoals=2, steps_per_subgoal=STEPS // 2)
PROVENANCE = Provenance(policy="policy", vlm="fake-vlm", subgoal_model="fake-subgoals", robot="fake", run="it's a run", seed=7)


class SeededPolicy(FakePolicy):
    """Moves by chance, as its seed and step say."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed, self._step = seed, 0

    def act(self, observations: Sequence[Observation], goals: Sequence[Image]) -> NDArray[np.float32]:
        self._step += 1
        self._action[:3] = generator(self._seed, "policy", self._step).uniform(-0.02, 0.02, 3)
        return super().act(observations, goals)


def collector(
    folder: Path,
    *,
    faults: Sequence[Fault] = (),
    script: Callable[[Image, str], bool | None] = lambda image, question: False,
    policy: Callable[[int], Policy] = SeededPolicy,
    provenance: Provenance = PROVENANCE,
    watch_objects: bool = False,
    truth: Callable[[Task], bool | None] | None = None,
    subgoal_model: SubgoalModel | None = None,
    rollout: RolloutConfig = ROLLOUT,
    listeners: Listeners | None = None,
    vlm: VisionLanguageModel | None = None,
    sees: str = "last",
) -> Collector:
    vlm = vlm or FakeVLM(script)
    store = EpisodeStore(folder / "episodes", mode="open_or_create")
    past = [record.instruction for record in store.episodes()]
    return Collector(
        robot=SafeRobot(FaultyRobot(FakeRobot(size=16), faults), FAKE_WORKSPACE),
        scene=SCENE,
        proposer=TaskProposer(vlm, SCENE.tasks, UCBSelector(), past),
        subgoal_model=subgoal_model or FakeSubgoals(),
        policy=policy,
        detector=SuccessDetector(vlm, clock=lambda: 0.0, sees=sees),
        store=store,
        journal=Journal(folder / "events.jsonl"),
        provenance=provenance,
        config=CollectConfig(rollout=rollout, reboots=3, drops=4),
        presence=PresenceChecker(vlm, SCENE.tasks) if watch_objects else None,
        truth=truth,
        listeners=listeners,
    )


class Killer(SeededPolicy):
    """Kills its own process in the middle of an episode."""

    def act(self, observations: Sequence[Observation], goals: Sequence[Image]) -> NDArray[np.float32]:
        if self._step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().act(observations, goals)


def collect_and_die_once(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Collect; the first process to come here is killed in its third episode."""
    folder = Path(item["folder"])
    mine = collector(folder)
    if mine.collected() == 0:
        mine.run(2)
        collector(folder, policy=Killer).run(3)
    mine.run(item["episodes"], stopping=lambda: report.stopping, on_episode=lambda episode: report(id=episode.id))
    return {"collected": mine.collected()}
