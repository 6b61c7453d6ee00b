"""The loop: one command, and a simulated robot improves itself (paper §3, Fig. 2).

    evaluate the base ─► each round: collect ─► co-train a candidate ─► evaluate it ─► promote or keep ─► report

A candidate is deployed only when it is not worse than the deployed policy on the same starts (`soar.evaluation.promotion`), as
the workcell's truth, a person or a model says. A person who knew which one acts would see what they hope: they judge both anew
in each round, in turn and unnamed, and nothing before. Without evaluations (`evaluate: off`) a candidate is deployed on trial:
it practises the next round, and stays if it was not judged to do worse there than its predecessor did.

Rounds are numbered from 1; candidate N is the one that round N trains. A round without a single judged success trains nothing;
the next one collects more. Every phase is skipped when the run's folder says that it is finished (see
`soar.run_folder`).

Whoever is deployed collects and learns, unless another policy collects for it (`ImproveConfig.collector`) or learns from what
it collects (`ImproveConfig.learner`): subgoals lead the arm to successes at which a policy that follows instructions could
not arrive, and the instructions of those successes are all that it needs.

What a person asks for meanwhile, another policy or the end, is heeded between two episodes or phases (`soar.improve.asked`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soar.console.findings import Findings
from soar.episodes import EpisodeStore
from soar.episodes.browsing import Browser
from soar.errors import ConfigError, LearnerError, NothingToLearnError
from soar.evaluation import Evaluation, not_worse, read_evaluation
from soar.evaluation.practice import practice_of
from soar.evaluation.promotion import Practice, Verdict, practised_not_worse
from soar.evaluation.runner import evaluate
from soar.fleet.collection import collect
from soar.fleet.session import paused_words
from soar.improve.asked import Asked
from soar.improve.config import ImproveConfig, check, claim_of, plain
from soar.improve.fleet_rounds import FleetRounds
from soar.improve.learners import checked_base, checked_collector, checked_learner, keep_policy, learner_of
from soar.improve.person import judged_by_person
from soar.improve.run_report import write_run_report
from soar.policies.named import id_in
from soar.progress import Progress, ProgressFile
from soar.run_folder import RunFolder
from soar.run_orders import Orders
from soar.training.cotraining import AutonomousData
from soar.training.learner import LearningData
from soar.training.served import served


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """What a run came to.

    Attributes:
        before: Evaluation of the policy that it began with; None without evaluations.
        after: Evaluation, on the same starts, of the policy that is deployed now; None, too, where a person was faster.
        findings: What the report says of the policies: what happened, the verdict on each candidate, and one that is on trial.
        report: The page.
        dataset: The store of episodes.
    """

    before: Evaluation | None
    after: Evaluation | None
    findings: Findings
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
        SoarError: Something cannot be written, or a person has stopped the run; what was finished is kept.
    """
    # What is wrong with the models, the scene or the folder must not leave anything behind.
    claim = claim_of(config)
    claim.check()
    with served(Path(config.models.policy)):
        with nullcontext() if config.collector is None else served(Path(config.collector)):
            check(config)
            base, learner, collector = checked_base(config), checked_learner(config), checked_collector(config)
        if config.pretraining is not None:
            EpisodeStore(config.pretraining)
        if any(event["round"] == 0 for event in RunFolder(config.run).events("round_finished")):
            raise ConfigError(
                f"{config.run} holds a run of an earlier version, whose rounds began with 0: name another folder with --run"
            )
        what = plain(config) | {"base": base, "learner": learner, "collector": collector}
        claim.check(what)
        with claim.hold(what):
            return _improve(config, on_progress, on_fleet)


