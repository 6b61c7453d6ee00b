"""`soar collect`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from soar.cli.flags import LookEvery, changed, opening, rollout_of, workcell_name


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Let robots practise on their own: propose a task, attempt it, judge it, store it, without resets.

    A simulated workcell has as many robots as --robots says, SIM-0, SIM-1, …, each at a table of its own; --workers processes
    take them in turn. With one seed the episodes are the same with any number of processes. A real one has one robot. A run is
    one scene, one robot, one kind of models and one seed: RUN/config.yaml says which, and another one is refused.

    Example: soar collect --scene scene1 --run runs/mine --episodes 100
    """

    run_folder: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the run: RUN/episodes is the dataset, RUN/events.jsonl the journal."""
    store: str | None = None
    """Where the episodes go instead of RUN/episodes: a folder, or a URI such as s3://bucket/mine (docs/datasets.md)."""
    workcell: str | None = None
    """A robot in front of a scene: name of a workcell, or path of its YAML file (docs/how-to/your-robot.md)."""
    scene: str | None = None
    """The simulated workcell of a scene: its name, or path of its YAML file. scene1, when no workcell is named."""
    episodes: int | None = None
    """How many this round shall have in the end; the preset's number by default."""
    round: int = 0
    """Number of the round."""
    policy: str | None = None
    """Folder of the policy, or URL of one behind `soar serve`; the base policy that comes with SOAR by default, `language` for
    the one that follows instructions."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, URL of one behind `soar serve`, `oracle`, or `none` (a policy
    that takes both follows the instruction alone); the one that comes with SOAR by default."""
    vlm: str | None = None
    """Folder of the VQA model, YAML file of any other (docs/how-to/foundation-models.md), `human`, `truth` (a simulator's
    own answers) or `oracle` (those with the paper's noise); the one that comes with SOAR by default."""
    sigma: float | None = None
    """Exploration: standard deviation of the noise, in units of the action's; the preset's by default."""
    threshold: float | None = None
    """Least probability at which an episode is judged a success; the preset's by default."""
    sees: str | None = None
    """What of an attempt the model judges by: `last` frame, `changed`, `looks:8`, `film:8` …
    (docs/how-to/foundation-models.md); the preset's by default."""
    selection: Literal["ucb", "zone", "uniform", "cycling", "human"] | None = None
    """Which of the feasible tasks is attempted; the preset's by default."""
    set_table_every: int | None = None
    """Attempts of a robot after which its table is set anew, 0 for never; the preset's by default."""
    retries: int | None = None
    """How often in an episode a robot that stands still may back off; the preset's by default."""
    look_every: LookEvery | None = None
    """Steps between two looks of the VLM, two of which end an attempt; `subgoal` for one look at the end of each subgoal, one
    of which ends it; 0 for one look at the end of the attempt; the preset's by default."""
    questions: Path | None = None
    """YAML file of reviewed questions (`soar tasks questions` writes one); the preset's by default."""
    constitution: Path | None = None
    """YAML file of objects and verbs that are allowed: the vision-language model lists tasks itself, for what it sees."""
    lister: Path | None = None
    """YAML file of another model that lists them."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    robots: int | None = None
    """How many simulated robots practise, each at a table of its own; the preset's number by default."""
    workers: int | None = None
    """Processes that simulate them; the preset's number by default. The episodes are the same with any number."""
    seed: int = 0
    """Of everything random."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of the preset that count more (`soar config show` lists them); --improvement.collection.episodes 5 is one,
    too."""

    def run(self) -> None:
        """Run it."""
        from soar.errors import ConfigError

        if not self.run_folder.name:
            raise ConfigError(f"--run {self.run_folder}: name a folder, for example runs/mine")
        workcell = workcell_name(self.workcell, self.scene)
        opening(
            workcell,
            self.policy or "the base policy",
            self.subgoals or "the base subgoal model",
            self.vlm or "the base VQA model",
        )

        from soar.base_models import default_weights, policy_named
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.collect.models import Models
        from soar.collect.preset import load_collection
        from soar.episodes.filters import quoted
        from soar.episodes.store import EpisodeStore
        from soar.fleet.collection import collect
        from soar.fleet.session import paused_words
        from soar.progress import ProgressFile
        from soar.run_claim import RunClaim
        from soar.training.served import served
        from soar.types import STEP_S

        claim = RunClaim(folder=self.run_folder, command="soar collect", changeable=("settings",))
        claim.check()
        preset = load_collection(self.preset, self.set)
        config = preset.improvement.collection
        if self.sigma is not None:
            config = dataclasses.replace(config, exploration=dataclasses.replace(config.exploration, sigma=self.sigma))
        config = changed(
            config,
            threshold=self.threshold,
            sees=self.sees,
            episodes=self.episodes,
            robots=self.robots,
            set_table_every=self.set_table_every,
        )
        config = dataclasses.replace(config, rollout=rollout_of(config.rollout, self.retries, self.look_every))
        files = {"questions": self.questions, "constitution": self.constitution, "lister": self.lister}
        paths = {name: str(path.resolve()) for name, path in files.items() if path is not None}
        proposal = changed(config.proposal, selection=self.selection, **paths)
        config = dataclasses.replace(config, proposal=proposal)
        store, run = self.store or str(self.run_folder / "episodes"), self.run_folder.name

        with progress_bars() as bars, served(Path(self.policy or "")):
            report = ProgressFile(self.run_folder, bars)

            def on_episode(done: int, total: int, last: dict[str, Any]) -> None:
                said = [f"{last['judged']} judged successes", *([last["instruction"]] if "instruction" in last else [])]
                report("episodes", done, total, paused_words(last) or ", ".join(said))

            count = collect(
                Models(
                    policy=policy_named(self.policy or ""),
                    subgoals=self.subgoals or str(default_weights("subgoal")),
                    vlm=self.vlm or str(default_weights("vqa")),
                ),
                workcell=workcell,
                store=store,
                journal=self.run_folder / "events.jsonl",
                run=run,
                round=self.round,
                seed=self.seed,
                config=config,
                workers=preset.workers if self.workers is None else self.workers,
                on_episode=on_episode,
                claim=claim,
            )
        records = EpisodeStore(store).episodes(f"run = {quoted(run)} AND round = {self.round}")
        successes = f"{sum(record.success is True for record in records)} judged successes"
        if any(record.simulator_success is not None for record in records):
            true = sum(record.achieved for record in records)
            before = sum(record.simulator_success is True for record in records) - true
            successes += f", {true} true ones" + (f" and {before} whose task was done before they began" if before else "")
        rollout = config.rollout
        if rollout.early_success.looks:
            saved = [rollout.steps - record.length for record in records if record.length < rollout.steps]
            hours = sum(saved) * STEP_S / 3600
            successes += f", {len(saved)} ended when success was seen: {sum(saved)} steps, {hours:.2f} robot-hours saved"
        say(f"{count} episodes of round {self.round} in {store} ({successes}); `soar data stats` counts them.")
