"""The loop: one command, and a simulated robot improves itself (paper §3, Fig. 2).

    evaluate the base ─► each round: collect ─► co-train a candidate ─► evaluate it ─► promote or keep ─► report

A candidate is deployed only when it is not worse than the deployed policy on the same starts (`soar.evaluation.promotion`). A
round without a single judged success trains nothing; the next one collects more. Every phase is skipped when the run's folder
says that it is finished (see `soar.improve.run_folder`).

Whoever is deployed collects. It learns itself, or with `ImproveConfig.learner` another policy does, such as one that follows
instructions: subgoals lead the arm to successes at which such a policy could not arrive, and the instructions of those
successes are all that it needs.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soar.collect.models import Models, check_models
from soar.episodes import EpisodeStore
from soar.errors import ConfigError
from soar.evaluation import Evaluation, not_worse, read_evaluation
from soar.evaluation.runner import evaluate
from soar.evaluation.trial_running import JudgeName, check_judge
from soar.fleet.collection import check_abilities, collect
from soar.improve.preset import Preset
from soar.improve.run_folder import RunFolder
from soar.improve.run_report import write_run_report
from soar.nn.model_files import copy_model
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.pretraining.recording import record
from soar.progress import Progress
from soar.robots.workcell import load_workcell
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData, cotrain
from soar.training.policy import load_parent

CHANGEABLE = ("preset.improvement.rounds", "preset.workers")
"""What may differ when a run is continued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImproveConfig:
    """A run.

    Attributes:
        run: Its folder, see `soar.improve.run_folder`; its name is the run's name.
        workcell: Name of a workcell, path of its YAML file, or `sim:SCENE`.
        models: The base policy, and the frozen models.
        preset: How much of everything.
        seed: Of collection and training. Evaluation has seeds of its own.
        learner: Folder of another policy that learns from what is collected, as long as none of its descendants is deployed;
            the deployed policy learns itself by default.
        demonstrations: Configuration of the base's demonstrations, some of which are recorded again to co-train on.
        pretraining: Store of demonstrations to co-train on instead; outside of the simulated tabletop there is no other way.
        judge: Who says in evaluations whether it worked: the workcell's truth, or the vision-language model.
        device: Of torch, for training.
    """

    run: Path
    workcell: str
    models: Models
    preset: Preset
    seed: int = 0
    learner: str | None = None
    demonstrations: str = "demonstrations"
    pretraining: str | None = None
    judge: JudgeName = "truth"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.run.name:
            raise ConfigError(f"--run {self.run}: name a folder, for example runs/mine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """What a run came to.

    Attributes:
        before: Evaluation of the policy that it began with.
        after: Evaluation of the policy that is deployed now, on the same starts.
        report: The page.
        dataset: The store of episodes.
    """

    before: Evaluation
    after: Evaluation
    report: Path
    dataset: Path


def improve(config: ImproveConfig, on_progress: Progress = lambda phase, done, total, note="": None) -> Improvement:
    """Run the loop, or what is left of it.

    Args:
        config: The run.
        on_progress: Called as the work goes on.

    Raises:
        ConfigError: The folder holds another run, or something in the configuration is invalid.
        CheckpointError: A model cannot be loaded.
        SoarError: Something cannot be written; what was finished is kept.
    """
    # What is wrong with the models or the scene must not leave a folder behind.
    check(config)
    base, learner = (_checked(folder, config) for folder in (config.models.policy, config.learner))
    if config.pretraining is not None:
        EpisodeStore(config.pretraining)
    folder = RunFolder(config.run)
    folder.claim(_plain(config) | {"base": base, "learner": learner}, CHANGEABLE)
    for source, target in ((config.models.policy, folder.policy(0)), (config.learner, folder.learner)):
        if source is not None and not (target / "config.json").exists():
            copy_model(Path(source), target)
    loop = _Loop(config, folder, on_progress)
    rounds = config.preset.improvement.rounds
    folder.point_at(folder.deployed(before_round=rounds))
    before = loop.evaluate(0, "pretrained")
    loop.record_demonstrations()
    for round in range(rounds):
        if not any(event["round"] == round for event in folder.events("round_finished")):
            loop.run_round(round)
            folder.journal.append("round_finished", round=round)
    deployed = folder.deployed(before_round=rounds)
    folder.point_at(deployed)
    write_run_report(folder, scene=load_workcell(config.workcell).scene.name, deployed=deployed)
    after = read_evaluation(folder.evaluation(deployed))
    return Improvement(before=before, after=after, report=folder.report, dataset=folder.episodes)


def check(config: ImproveConfig) -> None:
    """Open all that a run needs once, so that what is wrong shows before anything is made.

    Raises:
        ConfigError: Something in the configuration is invalid, or the workcell cannot do what is asked of it.
        CheckpointError: A model cannot be loaded.
    """
    cell, policy = load_workcell(config.workcell), check_models(config.models)
    if config.pretraining is None and not cell.is_tabletop:
        raise ConfigError(
            f"workcell {cell.name!r} is not the simulated tabletop, so that there are no demonstrations to co-train on: name "
            "the store of those that the policy was trained on with --pretraining (`soar data import` makes one)"
        )
    collection = config.preset.improvement.collection
    questions = Path(collection.proposal.questions) if collection.proposal.questions else None
    with cell.open(image_size=policy.image_size, questions=questions) as workcell:
        check_abilities(workcell, config.models, policy, collection)
        check_judge(workcell, judge=config.judge, vlm=config.models.vlm)


class _Loop:
    """The phases of one run; each does what is left of it."""

    def __init__(self, config: ImproveConfig, folder: RunFolder, on_progress: Progress) -> None:
        self._config, self._folder, self._on_progress = config, folder, on_progress
        self._preset, self._improvement = config.preset, config.preset.improvement
        questions = self._improvement.collection.proposal.questions
        self._questions = Path(questions) if questions else None

    def evaluate(self, number: int, variant: str) -> Evaluation:
        """Run the trials of policy `number`."""
        phase = f"evaluate policy {number}"
        with self._folder.timed(phase):
            return evaluate(
                self._folder.policy(number),
                workcell=self._config.workcell,
                subgoals=self._config.models.subgoals,
                trials=self._improvement.trials,
                out=self._folder.evaluation(number),
                variant=variant,
                workers=self._preset.workers,
                judge=self._config.judge,
                vlm=self._config.models.vlm,
                threshold=self._improvement.collection.threshold,
                questions=self._questions,
                rollout=self._improvement.collection.rollout,
                on_trial=lambda done, total, rate: self._on_progress(phase, done, total, f"success {rate:.2f}"),
            )

    def record_demonstrations(self) -> None:
        """Record again some of the demonstrations that the base learned from, the same episodes, unless a store is named."""
        if self._config.pretraining is not None:
            return
        phase = "record demonstrations"
        with self._folder.timed(phase):
            record(
                self._config.demonstrations,
                self._folder.pretraining,
                worlds=self._improvement.cotraining_worlds,
                seed=self._preset.pretraining.demonstration_seed,
                workers=self._preset.workers,
                on_world=lambda done, total: self._on_progress(phase, done, total, "worlds"),
            )

    def run_round(self, round: int) -> None:
        """Collect, train a candidate, and promote it or keep the deployed policy."""
        deployed, candidate = self._folder.deployed(before_round=round), round + 1
        self._collect(round, self._folder.policy(deployed))
        learner = self._folder.policy(deployed) if deployed or self._config.learner is None else self._folder.learner
        if not self._train(round, initial=learner, folder=self._folder.policy(candidate)):
            return
        evaluation = self.evaluate(candidate, f"round {round}")
        if not any(event["round"] == round for event in self._folder.events("promotion")):
            verdict = not_worse(evaluation, read_evaluation(self._folder.evaluation(deployed)))
            self._folder.journal.append(
                "promotion",
                round=round,
                candidate=candidate,
                deployed=deployed,
                promote=verdict.promote,
                sentence=verdict.sentence,
            )
        self._folder.point_at(self._folder.deployed(before_round=round + 1))

    def _collect(self, round: int, policy: Path) -> None:
        phase, judged = f"collect, round {round}", 0

        def on_episode(done: int, total: int, last: dict[str, Any]) -> None:
            nonlocal judged
            judged += last.get("success") is True
            self._on_progress(phase, done, total, f"{judged} judged successes" if last else "")

        with self._folder.timed(phase):
            collect(
                dataclasses.replace(self._config.models, policy=str(policy)),
                workcell=self._config.workcell,
                store=self._folder.episodes,
                journal=self._folder.journal_file,
                run=self._config.run.name,
                round=round,
                seed=self._config.seed,
                config=self._improvement.collection,
                workers=self._preset.workers,
                on_episode=on_episode,
            )

    def _train(self, round: int, *, initial: Path, folder: Path) -> bool:
        """Train the candidate of a round; False when there is nothing to learn from."""
        if (folder / "config.json").exists():
            return True
        # The data are those of the moment when training began, however often it is interrupted.
        begun = [event["data"] for event in self._folder.events("training") if event["round"] == round]
        version = begun[0] if begun else EpisodeStore(self._folder.episodes).version
        learned = self._improvement
        data = AutonomousData(
            store=self._folder.episodes, version=version, success_only=learned.success_only, threshold=learned.threshold
        )
        if not EpisodeStore(self._folder.episodes, version=version).count(data.filter()):
            self._folder.journal.append("nothing_to_learn", round=round)
            return False
        if not begun:
            self._folder.journal.append("training", round=round, data=version)
        phase, recipe = f"train, round {round}", _recipe(self._config, initial)
        with self._folder.timed(phase):
            cotrain(
                dataclasses.replace(recipe, fit=dataclasses.replace(recipe.fit, seed=self._config.seed)),
                folder,
                pretraining=self._config.pretraining or self._folder.pretraining / "episodes",
                autonomous=data,
                initial=initial,
                device=self._config.device,
                on_step=lambda done, total, metrics: self._on_progress(
                    phase, done, total, f"loss {metrics.get('loss', 0.0):.2f}"
                ),
            )
        return True


def _recipe(config: ImproveConfig, initial: str | Path) -> PolicyTrainingConfig:
    """Return the training that goes on from a policy; it is told what that policy is told."""
    recipe, told = config.preset.improvement.policy, LearnedPolicy.load(initial).network.config
    network = dataclasses.replace(recipe.network, conditioning=told.conditioning, instruction=told.instruction)
    return dataclasses.replace(recipe, network=network)


def _checked(folder: str | None, config: ImproveConfig) -> str | None:
    """Return the name of a policy that the training can go on from, and whose lineage the report can tell."""
    if folder is None:
        return None
    parent = load_parent(Path(folder), _recipe(config, folder).network)
    read_lineage(folder)
    return parent.id


def _plain(config: ImproveConfig) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    del values["run"]  # a run is what is in its folder, wherever that is moved to
    return values