def _improve(config: ImproveConfig, on_progress: Progress, on_fleet: Callable[[str], None]) -> Improvement:
    folder = RunFolder(config.run)
    Orders(folder.path).begin()
    kept = ((config.models.policy, folder.policy(0)), (config.learner, folder.learner), (config.collector, folder.collector))
    for source, target in kept:
        if source is not None and not (target / "config.json").exists():
            with served(Path(source)):
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
    loop.asked.take_over()
    folder.point_at(folder.in_use())
    found = write_run_report(folder)
    evaluated, deployed = folder.evaluation(0).exists(), folder.evaluation(folder.deployed())
    return Improvement(
        before=read_evaluation(folder.evaluation(0)) if evaluated else None,
        after=read_evaluation(deployed) if evaluated and deployed.exists() else None,
        findings=found,
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
        self.asked = Asked(config, folder)
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
                sees=self._improvement.collection.sees,
                questions=self._questions,
                run=self._folder.path,
                rollout=self._improvement.collection.rollout,
                on_trial=lambda done, total, rate: self._on_progress(phase, done, total, f"success {rate:.2f}"),
            )

    def record_demonstrations(self) -> None:
        """Record again some of the demonstrations that the base learned from, the same episodes, unless a store is named."""
        if self._config.pretraining is not None or not self._config.learns_from_demonstrations:
            return
        from soar.pretraining.recording import record  # only the tabletop needs what simulates it

        phase, report = "record demonstrations", self.asked.stoppable(self._on_progress, "what was recorded is there")
        with self._folder.timed(phase):
            record(
                self._config.demonstrations,
                self._folder.pretraining,
                worlds=self._improvement.cotraining_worlds,
                seed=self._preset.pretraining.demonstration_seed,
                workers=self._preset.workers,
                on_world=lambda done, total: report(phase, done, total, "worlds"),
            )

    def run_round(self, round: int) -> None:
        """Collect, train a candidate, and promote it or keep the deployed policy."""
        if self._fleet is not None:
            self._run_round_by_fleet(self._fleet, round)
            return
        off = self._config.evaluate == "off"
        # Whoever is on trial practises, and is judged by that.
        on_trial = round - 1 if off and round > 1 and self._trained(round - 1) else None
        self._collect(round)
        if on_trial is not None:
            self._decide(round, on_trial, lambda old, new: practised_not_worse(self._practice(new), self._practice(old)))
        if not self._train(round):
            return
        if off:
            if self._folder.on_trial() != round and not self.asked.decided(round):
                self._folder.journal.append("on_trial", round=round, candidate=round)
        else:
            self._decide(round, round, lambda old, new: not_worse(*self._tried(round, new, old)))
        self._folder.point_at(self._folder.in_use())

    def _run_round_by_fleet(self, fleet: FleetRounds, round: int) -> None:
        """The same, with robots that go on meanwhile (`soar.improve.fleet_rounds`)."""
        off, deployed = self._config.evaluate == "off", self._folder.deployed(before_round=round)
        last = round == self._improvement.rounds
        fleet.finish(round, self._folder.policy(deployed))
        if not last:
            fleet.begin(round + 1, self._folder.policy(deployed))
        if not self._train(round):
            return

        def compare(old: int, new: int) -> Verdict:
            verdict = None if off else not_worse(*self._tried(round, new, old))
            if verdict is not None and (last or not verdict.promote):
                return verdict
            tried = fleet.try_out(self._folder.policy(new))
            return tried if verdict is None else Verdict(promote=tried.promote, sentence=f"{verdict.sentence} {tried.sentence}")

        if not (off and last):
            self._decide(round, round, compare)
        elif self._folder.on_trial() != round:  # no robot works that could try it
            self._folder.journal.append("on_trial", round=round, candidate=round)
        self._folder.point_at(self._folder.in_use())

    def _decide(self, round: int, candidate: int, compare: Callable[[int, int], Verdict]) -> None:
        """Decide about a candidate, once, unless a person has; it is compared with what is deployed then."""
        self.asked.take_over()
        decided = any(event["round"] == round and "by" not in event for event in self._folder.events("promotion"))
        if decided or self.asked.decided(candidate):
            return
        deployed = self._folder.deployed()
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
        if self.asked.decided(deployed):  # then it may not have been evaluated
            self.evaluate(deployed, f"round {deployed}" if deployed else "pretrained")
        return self.evaluate(candidate, f"round {candidate}"), read_evaluation(self._folder.evaluation(deployed))

    def _practice(self, number: int) -> Practice:
        """Return what a policy of the run did in its episodes."""
        store = self._folder.episodes
        return practice_of(Browser(store) if store.exists() else None, id_in(self._folder.policy(number)))

    def _trained(self, candidate: int) -> bool:
        return (self._folder.policy(candidate) / "config.json").exists()

    def _collect(self, round: int) -> None:
        """Collect with the collector, or else with the policy in use, from when a person asks for another one with that."""
        wanted, count = self._improvement.collection.episodes, -1
        while count < wanted:
            self.asked.take_over()
            deployed = self._folder.policy(self._folder.in_use())
            count = self._collect_with(round, deployed if self._config.collector is None else self._folder.collector)

    def _collect_with(self, round: int, policy: Path) -> int:
        phase = f"collect, round {round}"

        def on_episode(done: int, total: int, last: dict[str, Any]) -> None:
            self._on_progress(phase, done, total, paused_words(last) or f"{last['judged']} judged successes")

        with self._folder.timed(phase), served(policy):
            return collect(
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

    def _train(self, round: int) -> bool:
        """Train the candidate of a round; False when there is nothing to learn from."""
        if self._trained(round):
            return True
        if any(event["round"] == round for event in self._folder.events("not_learned")):
            return False
        # Data and policy are those of the moment when training began, however often it is interrupted.
        begun = [event for event in self._folder.events("training") if event["round"] == round]
        version = begun[0]["data"] if begun else EpisodeStore(self._folder.episodes).version
        number = int(begun[0].get("initial", self._folder.deployed())) if begun else self._folder.deployed()
        initial = self._folder.policy(number) if number or self._config.learner is None else self._folder.learner
        learned = self._improvement
        data = AutonomousData(
            store=self._folder.episodes, version=version, success_only=learned.success_only, threshold=learned.threshold
        )
        if not EpisodeStore(self._folder.episodes, version=version).count(data.filter()):
            self._folder.journal.append("nothing_to_learn", round=round)
            return False
        if not begun:
            self._folder.journal.append("training", round=round, data=version, initial=number)
        unit = "" if learned.learner is None else "seconds at most"
        phase, report = f"train, round {round}", self.asked.stoppable(self._on_progress, "the last checkpoint is there")
        pretraining = self._config.pretraining or self._folder.pretraining / "episodes"
        try:
            with self._folder.timed(phase, self._config.device):
                learner_of(self._config).learn(
                    initial,
                    LearningData(pretraining=pretraining, autonomous=data),
                    self._folder.policy(round),
                    seed=self._config.seed,
                    device=self._config.device,
                    on_step=lambda done, total, metrics: report(
                        phase, done, total, f"loss {metrics['loss']:.2f}" if "loss" in metrics else unit
                    ),
                )
        except NothingToLearnError as error:  # the recipe keeps no step of what was collected; the next round collects more
            self._folder.journal.append("nothing_to_learn", round=round, detail=str(error))
            return False
        except LearnerError as error:  # a round without a candidate; the next one collects more, and tries again
            self._folder.journal.append("not_learned", round=round, detail=str(error))
            return False
        return True
