"""The loop: one command, and a simulated robot improves itself (paper §3, Fig. 2).

    evaluate the base ─► each round: collect ─► co-train a candidate ─► evaluate it ─► promote or keep ─► report

A candidate is deployed only when it is not worse than the deployed policy on the same starts (`soar.evaluation.promotion`), as
the workcell's truth, a person or a model says. A person who knew which one acts would see what they hope: they judge both anew
in each round, in turn and unnamed, and nothing before. Without evaluations (`evaluate: off`) a candidate is deployed on trial:
it practises the next round, and stays if it was not judged to do worse there than its predecessor did.

Rounds are numbered from 1; candidate N is the one that round N trains. A round without a single judged success trains nothing;
the next one collects more. Every phase is skipped when the run's folder says that it is finished (see
`soar.improve.run_folder`).

Whoever is deployed collects. It learns itself, or with `ImproveConfig.learner` another policy does, such as one that follows
instructions: subgoals lead the arm to successes at which such a policy could not arrive, and the instructions of those
successes are all that it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soar.episodes import EpisodeStore
from soar.errors import ConfigError, LearnerError, NothingToLearnError
from soar.evaluation import Evaluation, not_worse, read_evaluation
from soar.evaluation.promotion import Practice, Verdict, practised_not_worse
from soar.evaluation.runner import evaluate
from soar.fleet.collection import collect
from soar.improve.config import CHANGEABLE, ImproveConfig, check, plain
from soar.improve.fleet_rounds import FleetRounds
from soar.improve.learners import checked_base, checked_learner, learner_of
from soar.improve.person import judged_by_person
from soar.improve.practice import practice
from soar.improve.run_folder import RunFolder, keep_policy
from soar.improve.run_report import write_run_report
from soar.progress import Progress, ProgressFile
from soar.robots.workcell import load_workcell
from soar.run_claim import RunClaim
from soar.training.cotraining import AutonomousData
from soar.training.learner import LearningData
from soar.training.served import served


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """What a run came to.

    Attributes:
        before: Evaluation of the policy that it began with; None without evaluations.
        after: Evaluation, on the same starts, of the policy that is deployed now.
        compared: What there is to compare: `before` and `after`, or the deployed policy and a candidate that was refused.
        practised: What each policy did while it practised, as judged, oldest first.
        verdicts: On each candidate, oldest first, and on one that is on trial.
        report: The page.
        dataset: The store of episodes.
    """

    before: Evaluation | None
    after: Evaluation | None
    compared: tuple[Evaluation, ...]
    practised: tuple[Practice, ...]
    verdicts: tuple[str, ...]
    report: Path
    dataset: Path


def improve(
    config: ImproveConfig,
    on_progress: Progress = lambda phase, done, total, note="": None,
    on_fleet: Callable[[str], None] = lambda url: None,
) -> Improvement:
    """Run the loop, or what is left of it.

    Args:
        config: The run.
        on_progress: Called as the work goes on.
        on_fleet: Called with the address at which robots of a fleet join, once it is known.

    Raises:
        ConfigError: The folder holds another run, or something in the configuration is invalid.
        CheckpointError: A model cannot be loaded.
        SoarError: Something cannot be written; what was finished is kept.
    """
    # What is wrong with the models, the scene or the folder must not leave anything behind.
    claim = RunClaim(folder=config.run, command="soar improve", changeable=CHANGEABLE)
    claim.check()
    with served(Path(config.models.policy)):
        check(config)
        base, learner = checked_base(config), checked_learner(config)
        if config.pretraining is not None:
            EpisodeStore(config.pretraining)
        if any(event["round"] == 0 for event in RunFolder(config.run).events("round_finished")):
            raise ConfigError(
                f"{config.run} holds a run of an earlier version, whose rounds began with 0: name another folder with --run"
            )
        what = plain(config) | {"base": base, "learner": learner}
        claim.check(what)
        with claim.hold(what):
            return _improve(config, on_progress, on_fleet)


def _improve(config: ImproveConfig, on_progress: Progress, on_fleet: Callable[[str], None]) -> Improvement:
    folder = RunFolder(config.run)
    for source, target in ((config.models.policy, folder.policy(0)), (config.learner, folder.learner)):
        if source is not None and not (target / "config.json").exists():
            keep_policy(source, target)
    loop = _Loop(config, folder, ProgressFile(folder.path, on_progress), on_fleet)
    folder.point_at(folder.in_use())
    if config.evaluate in ("truth", "vlm"):
        loop.evaluate(0, "pretrained")
    loop.record_demonstrations()
    try:
        for round in range(1, config.preset.improvement.rounds + 1):
            if not any(event["round"] == round for event in folder.events("round_finished")):
                loop.run_round(round)
                folder.journal.append("round_finished", round=round)
    finally:
        loop.close()
    folder.point_at(folder.in_use())
    report = write_run_report(folder, scene=load_workcell(config.workcell).scene.name)
    evaluated = folder.evaluation(0).exists()
    return Improvement(
        before=read_evaluation(folder.evaluation(0)) if evaluated else None,
        after=read_evaluation(folder.evaluation(folder.deployed())) if evaluated else None,
        compared=report.compared,
        practised=report.practised,
        verdicts=tuple(verdict.sentence for verdict in report.promotions),
        report=folder.report,
        dataset=folder.episodes,
    )


class _Loop:
    """The phases of one run; each does what is left of it."""

    def __init__(
        self, config: ImproveConfig, folder: RunFolder, on_progress: Progress, on_fleet: Callable[[str], None]
    ) -> None:
        self._config, self._folder, self._on_progress = config, folder, on_progress
        self._preset, self._improvement = config.preset, config.preset.improvement
        questions = self._improvement.collection.proposal.questions
        self._questions = Path(questions) if questions else None
        self._fleet = None if config.fleet is None else FleetRounds(config, folder, on_progress, on_fleet)

    def close(self) -> None:
        """Let nobody work any more."""
        if self._fleet is not None:
            self._fleet.close()

    def evaluate(self, number: int, variant: str) -> Evaluation:
        """Run the trials of policy `number`."""
        phase, config = f"evaluate policy {number}", self._config
        policy, out = self._folder.policy(number), self._folder.evaluation(number)
        with self._folder.timed(phase), served(policy):
            return evaluate(
                policy,
                workcell=config.workcell,
                subgoals=config.models.subgoals,
                trials=self._improvement.trials,
                out=out,
                variant=variant,
                workers=self._preset.workers,
                judge="vlm" if config.evaluate == "vlm" else "truth",
                vlm=config.models.vlm,
                threshold=self._improvement.collection.threshold,
                questions=self._questions,
                rollout=self._improvement.collection.rollout,
                on_trial=lambda done, total, rate: self._on_progress(phase, done, total, f"success {rate:.2f}"),
            )

    def record_demonstrations(self) -> None:
        """Record again some of the demonstrations that the base learned from, the same episodes, unless a store is named."""
        if self._config.pretraining is not None or not self._config.learns_from_demonstrations:
            return
        from soar.pretraining.recording import record  # only the tabletop needs what simulates it

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
        if self._fleet is not None:
            self._run_round_by_fleet(self._fleet, round)
            return
        off, deployed = self._config.evaluate == "off", self._folder.deployed(before_round=round)
        # Whoever is on trial practises, and is judged by that.
        on_trial = round - 1 if off and round > 1 and self._trained(round - 1) else None
        self._collect(round, self._folder.policy(deployed if on_trial is None else on_trial))
        if on_trial is not None:
            self._decide(
                round,
                on_trial,
                deployed,
                lambda old, new: practised_not_worse(practice(self._folder, new), practice(self._folder, old)),
            )
            deployed = self._folder.deployed(before_round=round + 1)
        learner = self._folder.policy(deployed) if deployed or self._config.learner is None else self._folder.learner
        if not self._train(round, initial=learner):
            return
        if off:
            if self._folder.on_trial() != round:
                self._folder.journal.append("on_trial", round=round, candidate=round)
        else:
            self._decide(round, round, deployed, lambda old, new: not_worse(*self._tried(round, new, old)))
        self._folder.point_at(self._folder.in_use())

    def _run_round_by_fleet(self, fleet: FleetRounds, round: int) -> None:
        """The same, with robots that go on meanwhile (`soar.improve.fleet_rounds`)."""
        off, deployed = self._config.evaluate == "off", self._folder.deployed(before_round=round)
        last = round == self._improvement.rounds
        fleet.finish(round, self._folder.policy(deployed))
        if not last:
            fleet.begin(round + 1, self._folder.policy(deployed))
        learner = self._folder.policy(deployed) if deployed or self._config.learner is None else self._folder.learner
        if not self._train(round, initial=learner):
            return

        def compare(old: int, new: int) -> Verdict:
            verdict = None if off else not_worse(*self._tried(round, new, old))
            if verdict is not None and (last or not verdict.promote):
                return verdict
            tried = fleet.try_out(self._folder.policy(new))
            return tried if verdict is None else Verdict(promote=tried.promote, sentence=f"{verdict.sentence} {tried.sentence}")

        if not (off and last):
            self._decide(round, round, deployed, compare)
        elif self._folder.on_trial() != round:  # no robot works that could try it
            self._folder.journal.append("on_trial", round=round, candidate=round)
        self._folder.point_at(self._folder.in_use())

    def _decide(self, round: int, candidate: int, deployed: int, compare: Callable[[int, int], Verdict]) -> None:
        """Decide about a candidate, once."""
        if any(event["round"] == round for event in self._folder.events("promotion")):
            return
        verdict = compare(deployed, candidate)
        self._folder.journal.append(
            "promotion",
            round=round,
            candidate=candidate,
            deployed=deployed,
            promote=verdict.promote,
            sentence=verdict.sentence,
        )

    def _tried(self, round: int, candidate: int, deployed: int) -> tuple[Evaluation, Evaluation]:
        """Return the trials of a candidate and of the deployed policy."""
        if self._config.evaluate == "person":
            return judged_by_person(self._config, self._folder, round, candidate=candidate, deployed=deployed)
        return self.evaluate(candidate, f"round {candidate}"), read_evaluation(self._folder.evaluation(deployed))

    def _trained(self, candidate: int) -> bool:
        return (self._folder.policy(candidate) / "config.json").exists()

    def _collect(self, round: int, policy: Path) -> None:
        phase, judged = f"collect, round {round}", 0

        def on_episode(done: int, total: int, last: dict[str, Any]) -> None:
            nonlocal judged
            judged += last.get("success") is True
            self._on_progress(phase, done, total, f"{judged} judged successes" if last else "")

        with self._folder.timed(phase), served(policy):
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

    def _train(self, round: int, *, initial: Path) -> bool:
        """Train the candidate of a round; False when there is nothing to learn from."""
        if self._trained(round):
            return True
        if any(event["round"] == round for event in self._folder.events("not_learned")):
            return False
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
        phase = f"train, round {round}"
        pretraining = self._config.pretraining or self._folder.pretraining / "episodes"
        try:
            with self._folder.timed(phase, self._config.device):
                learner_of(self._config).learn(
                    initial,
                    LearningData(pretraining=pretraining, autonomous=data),
                    self._folder.policy(round),
                    seed=self._config.seed,
                    device=self._config.device,
                    on_step=lambda done, total, metrics: self._on_progress(
                        phase, done, total, f"loss {metrics['loss']:.2f}" if "loss" in metrics else "seconds at most"
                    ),
                )
        except NothingToLearnError as error:  # the recipe keeps no step of what was collected; the next round collects more
            self._folder.journal.append("nothing_to_learn", round=round, detail=str(error))
            return False
        except LearnerError as error:  # a round without a candidate; the next one collects more, and tries again
            self._folder.journal.append("not_learned", round=round, detail=str(error))
            return False
        return True
