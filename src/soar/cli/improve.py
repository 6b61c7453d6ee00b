"""`soar improve`: the whole loop."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from soar.cli.flags import changed, invocation, opening, workcell_name


@dataclass(frozen=True, kw_only=True)
class Improve:
    """Let a robot improve itself: evaluate, collect without resets, co-train, evaluate, promote or keep, report.

    Ctrl-C stops it; the same command goes on where it stopped. With more --rounds a finished run goes on, too.

    Example: soar improve --scene scene1

    Example: soar improve --scene scene1 --rounds 3 --results results/rounds.json
    """

    workcell: str | None = None
    """A robot in front of a scene: name of a workcell, or path of its YAML file (docs/how-to/your-robot.md)."""
    scene: str | None = None
    """The simulated workcell of a scene: its name, or path of its YAML file. scene1, when no workcell is named."""
    fleet: Path | None = None
    """YAML file of a fleet whose robots collect instead (docs/fleet.md). Evaluations are those of --workcell or --scene; by
    default of the fleet's first robot that stands here."""
    host: str = "127.0.0.1"
    """Address at which the fleet's coordinator listens; see `soar fleet up`."""
    port: int = 0
    """Its port; 0 for any that is free."""
    tokens: Path | None = None
    """YAML file of the fleet's further tokens (docs/fleet.md)."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of the run; runs/ and the name of the workcell or scene by default."""
    policy: str | None = None
    """Folder of the policy to improve; the base policy that comes with SOAR by default. Any other that `soar collect` takes
    needs --learner, or a preset with a learner of its own (docs/how-to/your-policy.md)."""
    learner: str | None = None
    """Another policy that learns from what the deployed one collects, until it is deployed itself: `language` for the one that
    comes with SOAR and follows instructions without subgoals, `both` for one that takes subgoals and instructions, or a
    folder. The deployed policy learns itself by default."""
    collector: str | None = None
    """Another policy that collects in all rounds, such as `base`, the one with subgoals that comes with SOAR, for a --policy
    that succeeds too rarely to collect for itself. The deployed policy collects by default."""
    pretraining: str | None = None
    """Store of demonstrations to co-train on, such as data/demonstrations/episodes after `soar pretrain --stages
    demonstrations`; by default a few of the base's (the preset's `cotraining_worlds`) are recorded again."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, or `oracle`; the one that comes with SOAR by default."""
    vlm: str | None = None
    """Folder of the VQA model, YAML file of any other (docs/how-to/foundation-models.md), `human`, `truth` (a simulator's
    own answers) or `oracle` (those with the paper's noise); the one that comes with SOAR by default."""
    rounds: int | None = None
    """Of collection and training, in all; the preset's number by default."""
    episodes: int | None = None
    """Of each round; the preset's number by default."""
    trials: int | None = None
    """Of each task, in each evaluation; the preset's number by default."""
    set_table_every: int | None = None
    """Attempts of a robot after which its table is set anew, 0 for never; the preset's by default."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    robots: int | None = None
    """How many simulated robots practise, each at a table of its own; the preset's number by default."""
    workers: int | None = None
    """Processes that simulate; the preset's number by default."""
    seed: int = 0
    """Of collection and training; evaluation has seeds of its own."""
    evaluate: Literal["truth", "person", "vlm", "off"] = "truth"
    """Who says in evaluations whether it worked: the workcell's truth, a person at this terminal, who judges each candidate in
    turn with the deployed policy and is not told which of them acts, or the vision-language model. `off`: there are no
    evaluations; a candidate practises, and stays if it is not judged to do worse than its predecessor."""
    judge_name: str = ""
    """Who you are, with --evaluate person."""
    ask: Literal["terminal", "page"] = "terminal"
    """Where the person is asked, with --evaluate person: at this terminal, or on the page *Trials* of `soar console RUN`
    (--console opens one)."""
    device: str = "cpu"
    """Of torch, for training."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of the preset that count more (`soar config show` lists them); --improvement.collection.episodes 5 is one,
    too."""
    console: bool = False
    """Show the run in a browser meanwhile (`soar console`); the address is written to standard error."""
    dry_run: bool = False
    """Check everything (models load, the workcell opens, nothing moves), say what the run would take at most, and end."""
    results: Path | None = None
    """Results file for the curve over rounds, such as results/rounds.json, and a picture of it beside; none by default."""

    def run(self) -> None:
        """Run it."""
        workcell = workcell_name(self.workcell, self.scene)
        fleet = None
        if self.fleet is not None:
            from soar.fleet.config import load_fleet

            fleet = load_fleet(self.fleet)
            if self.workcell is None and self.scene is None:
                robots = list(fleet.robots.values())
                workcell = next((robot for robot in robots if robot.at == "here"), robots[0]).workcell
        opening(
            workcell,
            self.policy or "the base policy",
            self.subgoals or "the base subgoal model",
            self.vlm or "the base VQA model",
        )

        from soar.base_models import default_weights, policy_named
        from soar.cli.console import console_beside
        from soar.cli.fleet import how_to_join
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_practice, print_rates, say
        from soar.collect.models import Models
        from soar.errors import ConfigError
        from soar.evaluation.results import write_results
        from soar.fleet.tokens import read_tokens
        from soar.improve.config import ImproveConfig, check
        from soar.improve.estimate import estimate
        from soar.improve.loop import improve
        from soar.improve.preset import load_preset
        from soar.improve.run_report import round_rows
        from soar.robots.workcell import SIMULATED
        from soar.run_folder import RunFolder

        if self.fleet is None and (self.host, self.port, self.tokens) != ("127.0.0.1", 0, None):
            raise ConfigError("--host, --port and --tokens are about the coordinator of a fleet: use them with --fleet")
        if self.results is not None and self.evaluate == "off":
            raise ConfigError("--results is a curve of evaluations, and with --evaluate off there are none: leave it out")
        place = Path(workcell.removeprefix(SIMULATED)).stem
        preset = load_preset(self.preset, self.set)
        collection = changed(
            preset.improvement.collection,
            episodes=self.episodes,
            robots=self.robots,
            set_table_every=self.set_table_every,
        )
        improvement = changed(preset.improvement, collection=collection, rounds=self.rounds, trials=self.trials)
        config = ImproveConfig(
            run=self.run_folder or Path("runs") / place,
            workcell=workcell,
            models=Models(
                policy=policy_named(self.policy or ""),
                subgoals=self.subgoals or str(default_weights("subgoal")),
                vlm=self.vlm or str(default_weights("vqa")),
            ),
            preset=changed(preset, improvement=improvement, workers=self.workers),
            seed=self.seed,
            learner=policy_named(self.learner) if self.learner else None,
            collector=policy_named(self.collector) if self.collector else None,
            pretraining=self.pretraining,
            evaluate=self.evaluate,
            judge_name=self.judge_name,
            ask=self.ask,
            device=self.device,
            fleet=None if self.fleet is None else self.fleet.absolute(),
            host=self.host,
            port=self.port,
            tokens={} if self.tokens is None else read_tokens(self.tokens),
        )
        if self.dry_run:
            check(config)
            for name, value in estimate(config):
                say(f"{name}: {value}")
            return

        def on_fleet(url: str) -> None:
            assert fleet is not None
            if any(robot.at == "join" for robot in fleet.robots.values()):
                sys.stderr.write(how_to_join(fleet, url, config.run))

        talking = (self.evaluate == "person" and self.ask == "terminal") or self.vlm == "human"
        beside = console_beside(config.run, self.tokens) if self.console else contextlib.nullcontext()
        with beside, progress_bars(talking=talking) as report:
            result = improve(config, report, on_fleet)
        if self.results is not None:
            from soar.reports.plots import round_curve, save

            decide = (
                "workcell",
                "scene",
                "policy",
                "learner",
                "collector",
                "pretraining",
                "subgoals",
                "vlm",
                "rounds",
                "episodes",
                "trials",
            )
            command = invocation("soar improve", self, *decide, "set_table_every", "preset", "seed", "set")
            rows = round_rows(RunFolder(config.run))
            write_results(self.results, command, rows)
            save(
                round_curve(rows, f"{Path(workcell.removeprefix(SIMULATED)).stem}: each round's policy"),
                self.results.with_suffix(".svg"),
            )
        if result.findings.compared:
            print_rates(result.findings.compared)
        if result.findings.practised:
            print_practice(result.findings.practised)
        say(result.findings.summary)
        for decision in result.findings.decisions:
            say(decision.sentence)
        say(f"report:  {result.report.resolve()}\ndataset: {result.dataset.resolve()}")
