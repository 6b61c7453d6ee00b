"""The phases of the loop as commands of their own: evaluate, collect, train."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from soar.cli.flags import Switch, changed, on, rollout_of


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a policy: seeded trials in simulation, judged by the simulator's state, the same starts for every policy.

    Example: soar evaluate --scene scene1 --policy runs/scene1/policies/001 --trials 50 --out runs/scene1/evaluations/mine.json
    """

    scene: str = "scene1"
    """Name of a scene, or path of its YAML file."""
    policy: str | None = None
    """Folder of the policy, or URL of one behind `soar serve`; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, or `oracle`; the one that comes with SOAR by default. A
    language-conditioned policy needs none."""
    trials: int = 50
    """Of each task."""
    first_trial: int = 0
    """Index of the first start of each task; tune on other starts than those that you report."""
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
    retries: int = 0
    """How often in an episode a robot that stands still may open its hand, back off and get a new subgoal."""
    look_every: int = 0
    """Steps between two looks of the VLM; two in a row that see success end the attempt. 0 for no looks."""
    vlm: str | None = None
    """Folder of the VQA model, or YAML file of any other, that looks; the one that comes with SOAR by default."""
    workers: int = 2
    """Processes."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import print_rates
        from soar.collect.rollout import RolloutConfig
        from soar.evaluation.runner import evaluate

        with progress_bars() as report:
            evaluation = evaluate(
                self.policy or default_weights("policy"),
                scene=self.scene,
                subgoals=self.subgoals or str(default_weights("subgoal")),
                trials=self.trials,
                first_trial=self.first_trial,
                out=self.out,
                arm=self.arm or self.out.stem,
                tasks=self.task,
                workers=self.workers,
                action_scale=self.action_scale,
                image_size=self.image_size,
                rollout=rollout_of(RolloutConfig(), self.retries, self.look_every),
                vlm=self.vlm or str(default_weights("vqa")),
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
    store: str | None = None
    """Where the episodes go instead of RUN/episodes: a folder, or a URI such as s3://bucket/mine (docs/datasets.md)."""
    scene: str = "scene1"
    """Name of a scene, or path of its YAML file."""
    episodes: int | None = None
    """How many this round shall have in the end; the preset's number by default."""
    round: int = 0
    """Number of the round."""
    policy: str | None = None
    """Folder of the policy, or URL of one behind `soar serve`; the base policy that comes with SOAR by default."""
    subgoals: str | None = None
    """Folder of the subgoal model, YAML file of one, URL of one behind `soar serve`, or `oracle`; the one that comes with SOAR
    by default."""
    vlm: str | None = None
    """Folder of the VQA model, YAML file of any other (docs/how-to/foundation-models.md), `human`, or `oracle` (true answers
    with the paper's noise); the one that comes with SOAR by default."""
    sigma: float | None = None
    """Exploration: standard deviation of the noise, in units of the action's; the preset's by default."""
    threshold: float | None = None
    """Least probability at which an episode is judged a success; the preset's by default."""
    selection: Literal["ucb", "zone", "uniform", "cycling", "human"] | None = None
    """Which of the feasible tasks is attempted; the preset's by default."""
    set_table_every: int | None = None
    """Attempts of a robot after which its table is set anew, 0 for never; the preset's by default."""
    retries: int | None = None
    """How often in an episode a robot that stands still may back off; the preset's by default."""
    look_every: int | None = None
    """Steps between two looks of the VLM, two of which end an attempt; 0 for one look at the end; the preset's by default."""
    questions: Path | None = None
    """YAML file of reviewed questions (`soar tasks questions` writes one); the preset's by default."""
    constitution: Path | None = None
    """YAML file of objects and verbs that are allowed: the vision-language model lists tasks itself, for what it sees."""
    lister: Path | None = None
    """YAML file of another model that lists them."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file."""
    workers: int | None = None
    """Robots, each in a process; the preset's number by default."""
    seed: int = 0
    """Of everything random."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import default_weights
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.fleet.collection import Models, collect
        from soar.improve.preset import load_preset

        preset = load_preset(self.preset)
        config = preset.improvement.collection
        if self.sigma is not None:
            config = dataclasses.replace(config, exploration=dataclasses.replace(config.exploration, sigma=self.sigma))
        config = changed(config, threshold=self.threshold, episodes=self.episodes, set_table_every=self.set_table_every)
        config = dataclasses.replace(config, rollout=rollout_of(config.rollout, self.retries, self.look_every))
        files = {"questions": self.questions, "constitution": self.constitution, "lister": self.lister}
        paths = {name: str(path.resolve()) for name, path in files.items() if path is not None}
        proposal = changed(config.proposal, selection=self.selection, **paths)
        config = dataclasses.replace(config, proposal=proposal)
        store = self.store or str(self.run_folder / "episodes")
        with progress_bars() as report:
            count = collect(
                Models(
                    policy=self.policy or str(default_weights("policy")),
                    subgoals=self.subgoals or str(default_weights("subgoal")),
                    vlm=self.vlm or str(default_weights("vqa")),
                ),
                scene=self.scene,
                store=store,
                journal=self.run_folder / "events.jsonl",
                run=self.run_folder.name,
                round=self.round,
                seed=self.seed,
                config=config,
                workers=preset.workers if self.workers is None else self.workers,
                image_size=preset.image_size,
                on_episode=lambda done, total, last: report("episodes", done, total, last.get("instruction", "")),
            )
        say(f"{count} episodes of round {self.round} in {store}; `soar data stats` counts them.")


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy on demonstrations, or improve one: co-train it on what it collected itself.

    Without --autonomous it is trained on demonstrations alone. With --initial it continues from a policy. On several GPUs:
    torchrun --nproc-per-node 8 -m soar.cli train …

    Example: soar train gcbc --pretraining data/demonstrations/episodes --autonomous runs/mine/episodes
    --initial src/soar/weights/policy --out runs/mine/policies/001
    """

    kind: Annotated[Literal["gcbc", "lcbc"], tyro.conf.Positional] = "gcbc"
    """Conditioned on goal images (gcbc), or on instructions (lcbc)."""
    out: Path
    """Folder of the new policy."""
    pretraining: Path = Path("data/demonstrations/episodes")
    """Store of demonstrations: its folder, or a URI such as s3://bucket/bridge (docs/datasets.md)."""
    pretraining_where: str = ""
    """SQL that selects some of them, for example "scene < 'world-1-2'"."""
    autonomous: Path | None = None
    """Store of the episodes that the policy collected itself: folder or URI."""
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
    goals: Literal["uniform", "geometric", "last-state-upweighted", "delta"] | None = None
    """How that distance is distributed (docs/datasets.md); the preset's by default."""
    imagined_goals: float | None = None
    """Share of the goals of autonomous data that are the subgoals which were pursued, as they were imagined."""
    sum_actions: Switch | None = None
    """Imitate the sum of two consecutive autonomous actions."""
    idle_filter: Switch | None = None
    """Leave out autonomous steps at which nothing moved."""
    clean_grasps: Switch | None = None
    """Undo autonomous changes of the gripper's target that do not last, and leave out the steps that lead to a gripper closed
    around nothing."""
    balance: Switch | None = None
    """Draw every instruction of the autonomous data equally often."""
    balance_places: Switch | None = None
    """Draw autonomous episodes so that the places of their grasps are distributed as in the pre-training data."""
    gripper_weight: float | None = None
    """How many times as often as others the moments of autonomous data are drawn at which the gripper opens or closes."""
    weigh_by_probability: Switch | None = None
    """Draw autonomous episodes in proportion to the judge's probability of success: with --no-success-only, instead of a
    filter."""
    upsampling: float | None = None
    """How many times its proportion autonomous data is drawn."""
    cap: float | None = None
    """Largest share of autonomous data in a batch."""
    share: float | None = None
    """Share of autonomous data in a batch, whatever its amount: 0.2 for 80/20. Instead of --upsampling and --cap."""
    initial: Path | None = None
    """Folder of the policy to continue from; a fresh network by default."""
    steps: int | None = None
    """Gradient steps."""
    batch_size: int | None = None
    """Samples a step."""
    learning_rate: float | None = None
    """Peak learning rate."""
    image_size: int | None = None
    """Of the network [px]; that of the episodes."""
    compile: Switch | None = None
    """Compile the encoder: minutes at the beginning, then faster steps on a GPU."""
    encoder: str | None = None
    """Sentence encoder of lcbc: all-MiniLM-L6-v2, hashed-words, or the folder of a sentence-transformers checkpoint."""
    validation: float = 0.0
    """Share of the episodes of each source that is held out; losses on them are logged by source."""
    cache_gb: float | None = None
    """Memory for decoded images; by default half of what is free. A larger store is trained from all the same."""
    accumulate: int | None = None
    """Parts of a batch that are worked off one after another, to save memory."""
    seed: int = 0
    """Of everything random."""
    preset: str = "laptop"
    """Name of a preset, or path of its YAML file. What no flag says is in its `improvement.policy` (with --initial or
    --autonomous) or `pretraining.policy`."""
    device: str = "cpu"
    """Of torch."""
    wandb: str = ""
    """Project of Weights & Biases that metrics go to, besides TensorBoard; WANDB_MODE=offline works without a network."""

    def run(self) -> None:
        """Run it."""
        from contextlib import ExitStack

        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.improve.preset import following_instructions, load_preset
        from soar.training.cotraining import AutonomousData, cotrain
        from soar.training.distributed import joined

        if not 0 <= self.validation < 1:
            raise ConfigError(f"--validation must be at least 0 and below 1, got {self.validation}")
        if self.cache_gb is not None and not self.cache_gb >= 0:
            raise ConfigError(f"--cache-gb must not be negative, got {self.cache_gb}")
        preset = load_preset(self.preset)
        improving = self.autonomous is not None or self.initial is not None
        config = preset.improvement.policy if improving else preset.pretraining.policy
        fit = changed(
            config.fit,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            accumulate=self.accumulate,
            seed=self.seed,
        )
        network = changed(config.network, image_size=self.image_size)
        if self.kind == "lcbc":
            network = following_instructions(dataclasses.replace(config, network=network), self.encoder or "").network
        elif self.encoder is not None:
            raise ConfigError(
                "--encoder chooses the sentence encoder of a language-conditioned policy: use it with `soar train lcbc`"
            )
        own = changed(
            config.autonomous,
            goal_window=self.goal_window,
            goals=self.goals,
            imagined_goals=self.imagined_goals,
            sum_actions=on(self.sum_actions),
            drop_idle=on(self.idle_filter),
            clean_grasps=on(self.clean_grasps),
            balance_instructions=on(self.balance),
            balance_places=on(self.balance_places),
            gripper_weight=self.gripper_weight,
            weigh_by_probability=on(self.weigh_by_probability),
        )
        mixing = {"upsampling": self.upsampling, "autonomous_cap": self.cap, "autonomous_share": self.share}
        config = changed(config, fit=fit, network=network, autonomous=own, compile=on(self.compile), **mixing)
        data = None
        if self.autonomous is not None:
            data = AutonomousData(
                store=self.autonomous,
                success_only=self.success_only,
                label=self.label,
                threshold=self.threshold,
                where=self.where,
            )
        with joined(self.device) as (group, device), progress_bars() as report, ExitStack() as stack:
            track = None
            if self.wandb and group.leads:
                from soar.training.tracking import weights_and_biases

                values = dataclasses.asdict(config)
                track = stack.enter_context(weights_and_biases(self.wandb, self.out / "training", values))

            def on_step(done: int, total: int, metrics: dict[str, float]) -> None:
                if group.leads:
                    report("training", done, total, _note(metrics))

            cotrain(
                config,
                self.out,
                pretraining=self.pretraining,
                pretraining_where=self.pretraining_where or None,
                autonomous=data,
                initial=self.initial,
                validation_share=self.validation,
                cache_bytes=None if self.cache_gb is None else int(self.cache_gb * 1e9),
                device=device,
                track=track,
                on_step=on_step,
            )
            if not group.leads:
                return
        say(f"the policy is in {self.out}; measure it with `soar evaluate --policy {self.out} --out …`")


def _note(metrics: dict[str, float]) -> str:
    """Return what is worth knowing while a policy trains."""
    parts = [f"loss {metrics['loss']:.3f}"] if "loss" in metrics else []
    if "samples_per_s" in metrics:
        parts += [f"{metrics['samples_per_s']:.0f} samples/s", f"{metrics['loader_wait']:.0%} waiting for data"]
    return ", ".join(parts)
