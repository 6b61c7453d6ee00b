"""Autonomous collection in simulation: several processes, each with a robot and a table of its own, into one store (§3).

No table is reset between episodes, unless `CollectionConfig.set_table_every` says so; only a robot that begins, or begins again
after its process was killed, finds its objects in new random places, some of them in a container, as a person who comes in the
morning would have put them. A robot's number is its name: `sim-0`, `sim-1`, … With more robots than processes they take turns,
each with all of its episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from soar.collect.collector import CollectConfig, Collector
from soar.configuration import validate
from soar.episodes.store import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation.runner import ORACLE, check_rendering, open_robots_vlm, open_subgoals, open_world
from soar.event_log import Journal
from soar.fleet.processes import Reporter, run_workers
from soar.improve.preset import CollectionConfig
from soar.instruction_grammar import parse_instruction
from soar.policies.base import Policy
from soar.policies.exploration import Explorer
from soar.policies.loading import open_policy
from soar.robots.safety import SafeRobot
from soar.seeding import derive_seed, generator
from soar.sim.robot import SimRobot
from soar.sim.world import World
from soar.subgoals.loading import open_subgoal_model
from soar.tasks import PresenceChecker, SuccessDetector, TaskProposer
from soar.tasks.notification import MissingObjectWebhook
from soar.tasks.open_vocabulary import OpenVocabularyProposer, read_constitution
from soar.tasks.proposal import ProposalConfig
from soar.tasks.questions import read_questions, reviewed
from soar.types import Provenance, Task
from soar.vlm.base import VisionLanguageModel
from soar.vlm.loading import check_vlm, open_language_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Where the models of an autonomous robot are.

    Attributes:
        policy: Folder of the policy, or URL of one behind `soar serve` (see `soar.policies.loading`).
        subgoals: Folder of the subgoal model, another model's YAML file (see `soar.subgoals.loading`), or `oracle`; a
            language-conditioned policy acts without.
        vlm: Folder of the VQA model, another model's YAML file (see `soar.vlm.loading`), `human`, or `oracle` (the simulator's
            truth with the paper's noise, §D).
    """

    policy: str
    subgoals: str
    vlm: str


def check_models(models: Models) -> None:
    """Load all models once, so that what is wrong with them shows before any work begins.

    Raises:
        CheckpointError: One of them is missing, foreign or damaged.
        ModelServerError: The server of one of them does not answer.
    """
    if open_policy(models.policy).conditioning == "goal" and models.subgoals != ORACLE:
        open_subgoal_model(models.subgoals)
    if models.vlm != ORACLE:
        check_vlm(models.vlm)


