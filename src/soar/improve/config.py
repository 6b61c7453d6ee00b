"""What an improvement run is, and whether all that it needs is there."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from soar.collect.models import Models, check_models
from soar.configuration import defaults
from soar.errors import ConfigError
from soar.evaluation.trial_running import check_judge, check_named
from soar.fleet.collection import check_abilities
from soar.fleet.config import load_fleet
from soar.fleet.tokens import Bearer
from soar.improve.preset import Preset
from soar.policies.named import read_named
from soar.robots.workcell import load_workcell
from soar.run_claim import RunClaim

EvaluateName = Literal["truth", "person", "vlm", "off"]
CHANGEABLE = ("preset.improvement.rounds", "preset.workers")
"""What may differ when a run is continued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImproveConfig:
    """A run.

    Attributes:
        run: Its folder, see `soar.run_folder`; its name is the run's name.
        workcell: Name of a workcell, path of its YAML file, or `sim:SCENE`.
        models: The base policy, and the frozen models.
        preset: How much of everything.
        seed: Of collection and training. Evaluation has seeds of its own.
        learner: Folder of another policy that learns from what is collected, as long as none of its descendants is deployed;
            the deployed policy learns itself by default.
        collector: Name of another policy, which collects in all rounds; the deployed policy collects itself by default.
        demonstrations: Configuration of the base's demonstrations, some of which are recorded again to co-train on.
        pretraining: Store of demonstrations to co-train on instead; outside of the simulated tabletop there is no other way.
        evaluate: Who says in evaluations whether it worked: the workcell's truth, a person at the terminal, the vision-language
            model; or nobody, and there are no evaluations.
        judge_name: Who the person is.
        ask: Where the person is asked: at the terminal, or on a page of the console.
        device: Of torch, for training.
        fleet: File of the fleet that collects (`soar.fleet.config`); None: the workcell's robots do. What it says of models, of
            collecting and of episodes does not count, but what the preset and `models` say.
        host: Address at which the fleet's coordinator listens.
        port: Its port; 0 for any that is free, the same one in all rounds.
        tokens: Of the fleet, besides the operator's (`soar.fleet.tokens`).
    """

    run: Path
    workcell: str
    models: Models
    preset: Preset
    seed: int = 0
    learner: str | None = None
    collector: str | None = None
    demonstrations: str = "demonstrations"
    pretraining: str | None = None
    evaluate: EvaluateName = "truth"
    judge_name: str = ""
    ask: Literal["terminal", "page"] = "terminal"
    device: str = "cpu"
    fleet: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    tokens: Mapping[str, Bearer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.run.name:
            raise ConfigError(f"--run {self.run}: name a folder, for example runs/mine")
        if self.ask == "page" and self.evaluate != "person":
            raise ConfigError("--ask page is how a person is asked: use it with --evaluate person")

    @property
    def learns_from_demonstrations(self) -> bool:
        """Whether whoever learns wants the demonstrations of the base, too."""
        learner = self.preset.improvement.learner
        return learner is None or learner.wants_pretraining


def check(config: ImproveConfig) -> None:
    """Open all that a run needs once, so that what is wrong shows before anything is made.

    Raises:
        ConfigError: Something in the configuration is invalid, or the workcell cannot do what is asked of it.
        CheckpointError: A model cannot be loaded.
    """
    improvement = config.preset.improvement
    if improvement.threshold and not improvement.success_only:
        raise ConfigError(
            f"improvement.threshold is {improvement.threshold}, the least probability of what is learned from, and "
            "improvement.success_only is false: everything is learned from. Set one of them back (threshold: 0)"
        )
    if improvement.learner is not None:
        if config.learner is not None:
            raise ConfigError(
                f"--learner {config.learner} is a policy that learns here, and improvement.learner of the preset a command: "
                "use one of them"
            )
        improvement.learner.check_programs()
    if config.collector is not None and (config.fleet is not None or config.evaluate == "off"):
        flag = "--fleet" if config.fleet is not None else "--evaluate off"
        raise ConfigError(
            f"--collector collects, so that no candidate practises, and {flag} tries candidates by letting them practise: "
            "use one of them"
        )
    if config.fleet is not None:
        from soar.fleet.running import check_reachable  # needs what servers need; a loop without a fleet does not

        base = config.models.policy
        if improvement.learner is not None or (os.path.exists(base) and not holds_network(base)):
            raise ConfigError(
                "--fleet brings policies to robots as files of SOAR's networks, which a policy of somebody else's is not: "
                "improve it on one workcell"
            )
        load_fleet(config.fleet)
        check_reachable(config.host)
    cell, policy = load_workcell(config.workcell), check_models(config.models)
    if config.pretraining is None and not cell.is_tabletop and config.learns_from_demonstrations:
        raise ConfigError(
            f"workcell {cell.name!r} is not the simulated tabletop, so that there are no demonstrations to co-train on: name "
            "the store of those that the policy was trained on with --pretraining (`soar data import` makes one)"
        )
    collection = improvement.collection
    questions = Path(collection.proposal.questions) if collection.proposal.questions else None
    with cell.open(image_size=policy.image_size, questions=questions) as workcell:
        check_abilities(workcell, config.models, policy, collection)
        if config.collector is not None:
            models = dataclasses.replace(config.models, policy=config.collector)
            check_abilities(workcell, models, check_models(models), collection)
        if config.evaluate != "off":
            if config.ask == "page":
                check_named(config.judge_name)
            else:
                check_judge(
                    workcell, judge=config.evaluate, vlm=config.models.vlm, sees=collection.sees, name=config.judge_name
                )


def holds_network(name: str) -> bool:
    """Whether a policy's name is the folder of a network of SOAR's, which can be trained and copied."""
    folder = Path(name)
    return os.path.isdir(folder) and read_named(folder) is None


def claim_of(config: ImproveConfig) -> RunClaim:
    """Return what a run asks of its folder; what an earlier version wrote there goes on with the defaults of what is new."""
    return RunClaim(folder=config.run, command="soar improve", changeable=CHANGEABLE, defaults={"preset": defaults(Preset)})


def plain(config: ImproveConfig) -> dict[str, Any]:
    """Return what a run's folder says of it."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    del values["run"]  # a run is what is in its folder, wherever that is moved to
    for name in ("ask", "host", "port", "tokens"):
        del values[name]  # where somebody is asked or listens may change, and tokens are nobody's business
    if config.fleet is None:
        del values["fleet"]  # runs that began before there were fleets go on
    return values
