"""Autonomous collection in simulation: several processes, each with a robot and a table of its own, into one store (§3).

No table is reset between episodes; only a process that begins, or begins again after it was killed, finds its objects in a new
random place, as a person who comes in the morning would have put them. A robot's number is its name: `sim-0`, `sim-1`, …
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soar.collect.collector import CollectConfig, Collector
from soar.collect.journal import Journal
from soar.collect.workers import Reporter, run_workers
from soar.configuration import validate
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation.simulated import ORACLE, check_rendering, open_flow, open_policy, open_subgoals, open_world
from soar.improve.preset import CollectionConfig
from soar.policies.base import Policy
from soar.policies.exploration import Explorer
from soar.robots.safety import SafeRobot
from soar.seeding import derive_seed
from soar.sim.robot import SimRobot
from soar.tasks import PresenceChecker, SuccessDetector, TaskProposer, UCBSelector
from soar.types import Provenance
from soar.vlm.base import VisionLanguageModel
from soar.vlm.oracle import OracleVLM
from soar.vlm.vqa import VQAModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Where the models of an autonomous robot are.

    Attributes:
        policy: Folder of the policy.
        subgoals: Folder of the subgoal model, or `oracle`; a language-conditioned policy acts without.
        vlm: Folder of the VQA model, or `oracle` (the simulator's truth with the paper's noise, §D).
    """

    policy: str
    subgoals: str
    vlm: str


def open_vlm(name: str, robot: SimRobot, seed: int = 0) -> VisionLanguageModel:
    """Return the VQA model in a folder, or with `oracle` the simulator's noisy answers.

    Raises:
        CheckpointError: The folder holds no VQA model.
    """
    return OracleVLM(robot.answer, seed=seed) if name == ORACLE else open_vqa(name)


def check_models(models: Models) -> None:
    """Load all models once, so that what is wrong with them shows before any work begins.

    Raises:
        CheckpointError: One of them is missing, foreign or damaged.
    """
    if open_policy(models.policy).conditioning == "goal" and models.subgoals != ORACLE:
        open_flow(models.subgoals)
    if models.vlm != ORACLE:
        open_vqa(models.vlm)


@functools.cache
def open_vqa(folder: str) -> VQAModel:
    """Return the VQA model in a folder, loaded once a process."""
    return VQAModel.load(Path(folder))


def collect(
    models: Models,
    *,
    scene: str,
    store: Path,
    journal: Path,
    run: str,
    round: int,
    seed: int,
    config: CollectionConfig,
    workers: int,
    image_size: int,
    on_episode: Callable[[int, int, dict[str, Any]], None] | None = None,
) -> int:
    """Collect until the store holds `config.episodes` episodes of this run and round.

    Args:
        models: Of all robots.
        scene: Name of a scene, or path of its YAML file.
        store: Folder of the episode store; made when it does not exist.
        journal: Where events are appended.
        run: Name of the run.
        round: Number of the round.
        seed: Of everything random.
        config: How.
        workers: Robots, each in a process.
        image_size: Of the cameras [px].
        on_episode: Called after each episode with (episodes done, episodes in all, `{"instruction", "success", "truth"}`).

    Returns:
        How many episodes of this run and round the store holds.

    Raises:
        ConfigError: The scene or a number is invalid.
        CheckpointError: A model cannot be loaded.
        StoreError: The store cannot be written; what was stored is kept.
    """
    if workers < 1:
        raise ConfigError(f"collect: workers must be at least 1, got {workers}")
    # What can be wrong is opened here first: an error in a worker is a worse message.
    check_models(models)

    episodes = EpisodeStore(store, mode="open_or_create")
    mine = episodes.episodes(f"run = {_quoted(run)} AND round = {round}")
    names = [f"sim-{number}" for number in range(workers)]
    have = {name: sum(record.provenance.robot == name for record in mine) for name in names}
    # Robots of an earlier call with more workers keep what they have done; the rest is shared out.
    if len(mine) < config.episodes:
        check_rendering(scene, image_size)
    left = max(0, config.episodes - len(mine))
    quotas = {name: have[name] + left // workers + (number < left % workers) for number, name in enumerate(names)}
    done = len(mine)
    if on_episode is not None:
        on_episode(done, config.episodes, {})

    def receive(_index: int, report: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if on_episode is not None:
            on_episode(done, config.episodes, report)

    items = [
        {
            "models": asdict(models),
            "scene": scene,
            "store": str(store),
            "journal": str(journal),
            "robot": name,
            "episodes": quotas[name],
            "run": run,
            "round": round,
            "seed": seed,
            "config": asdict(config),
            "image_size": image_size,
        }
        for name in names
        if quotas[name] > have[name]
    ]
    run_workers(run_robot, items, workers=workers, journal=Journal(journal), on_report=receive)
    return episodes.count(f"run = {_quoted(run)} AND round = {round}")


def run_robot(item: dict[str, Any], report: Reporter) -> dict[str, Any]:
    """Collect with one robot (worker entry point); reports `instruction`, `success` and `truth` of each episode."""
    config = validate(CollectionConfig, item["config"], "collection")
    models = Models(**item["models"])
    world = open_world(item["scene"], item["image_size"])
    robot, scene = SimRobot(world), world.config.scene()
    policy, vlm = open_policy(models.policy), open_vlm(models.vlm, robot, item["seed"])
    subgoal_model = open_subgoals(models.subgoals, robot) if policy.conditioning == "goal" else None
    store = EpisodeStore(item["store"], mode="open_or_create")
    past = [record.instruction for record in store.episodes(f"run = {_quoted(item['run'])}")]

    def exploring(seed: int) -> Policy:
        return Explorer(policy, config.exploration, action_std=policy.statistics.std, seed=seed)

    collector = Collector(
        robot=SafeRobot(robot, scene.workspace),
        scene=scene,
        proposer=TaskProposer(vlm, scene.tasks, UCBSelector(seed=derive_seed(item["seed"], item["robot"]) % 2**31), past),
        subgoal_model=subgoal_model,
        policy=exploring,
        detector=SuccessDetector(vlm, config.threshold),
        store=store,
        journal=Journal(Path(item["journal"])),
        provenance=Provenance(
            policy=policy.id,
            vlm=vlm.id,
            subgoal_model="" if subgoal_model is None else subgoal_model.id,
            robot=item["robot"],
            run=item["run"],
            round=item["round"],
            seed=item["seed"],
        ),
        config=CollectConfig(),
        presence=PresenceChecker(vlm, scene.tasks) if config.watch_objects else None,
        truth=lambda task: robot.succeeded(task.instruction),
    )
    begun = collector.collected()
    world.reset(derive_seed(item["seed"], f"collection/{item['run']}/{item['round']}/{item['robot']}", begun) % 2**31)
    collector.run(
        item["episodes"],
        stopping=lambda: report.stopping,
        on_episode=lambda episode: report(
            instruction=episode.instruction, success=episode.labels[0].success, truth=episode.labels[-1].success
        ),
    )
    return {}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
