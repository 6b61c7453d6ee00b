"""The commands and their flags. Each is a dataclass: its docstring is the help, its fields are the flags."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
Switch = Literal["on", "off"]
"""A flag that is on, off, or what the preset says."""


@dataclass(frozen=True, kw_only=True)
class Improve:
    """Let a simulated robot improve itself: evaluate, collect without resets, co-train, evaluate, promote or keep, report.

    Ctrl-C stops it; the same command goes on where it stopped. With more --rounds a finished run goes on, too.

    Example: soar improve --scene scene1
    """

    scene: str = "scene1"
    """Name of a scene, or path of its YAML file."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder of the run; runs/SCENE by default."""
    policy: Path | None = None
    """Folder of the policy to improve; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, or `oracle`; the one that comes with SOAR by default."""
    vlm: str | None = None
    """Folder of the VQA model, or `oracle` (true answers with the paper's noise); the one that comes with SOAR by default."""
    rounds: int | None = None
    """Of collection and training, in all; the preset's number by default."""
    episodes: int | None = None
    """Of each round; the preset's number by default."""
    trials: int | None = None
    """Of each task, in each evaluation; the preset's number by default."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    workers: int | None = None
    """Processes; the preset's number by default."""
    seed: int = 0
    """Of collection and training; evaluation has seeds of its own."""
    device: str = "cpu"
    """Of torch, for training."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_rates, say
        from soar.improve.collecting import Models
        from soar.improve.loop import ImproveConfig, improve
        from soar.improve.preset import load_preset
        from soar.improve.weights import default_weights

        preset = load_preset(self.preset)
        collection = _changed(preset.improvement.collection, episodes=self.episodes)
        improvement = _changed(preset.improvement, collection=collection, rounds=self.rounds, trials=self.trials)
        config = ImproveConfig(
            run=self.run_folder or Path("runs") / Path(self.scene).stem,
            scene=self.scene,
            models=Models(
                policy=str(self.policy or default_weights("policy")),
                subgoals=self.subgoals or str(default_weights("subgoal")),
                vlm=self.vlm or str(default_weights("vqa")),
            ),
            preset=_changed(preset, improvement=improvement, workers=self.workers),
            seed=self.seed,
            device=self.device,
        )
        with progress_bars() as report:
            result = improve(config, report)
        # One column would say it all when nothing was promoted, but a run that did not help should look like one.
        before, after = (
            dataclasses.replace(evaluation, arm=arm) for evaluation, arm in ((result.before, "before"), (result.after, "after"))
        )
        print_rates([before, after])
        say(f"report:  {result.report.resolve()}\ndataset: {result.dataset.resolve()}")


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Make the base models from nothing: record demonstrations and pictures in simulation, train policy, subgoals and VQA.

    Stages that are finished are skipped; DATA/manifest.json says what each made and saw. Hours on two cores.

    Example: soar pretrain --preset laptop --out data --weights src/soar/weights
    """

    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    out: Path = Path("data")
    """Folder of recordings, training runs and the manifest."""
    weights: Path = Path("data/weights")
    """Folder that gets the finished models: policy, subgoal, vqa."""
    stages: tuple[Literal["demonstrations", "pictures", "policy", "subgoal", "vqa"], ...] = (
        "demonstrations",
        "pictures",
        "policy",
        "subgoal",
        "vqa",
    )
    """Which stages; all by default."""
    workers: int | None = None
    """Processes that record; the preset's number by default."""
    device: str = "cpu"
    """Of torch."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.improve.preset import load_preset
        from soar.improve.pretrain import pretrain

        preset = load_preset(self.preset)
        with progress_bars() as report:
            pretrain(
                preset,
                self.out,
                self.weights,
                stages=self.stages,
                workers=self.workers,
                device=self.device,
                on_progress=report,
            )
        say(f"models: {self.weights}, what they saw: {self.out / 'manifest.json'}")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a policy: seeded trials in simulation, judged by the simulator's state, the same starts for every policy.

    Example: soar evaluate --scene scene1 --policy runs/scene1/policies/001 --trials 50 --out runs/scene1/evaluations/mine.json
    """

    scene: str = "scene1"
    """Name of a scene, or path of its YAML file."""
    policy: Path | None = None
    """Folder of the policy; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, or `oracle`; the one that comes with SOAR by default."""
    trials: int = 50
    """Of each task."""
    out: Path
    """The JSON file of the evaluation; what it holds already is not run again."""
    arm: str = ""
    """What the policy is in a comparison; the file's name by default."""
    task: tuple[str, ...] = ()
    """Some of the scene's instructions; all by default."""
    action_scale: float = 1.0
    """Factor on the policy's motions."""
    image_size: int = 64
    """Of the camera [px]."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_rates
        from soar.evaluation.simulated import evaluate
        from soar.improve.weights import default_weights

        with progress_bars() as report:
            evaluation = evaluate(
                self.policy or default_weights("policy"),
                scene=self.scene,
                subgoals=self.subgoals or str(default_weights("subgoal")),
                trials=self.trials,
                out=self.out,
                arm=self.arm or self.out.stem,
                tasks=self.task,
                workers=self.workers,
                action_scale=self.action_scale,
                image_size=self.image_size,
                on_trial=lambda done, total, rate: report("trials", done, total, f"success {rate:.2f}"),
            )
        print_rates([evaluation])


@dataclass(frozen=True, kw_only=True)
class Collect:
    """Let simulated robots practise on their own: propose a task, attempt it, judge it, store it, without resets.

    Example: soar collect --scene scene1 --run runs/mine --episodes 100
    """

    run_folder: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the run: RUN/episodes is the dataset, RUN/events.jsonl the journal."""
    scene: str = "scene1"
    """Name of a scene, or path of its YAML file."""
    episodes: int | None = None
    """How many this round shall have in the end; the preset's number by default."""
    round: int = 0
    """Number of the round."""
    policy: Path | None = None
    """Folder of the policy; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, or `oracle`; the one that comes with SOAR by default."""
    vlm: str | None = None
    """Folder of the VQA model, or `oracle` (true answers with the paper's noise); the one that comes with SOAR by default."""
    sigma: float | None = None
    """Exploration: standard deviation of the noise, in units of the action's; the preset's by default."""
    threshold: float | None = None
    """Least probability at which an episode is judged a success; the preset's by default."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    workers: int | None = None
    """Robots, each in a process; the preset's number by default."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.improve.collecting import Models, collect
        from soar.improve.preset import load_preset
        from soar.improve.weights import default_weights

        preset = load_preset(self.preset)
        config = preset.improvement.collection
        if self.sigma is not None:
            config = dataclasses.replace(config, exploration=dataclasses.replace(config.exploration, sigma=self.sigma))
        if self.threshold is not None:
            config = dataclasses.replace(config, threshold=self.threshold)
        if self.episodes is not None:
            config = dataclasses.replace(config, episodes=self.episodes)
        with progress_bars() as report:
            count = collect(
                Models(
                    policy=str(self.policy or default_weights("policy")),
                    subgoals=self.subgoals or str(default_weights("subgoal")),
                    vlm=self.vlm or str(default_weights("vqa")),
                ),
                scene=self.scene,
                store=self.run_folder / "episodes",
                journal=self.run_folder / "events.jsonl",
                run=self.run_folder.name,
                round=self.round,
                seed=self.seed,
                config=config,
                workers=preset.workers if self.workers is None else self.workers,
                image_size=preset.image_size,
                on_episode=lambda done, total, last: report("episodes", done, total, last.get("instruction", "")),
            )
        say(f"{count} episodes of round {self.round} in {self.run_folder / 'episodes'}; `soar data stats` counts them.")


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy on demonstrations, or improve one: co-train it on what it collected itself.

    Without --autonomous it is trained on demonstrations alone. With --initial it continues from a policy.

    Example: soar train --pretraining data/demonstrations/episodes --autonomous runs/mine/episodes
    --initial src/soar/weights/policy --out runs/mine/policies/001
    """

    out: Path
    """Folder of the new policy."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Folder of the store of demonstrations."""
    pretraining_where: str = ""
    """SQL that selects some of them, for example "scene < 'world-1-2'"."""
    autonomous: Path | None = None
    """Folder of the store of episodes that the policy collected itself."""
    where: str = ""
    """SQL that selects some of those, for example "round = 0"."""
    success_only: bool = True
    """Learn only from what was judged a success, or from all autonomous episodes."""
    label: Literal["vlm", "simulator"] = "vlm"
    """Whose judgement counts; the simulator's is for ablations."""
    threshold: float = 0.0
    """Least probability of success; 0 leaves it to the label."""
    goal_window: tuple[int, int] | None = None
    """Smallest and largest distance of hindsight goals in autonomous data, in steps."""
    sum_actions: Switch | None = None
    """Imitate the sum of two consecutive autonomous actions."""
    idle_filter: Switch | None = None
    """Leave out autonomous steps at which nothing moved."""
    balance: Switch | None = None
    """Draw every instruction of the autonomous data equally often."""
    upsampling: float | None = None
    """How many times its proportion autonomous data is drawn."""
    cap: float | None = None
    """Largest share of autonomous data in a batch."""
    initial: Path | None = None
    """Folder of the policy to continue from; a fresh network by default."""
    steps: int | None = None
    """Gradient steps."""
    batch_size: int | None = None
    """Samples a step."""
    learning_rate: float | None = None
    """Peak learning rate."""
    seed: int = 0
    """Of everything random."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file. What no flag says is in its `improvement.policy` (with --initial or
    --autonomous) or `pretraining.policy`."""
    device: str = "cpu"
    """Of torch."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.improve.cotraining import AutonomousData, cotrain
        from soar.improve.preset import load_preset

        preset = load_preset(self.preset)
        improving = self.autonomous is not None or self.initial is not None
        config = preset.improvement.policy if improving else preset.pretraining.policy
        fit = _changed(
            config.fit, steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate, seed=self.seed
        )
        own = _changed(
            config.autonomous,
            goal_window=self.goal_window,
            sum_actions=_on(self.sum_actions),
            drop_idle=_on(self.idle_filter),
            balance_instructions=_on(self.balance),
        )
        config = _changed(config, fit=fit, autonomous=own, upsampling=self.upsampling, autonomous_cap=self.cap)
        data = None
        if self.autonomous is not None:
            data = AutonomousData(
                store=self.autonomous,
                success_only=self.success_only,
                label=self.label,
                threshold=self.threshold,
                where=self.where,
            )
        with progress_bars() as report:
            cotrain(
                config,
                self.out,
                pretraining=self.pretraining,
                pretraining_where=self.pretraining_where or None,
                autonomous=data,
                initial=self.initial,
                device=self.device,
                on_step=lambda done, total, metrics: report("training", done, total, f"loss {metrics.get('loss', 0):.3f}"),
            )
        say(f"the policy is in {self.out}; measure it with `soar evaluate --policy {self.out} --out …`")


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Count what a store of episodes holds, by task, scene and policy.

    Example: soar data stats runs/scene1/episodes
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    where: str = ""
    """SQL that selects some of the episodes, for example "success and scene = 'scene1'"."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import print_statistics
        from soar.episodes import EpisodeStore, dataset_statistics

        print_statistics(dataset_statistics(EpisodeStore(self.store), self.where or None), as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Films:
    """Draw episodes: a strip of frames each, with the subgoals below the frames at which they were due.

    Example: soar data films runs/scene1/episodes --where "success and not simulator_success" --out films
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    out: Path
    """Folder of the pictures, EPISODE.webp."""
    where: str = ""
    """SQL that selects some of the episodes."""
    count: int = 12
    """At most so many, the newest."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.evaluation.film import strip_bytes
        from soar.files import replacing

        store = EpisodeStore(self.store)
        records = store.episodes(self.where or None)[-self.count :]
        for record in records:
            with replacing(self.out / f"{record.id}.webp") as path:
                path.write_bytes(strip_bytes(store.read(record.id)))
        say(f"{len(records)} film strips in {self.out}")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Look at datasets: count them, or draw them."""

    command: (
        Annotated[Stats, tyro.conf.subcommand("stats", prefix_name=False)]
        | Annotated[Films, tyro.conf.subcommand("films", prefix_name=False)]
    )

    def run(self) -> None:
        """Run it."""
        self.command.run()


Command = (
    Annotated[Improve, tyro.conf.subcommand("improve", prefix_name=False)]
    | Annotated[Pretrain, tyro.conf.subcommand("pretrain", prefix_name=False)]
    | Annotated[Collect, tyro.conf.subcommand("collect", prefix_name=False)]
    | Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate", prefix_name=False)]
    | Annotated[Data, tyro.conf.subcommand("data", prefix_name=False)]
)


def _on(switch: Switch | None) -> bool | None:
    return None if switch is None else switch == "on"


def _changed(config: T, **changes: object) -> T:
    """Return a dataclass with those of the changes that are not None."""
    return dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})