def collect(
    models: Models,
    *,
    scene: str,
    store: str | Path,
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
        store: Folder or URI of the episode store; made when it does not exist.
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
    if config.proposal.questions:
        read_questions(Path(config.proposal.questions))
    if config.proposal.constitution:
        read_constitution(Path(config.proposal.constitution))
        open_language_model(config.proposal.lister or models.vlm)

    episodes = EpisodeStore(store, mode="open_or_create")
    mine = episodes.episodes(f"run = {_quoted(run)} AND round = {round}")
    robots = config.robots or workers
    names = [f"sim-{number}" for number in range(robots)]
    have = {name: sum(record.provenance.robot == name for record in mine) for name in names}
    # Robots of an earlier call with more workers keep what they have done; the rest is shared out.
    if len(mine) < config.episodes:
        check_rendering(scene, image_size)
    left = max(0, config.episodes - len(mine))
    quotas = {name: have[name] + left // robots + (number < left % robots) for number, name in enumerate(names)}
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
    policy, vlm = open_policy(models.policy), open_robots_vlm(models.vlm, robot, item["seed"])
    subgoal_model = open_subgoals(models.subgoals, robot) if policy.conditioning == "goal" else None
    store = EpisodeStore(item["store"], mode="open_or_create")
    past = store.episodes(f"run = {_quoted(item['run'])}")
    proposal = config.proposal
    tasks = reviewed(scene.tasks, Path(proposal.questions)) if proposal.questions else scene.tasks
    detector = SuccessDetector(vlm, config.threshold)
    proposer = open_proposer(
        proposal,
        vlm,
        models.vlm,
        tasks,
        seed=derive_seed(item["seed"], item["robot"]) % 2**31,
        past=[record.instruction for record in past],
        past_successes=[record.instruction for record in past if record.success],
        detector=detector if proposal.reproposals else None,
    )
    presence = None
    if config.watch_objects:
        webhook = MissingObjectWebhook(proposal.notify, item["robot"]) if proposal.notify else None
        presence = PresenceChecker(vlm, tasks) if webhook is None else PresenceChecker(vlm, tasks, webhook)

    def exploring(seed: int) -> Policy:
        return Explorer(policy, config.exploration, action_std=policy.action_std, seed=seed)

    def prepare(index: int) -> None:
        if config.set_table_every and index > begun and index % config.set_table_every == 0:
            set_table(index)

    def set_table(index: int) -> None:
        table = f"collection/{item['run']}/{item['round']}/{item['robot']}"
        _set_table(world, derive_seed(item["seed"], table, index) % 2**31)

    collector = Collector(
        robot=SafeRobot(robot, scene.workspace),
        scene=scene,
        proposer=proposer,
        subgoal_model=subgoal_model,
        policy=exploring,
        detector=detector,
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
        config=CollectConfig(rollout=config.rollout),
        presence=presence,
        prepare=prepare,
        truth=lambda task: _truth(robot, task),
    )
    begun = collector.collected()
    set_table(begun)
    collector.run(
        item["episodes"],
        stopping=lambda: report.stopping,
        on_episode=lambda episode: report(
            instruction=episode.instruction, success=episode.labels[0].success, truth=episode.labels[-1].success
        ),
    )
    return {}


def _set_table(world: World, seed: int) -> None:
    """Put everything somewhere, two things of five in a container where there is one."""
    rng = generator(seed, "table")
    inside = {name: str(rng.choice(world.containers)) for name in world.graspable if world.containers and rng.random() < 0.4}
    world.reset(seed, inside=inside)


def open_proposer(
    config: ProposalConfig,
    vlm: VisionLanguageModel,
    vlm_name: str,
    tasks: Sequence[Task],
    *,
    seed: int,
    past: Sequence[str] = (),
    past_successes: Sequence[str] = (),
    detector: SuccessDetector | None = None,
) -> TaskProposer:
    """Return the proposer of a scene's tasks, or with a constitution that of the tasks which a model lists.

    Args:
        config: How tasks are proposed.
        vlm: Answers the feasibility questions.
        vlm_name: Its name; it lists tasks too, when `config.lister` names no other model.
        tasks: The scene's.
        seed: Of the selector.
        past: Instructions of the attempts so far, which count wherever they came from.
        past_successes: Instructions of those that were judged successes.
        detector: Vets what was chosen; None: nobody does.

    Raises:
        ConfigError: The constitution cannot be read, or the model that is to list tasks does not reply in words.
    """
    if not config.constitution:
        return TaskProposer(
            vlm, tasks, config.selector(seed), past, past_successes, detector=detector, reproposals=config.reproposals
        )
    return OpenVocabularyProposer(
        vlm,
        open_language_model(config.lister or vlm_name),
        read_constitution(Path(config.constitution)),
        tasks,
        config.selector(seed),
        past=past,
        past_successes=past_successes,
        detector=detector,
        reproposals=config.reproposals,
    )


def _truth(robot: SimRobot, task: Task) -> bool | None:
    """Return whether a task is done; None when the simulator has no such task, which a model may have listed all the same."""
    known, kind = robot.world.specs, parse_instruction(task.instruction).kind
    if not known.keys() >= set(task.objects) or (kind in ("open", "close") and "drawer" not in known):
        return None
    return robot.succeeded(task.instruction)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
